"""What all handlers of the API do alike: login, parameters, answers, errors."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from tornado.web import HTTPError

from lifecycle.store.budget import reading
from lifecycle.store.engine import Connection
from lifecycle.web import texts
from lifecycle.web.door import NO_LOGIN, READ_ONLY, Door
from lifecycle.web.parameters import Parameter, read_query
from lifecycle.web.refusal import CODES, Refused, as_answers

STATEMENT = 4.0  # seconds for one statement of a reader


class Api(Door):
    """A handler of the API: `answer` what a reader gives, JSON errors, never a page."""

    SUPPORTED_METHODS = ("GET", "POST")
    PARAMETERS: ClassVar[Sequence[Parameter]] = ()

    def prepare(self) -> None:
        """Refuse who may not come in, and what cannot be meant."""
        self.set_header("Cache-Control", "no-store")
        if self.request.method not in self.allowed:
            raise HTTPError(405)
        if not self.current_user:
            raise HTTPError(401)
        if self.request.method == "POST":
            self._check_act()
        self.query = read_query(self.request.query_arguments, self.PARAMETERS)

    @property
    def allowed(self) -> list[str]:
        """The methods of this handler."""
        return [each for each in self.SUPPORTED_METHODS if each.lower() in vars(type(self))]

    def _check_act(self) -> None:
        if not (self._has_login or self._is_open):
            raise Refused(401, NO_LOGIN, code="no_login_configured")
        if getattr(self.application.options, "read_only", False):
            raise Refused(403, READ_ONLY, code="read_only")
        self.check_site()

    async def answer(self, work: Callable[[Connection], Any]) -> None:
        """Send as JSON what a reader finds; who asks the same at the same time shares it."""
        self.send(await self.ask(work))

    async def ask(self, work: Callable[[Connection], Any]) -> bytes:
        """The JSON of what a reader finds."""
        lifecycle = self.lifecycle

        def read() -> bytes:
            with as_answers(), self._reading(lifecycle) as connection:
                found = work(connection)
                return found if isinstance(found, bytes) else texts.encode(found)

        key = (type(self).__name__, *self.path_args, *self.query.items())
        found: bytes = await self.desk.read(key, read)
        return found

    def _reading(self, lifecycle: Any) -> AbstractContextManager[Connection]:
        return reading(lifecycle.database, STATEMENT)

    def send(self, body: bytes, status: int = 200) -> None:
        """JSON; Tornado adds the ETag, and answers 304 to who has it."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """An error as JSON."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        self.set_header("Cache-Control", "no-store")
        if status_code == 401 and self.application.options.basic_auth:  # noqa: PLR2004
            self.set_header("WWW-Authenticate", 'Basic realm="flower", charset="UTF-8"')
        if status_code == 405:  # noqa: PLR2004
            self.set_header("Allow", ", ".join(self.allowed))
        if not isinstance(error, Refused):
            code, said = CODES.get(status_code, "error"), SENTENCES.get(status_code, "This cannot be answered.")
            error = Refused(status_code, said, code=code)
        self.send(texts.encode({"error": {"code": error.code, "message": error.message}, **error.more}), status_code)

    def log_exception(self, kind: Any, value: Any, traceback: Any) -> None:
        """What is refused is no error of ours."""
        if not isinstance(value, Refused):
            super().log_exception(kind, value, traceback)


SENTENCES = {
    400: "This request cannot be read.",
    401: "Log in.",
    404: "There is no such thing.",
    405: "This method is not allowed here.",
    500: "An error of this server; its log has more.",
}
