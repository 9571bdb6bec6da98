"""A resource whose holders fail again and again, on a real node and as an operator sees it."""

import json

import pytest

from lifecycle.errors import ResourceQuarantined

pytestmark = pytest.mark.acceptance


def test_the_fourth_holder_is_refused_until_an_operator_releases_the_resource(scene):
    ship = f"ship:{scene.suffix}"
    for number in range(3):
        scene.start(scene.plan(f"failing-{number}", kind="FAILING", resources=[ship]))
        assert scene.ended(f"failing-{number}").status == "FAILED"
    with pytest.raises(ResourceQuarantined, match="failed with ValueError: no such ship") as refused:
        scene.start(scene.plan("fourth", kind="QUICK", resources=[ship]))
    assert scene.found("fourth") is None
    (shown,) = [each for each in listed(scene) if each["resource"] == ship]
    assert (shown["container_id"], shown["failures"], shown["error"]) == (None, 3, "ValueError: no such ship")
    assert shown["quarantined_until"] == refused.value.until.isoformat()
    released = scene.world.command("assignments", "--release", ship)
    assert released.stdout == f"released {ship} from quarantine\n", released.stderr
    scene.start(scene.plan("fourth", kind="QUICK", resources=[ship]))
    assert scene.ended("fourth").status == "COMPLETED"


def listed(scene):
    ran = scene.world.command("assignments", "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)
