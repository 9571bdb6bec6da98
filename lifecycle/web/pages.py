"""The pages, and what they are made of."""

from tornado.web import StaticFileHandler, authenticated

from lifecycle.web.door import Page


class ContainersPage(Page):
    """The tree of what runs."""

    @authenticated
    def get(self) -> None:
        self.show("containers.html")


class ContainerPage(Page):
    """One container."""

    @authenticated
    def get(self, container_id: str) -> None:
        self.show("container.html", container_id=container_id)


class ServicesPage(Page):
    """Docker services."""

    @authenticated
    def get(self) -> None:
        self.show("services.html")


class Asset(StaticFileHandler):
    """Our scripts and styles, for everybody. Modules name each other without a version: so browsers ask for news."""

    def set_extra_headers(self, path: str) -> None:
        if "v" not in self.request.query_arguments:
            self.set_header("Cache-Control", "no-cache")
