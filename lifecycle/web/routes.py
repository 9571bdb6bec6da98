"""Which URL is whose; Flower puts its prefix before them."""

from tornado.web import url

from lifecycle.web.api.containers import Listing, One
from lifecycle.web.api.document import Document
from lifecycle.web.api.logs import Logs
from lifecycle.web.api.reruns import Rerun
from lifecycle.web.api.services import Services
from lifecycle.web.api.stops import Outcome, Stop
from lifecycle.web.api.trees import Children, Trees
from lifecycle.web.overlay import STATIC
from lifecycle.web.pages import Asset, ContainerPage, ContainersPage, ServicesPage

ID = "([^/]+)"  # percent-encoded as a whole


def handlers() -> list[url]:
    """Ours, to be put before Flower's."""
    return [
        url(r"/containers", ContainersPage, name="containers"),
        url(rf"/containers/{ID}", ContainerPage, name="container"),
        url(r"/container-services", ServicesPage, name="container-services"),
        url(r"/containers-static/(.*)", Asset, {"path": str(STATIC)}),
        url(r"/api/containers", Listing),
        url(r"/api/containers/tree", Trees),
        url(r"/api/containers/openapi\.json", Document),
        url(rf"/api/containers/{ID}", One),
        url(rf"/api/containers/{ID}/children", Children),
        url(rf"/api/containers/{ID}/logs", Logs),
        url(rf"/api/containers/{ID}/stop", Stop),
        url(rf"/api/containers/{ID}/rerun", Rerun),
        url(rf"/api/stops/{ID}", Outcome),
        url(r"/api/services", Services),
    ]
