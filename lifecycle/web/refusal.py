"""What a request cannot have, as a status, a code and a sentence."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tornado.web import HTTPError

from lifecycle.domain.text import clean
from lifecycle.errors import (
    ContainerNotFound,
    ImpossibleSettings,
    InvalidArgument,
    LifecycleError,
    SchemaMissing,
    StoreBusy,
    StoreError,
    StoreUnreachable,
)

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "json_expected",
    500: "internal_error",
    503: "unavailable",
}
log = logging.getLogger("lifecycle.flower")
AWAY = "The database cannot be used now, or took too long; Flower's log says more."
SENTENCES = (  # instead of a text that says where the database is; the first that fits
    (StoreBusy, "The database was busy: try again."),
    (StoreUnreachable, AWAY),
    (SchemaMissing, "The database lacks this version's tables: run `celery -A <app> container migrate`."),
    (StoreError, "The database refused this; Flower's log says more."),
    (ImpossibleSettings, "Lifecycle's settings cannot be used; Flower's log says more."),
)
STATUSES = (  # the first that fits
    (StoreUnreachable, 503, "database_unreachable"),
    (StoreError, 503, "database_unusable"),
    (ImpossibleSettings, 503, "settings"),
    (ContainerNotFound, 404, "not_found"),
    (InvalidArgument, 400, "bad_request"),
    (LifecycleError, 409, "conflict"),
)


class Refused(HTTPError):
    """An answer that is no success; `more` goes beside the error."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, more: dict[str, object] | None = None
    ) -> None:
        super().__init__(status, clean(message))
        self.code = code or CODES[status]
        self.message = clean(message)
        self.more = more or {}


@contextmanager
def as_answers() -> Iterator[None]:
    """Our own errors become answers."""
    try:
        yield
    except LifecycleError as error:
        status, code = next((status, code) for kind, status, code in STATUSES if isinstance(error, kind))
        said = next((sentence for kind, sentence in SENTENCES if isinstance(error, kind)), "")
        if said:
            log.warning("not answered error=%s", error)
        raise Refused(status, said or str(error), code=code) from error
