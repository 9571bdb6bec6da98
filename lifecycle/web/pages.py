"""The pages."""

from tornado.web import authenticated

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
