"""The way to a Docker engine, whose every failure is told as one of two. Only here docker-py is known."""

from functools import cached_property
from typing import Any, NoReturn

from lifecycle.errors import DaemonTrouble, EngineMissing, EngineRefused, ServiceTrouble
from lifecycle.services.trouble import refusal

FAILED = 400
OTHER_VERSION = "client version"
NO_EXTRA = "The Docker client is not installed: pip install 'celery-lifecycle[docker]'"
NO_SOCKET = ("FileNotFoundError", "PermissionError", "NotADirectoryError", "has no attribute")


class Unwilling(Exception):
    """The engine, or a proxy before it, answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status, self.text = status, text

    @property
    def trouble(self) -> EngineRefused | DaemonTrouble:
        """What it is where no container is meant."""
        return refusal(self.status, self.text) or DaemonTrouble(self.text)


class Connection:
    """Asks the engine; raises Unwilling for an answer that is an error, DaemonTrouble if there is none."""

    def __init__(self, url: str | None, timeout: float) -> None:
        self._url, self.timeout = url, timeout

    def close(self) -> None:
        """Let its sockets go; the next call opens new ones."""
        if api := self.__dict__.pop("_api", None):
            api.close()

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of its answer; nothing is an empty one."""
        response = self.open(method, path, **options)
        try:
            return response.json() if response.content else {}
        except OSError as error:
            raise DaemonTrouble(f"the engine's answer cannot be read: {error}") from error

    def open(self, method: str, path: str, **options: Any) -> Any:
        """Its answer, perhaps to be read as it comes. All failures of the libraries beneath are OSErrors."""
        api = self._api
        try:
            url = f"{api.base_url}/v{api.api_version}{path}"
            response = api.request(method, url, **{"timeout": self.timeout, **options})
            if response.status_code >= FAILED:
                self._refused(response.status_code, _words(response))
        except OSError as error:
            raise DaemonTrouble(f"the engine does not answer: {error}") from error
        return response

    def _refused(self, status: int, text: str) -> NoReturn:
        """An engine that was exchanged may speak another version: agree on one anew."""
        if OTHER_VERSION in text:
            self.close()
        raise Unwilling(status, text)

    @cached_property
    def _api(self) -> Any:
        """docker-py's: sockets, TLS, and the version that both sides speak."""
        try:
            import docker  # noqa: PLC0415 - an extra
        except ImportError:
            raise EngineMissing(NO_EXTRA) from None
        try:
            where = {"base_url": self._url} if self._url else docker.utils.kwargs_from_env()
            return docker.APIClient(version="auto", timeout=self.timeout, **where)
        except (docker.errors.DockerException, OSError) as error:
            raise _unreached(error) from error
        except (ValueError, AttributeError, TypeError) as error:  # docker-py's way to say that an URL is none
            raise EngineMissing(f"{self._url or 'DOCKER_HOST'} leads to no Docker engine: {error}") from error


def _unreached(error: Exception) -> ServiceTrouble:
    """No socket, or a URL that is none; else it stands there and does not answer, or a proxy before it refused."""
    text = str(error)
    if "fetching" not in text or any(word in text for word in NO_SOCKET):
        return EngineMissing(f"There is no Docker engine to reach: {text}")
    answer = getattr(error.__cause__, "response", None)
    return (refusal(answer.status_code, text) if answer is not None else None) or DaemonTrouble(text)


def _words(response: Any) -> str:
    """Its message; a proxy's is whatever it wrote."""
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return str(response.text).strip() or str(response.reason)
