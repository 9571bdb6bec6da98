"""The API against a real Flower, by its own document: whatever is asked, no answer is a failure of the server."""

import operator
from urllib.parse import quote

import pytest

from tests.acceptance.flowers import Flower

pytest.importorskip("schemathesis")
pytest.importorskip("flower")
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lifecycle.web.openapi import OPERATIONS

pytestmark = pytest.mark.acceptance
EXAMPLES = 20  # of each operation: half a minute in all
NAME = operator.attrgetter("name")
# Not that all of a schema is accepted: a cursor has to be the id of a container.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ODD = ("<script>", "q\"uo'te", "a/b", "ünï☃", "per%cent")
KNOWN = [*ODD, *(f"{name}-live" for name in ODD)]
AS_FUZZED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def flower(new_world, tmp_path_factory):
    """Of a world without nodes: nothing that is started here runs."""
    world = new_world()
    made = Flower(tmp_path_factory.mktemp("flower"), world.env, login="fuzz:er", prefix="fl")
    for name in ODD:
        top = world.lifecycle.start("COORDINATOR", container_id=name, tags={name: name}, queue="nobody-consumes")
        world.lifecycle.stop(top.id, wait=False, reason=name)
        world.lifecycle.start("WORKER", container_id=f"{name}-live", queue="nobody-consumes")
    yield made
    made.close()


@pytest.fixture(scope="module")
def document(flower):
    made = flower.get("/api/containers/openapi.json").json
    return schemathesis.openapi.from_dict(made)


@pytest.mark.parametrize("each", OPERATIONS, ids=NAME)
def test_no_request_that_the_document_allows_is_an_error(flower, document, each):
    assert fuzz(document[each.path][each.method.upper()], flower) > 0
    assert "Traceback" not in flower.said


@pytest.mark.parametrize(
    "each", [one for one in OPERATIONS if one.handler and (one.body or one.handler.PARAMETERS)], ids=NAME
)
def test_no_request_that_it_forbids_is_an_error(flower, document, each):
    assert fuzz(document[each.path][each.method.upper()], flower, schemathesis.GenerationMode.NEGATIVE) > 0
    assert "Traceback" not in flower.said


def fuzz(operation, flower, mode=None):
    """How many requests were sent; each answer is checked."""
    mode = mode or schemathesis.GenerationMode.POSITIVE
    sent = []

    @AS_FUZZED
    @given(case=operation.as_strategy(generation_mode=mode), known=st.sampled_from([None, *KNOWN]))
    def run(case, known):
        if known is not None and case.path_parameters and "stops" not in case.path:
            case.path_parameters["id"] = quote(known, safe="")
        sent.append(case)
        case.call_and_validate(base_url=flower.url, auth=("fuzz", "er"), checks=CHECKS)

    run()
    return len(sent)
