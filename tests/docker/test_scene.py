"""What the tests' own engine does, before anything of ours touches it."""

import pytest

pytestmark = pytest.mark.docker


def test_a_dependent_loses_its_network_when_its_parent_is_restarted(scene):
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent))
    assert scene.interfaces("child") == ["eth0", "lo"]
    scene.api.restart(parent, timeout=1)
    assert scene.interfaces("child") == ["lo"]
