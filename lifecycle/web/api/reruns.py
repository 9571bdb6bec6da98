"""Running a container once more."""

from functools import partial

from lifecycle.runtime.app import Lifecycle
from lifecycle.web import texts
from lifecycle.web.api.handler import Api
from lifecycle.web.body import read_object
from lifecycle.web.refusal import as_answers


class Rerun(Api):
    """POST api/containers/<id>/rerun"""

    async def post(self, container_id: str) -> None:
        read_object(self.request, ())
        made = await self.desk.call(partial(rerun, self.lifecycle, container_id, self.who))
        self.send(texts.encode({"id": made}), 201)


def rerun(lifecycle: Lifecycle, container_id: str, by: str) -> str:
    """The id of the new container."""
    with as_answers():
        return lifecycle.rerun(container_id, by=by).id
