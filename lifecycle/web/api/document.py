"""The document of the API."""

from lifecycle.web import texts
from lifecycle.web.api.handler import Api
from lifecycle.web.openapi import document


class Document(Api):
    """GET api/containers/openapi.json"""

    def get(self) -> None:
        self.send(texts.encode(document(self.root)))
