"""What a request cannot have, as a status, a code and a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from tornado.web import HTTPError

from lifecycle.domain.text import clean
from lifecycle.errors import (
    ContainerNotFound,
    ImpossibleSettings,
    InvalidArgument,
    LifecycleError,
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
        raise Refused(status, str(error), code=code) from error
