"""Who may come in: Flower's login, its `read_only`, and requests of other sites."""

import os
import socket
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

from flower.utils import strtobool
from flower.views import BaseHandler
from tornado.web import HTTPError, RequestHandler

from lifecycle import __version__
from lifecycle.domain.text import clean
from lifecycle.runtime.app import Lifecycle
from lifecycle.web.desk import Desk
from lifecycle.web.overlay import asset
from lifecycle.web.refusal import Refused

LONGEST = 200  # characters of a name in a row
READ_ONLY = "This Flower is read-only."
NO_LOGIN = (
    "No login is configured. Give Flower --basic_auth or --auth; "
    "or set FLOWER_UNAUTHENTICATED_API=true to allow everybody who can reach it."
)
OTHER_ORIGIN = (
    "This request was made by a page of {origin}, and this is {host}. "
    "A proxy before Flower is to hand on the Host it was asked for: proxy_set_header Host $http_host."
)


class Door(BaseHandler):
    """What pages and API have in common."""

    @property
    def lifecycle(self) -> Lifecycle:
        """The app's; an app without one gets it, as configured by the environment."""
        found: Lifecycle = getattr(self.capp, "lifecycle", None) or Lifecycle(self.capp)
        return found

    @property
    def desk(self) -> Desk:
        """One for all handlers of an application."""
        settings = self.application.settings
        if "containers_desk" not in settings:
            settings["containers_desk"] = Desk()
        found: Desk = settings["containers_desk"]
        return found

    @property
    def root(self) -> str:
        """Flower's prefix, as `/flower`; empty without one."""
        found: str = self.reverse_url("containers").removesuffix("/containers")
        return found

    @property
    def is_closed(self) -> str:
        """Why nobody may act here; empty if one may."""
        options = self.application.options
        if getattr(options, "read_only", False):
            return READ_ONLY
        return "" if self._has_login or self._is_open else NO_LOGIN

    @property
    def who(self) -> str:
        """Who acts, as rows name it: the login, or this Flower."""
        name = self.current_user if isinstance(self.current_user, str) else self._basic_name()
        return f"{clean(name)[:LONGEST]}@flower" if name else f"flower@{socket.gethostname()}"

    def set_default_headers(self) -> None:
        """Not Flower's CORS: what it opens to all sites is its own API. No other site shows ours in a frame."""
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "SAMEORIGIN")
        self.set_header("Content-Security-Policy", "frame-ancestors 'self'")

    def get_current_user(self) -> Any:
        """As Flower; what it cannot compare is a wrong password."""
        try:
            return super().get_current_user()
        except TypeError as error:
            raise HTTPError(401) from error

    def prepare(self) -> None:
        """No id has a NUL, and PostgreSQL takes none."""
        if any("\x00" in each for each in self.path_args):
            raise HTTPError(404)

    def check_xsrf_cookie(self) -> None:
        """Flower 2.2 alone calls this: see `check_site`, which holds for all."""

    def check_site(self) -> None:
        """Raises Refused for a request that another site's page has made."""
        headers = self.request.headers
        site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
        if site and site != "same-origin":
            raise Refused(403, "This request was made by a page of another site.", code="cross_site")
        if not site and origin and urlsplit(origin).netloc != self.request.host:
            raise Refused(403, OTHER_ORIGIN.format(origin=origin, host=self.request.host), code="cross_site")
        if self.application.options.auth:
            try:
                RequestHandler.check_xsrf_cookie(self)
            except HTTPError as error:
                raise Refused(403, "The _xsrf cookie is to be repeated as X-XSRFToken.", code="xsrf") from error

    @property
    def _has_login(self) -> bool:
        return bool(self.application.options.basic_auth or self.application.options.auth)

    @property
    def _is_open(self) -> bool:
        return bool(strtobool(os.environ.get("FLOWER_UNAUTHENTICATED_API") or "false"))

    def _basic_name(self) -> str:
        """The user of a basic login that has been checked."""
        if not self.application.options.basic_auth:
            return ""
        _, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        return b64decode(credentials).decode().partition(":")[0]


class Page(Door):
    """A page: Flower's login, and what every template of ours is given."""

    def show(self, template: str, **more: Any) -> None:
        """Render a template of ours."""
        self.set_header("Cache-Control", "no-store")
        self.render(
            template,
            api=f"{self.root}/api",
            may_act=not self.is_closed,
            why_not=self.is_closed,
            xsrf=self.xsrf_token.decode() if self.application.options.auth else "",
            version=__version__,
            flower_task_url=f"{self.root}/task/{{id}}",
            asset=lambda path: asset(self, path),
            **more,
        )
