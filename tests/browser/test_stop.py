"""A stop by hand: what the dialog shows is what stops, who asked is recorded, and failures are told."""

import re

from tests.acceptance.world import eventually
from tests.browser.site import USER


def open_dialog(visitor, scene, name):
    visitor.row(scene.id(name)).locator(".c-stop").click()
    dialog = visitor.page.locator("dialog[open]")
    dialog.get_by_role("heading", name=re.compile(r"^Stop \d+ container")).wait_for()
    return dialog


def test_the_dialog_lists_the_tree_in_order_and_stops_it(scene, visitor, page):
    scene.run(scene.plan("top", scene.plan("mid", scene.plan("leaf-1"), scene.plan("leaf-2")), scene.plan("side")))
    visitor.open(f"/containers?q={scene.suffix}")
    dialog = open_dialog(visitor, scene, "top")
    assert dialog.get_by_role("heading").inner_text() == "Stop 5 containers"
    listed = [scene.name(each) for each in dialog.locator(".c-list .c-id").all_inner_texts()]
    assert sorted(listed) == ["leaf-1", "leaf-2", "mid", "side", "top"]
    assert listed.index("leaf-1") < listed.index("mid") < listed.index("top") == 4
    dialog.get_by_label("Reason").fill("the market has closed")
    dialog.get_by_role("button", name="Stop 5 containers").click()
    dialog.get_by_role("heading", name="Stopped").wait_for()
    assert dialog.locator("[data-outcome=stopped]").count() == dialog.locator("[data-outcome]").count() == 5
    assert f"Asked by {USER}@flower" in dialog.inner_text()
    assert scene.status("top", "mid", "leaf-1", "leaf-2", "side") == ["STOPPED"] * 5
    assert (scene.get("top").stop_by, scene.get("top").stop_reason) == (f"{USER}@flower", "the market has closed")
    page.keyboard.press("Escape")
    eventually("the rows are gone", lambda: visitor.rows() == [])


def test_nothing_is_stopped_by_looking(scene, visitor, page):
    scene.run(scene.plan("alone"))
    visitor.open(f"/containers?q={scene.suffix}")
    dialog = open_dialog(visitor, scene, "alone")
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="detached")
    visitor.row(scene.id("alone")).wait_for()
    assert visitor.focused() == scene.id("alone")
    assert scene.status("alone") == "RUNNING"


def test_what_was_typed_survives_polls_behind_the_dialog(scene, visitor, page):
    scene.run(scene.plan("calm"))
    visitor.open(f"/containers?q={scene.suffix}")
    dialog = open_dialog(visitor, scene, "calm")
    dialog.get_by_label("Reason").fill("half a rea")
    scene.run(scene.plan("another"))
    visitor.row(scene.id("another")).wait_for()
    assert dialog.get_by_label("Reason").input_value() == "half a rea"


def test_what_started_behind_the_dialog_is_shown_before_it_stops(scene, visitor, page):
    scene.run(scene.plan("growing"))
    visitor.open(f"/containers?q={scene.suffix}")
    dialog = open_dialog(visitor, scene, "growing")
    child = scene.plan("late", queue="nobody")
    child["options"]["parent_container_id"] = scene.id("growing")
    scene.start(child)
    visitor.expected += [r"409"]
    dialog.get_by_role("button", name="Stop 1 container").click()
    dialog.get_by_role("heading", name="Stop 2 containers").wait_for()
    assert scene.status("growing") == "RUNNING"
    dialog.get_by_role("button", name="Stop 2 containers").click()
    dialog.get_by_role("heading", name="Stopped").wait_for()


def test_a_stop_that_takes_its_time_can_be_made_a_kill(scene, visitor, page):
    scene.run(scene.plan("slow", kind="STUBBORN", grace=600))
    visitor.open(f"/containers?q={scene.suffix}")
    dialog = open_dialog(visitor, scene, "slow")
    dialog.get_by_role("button", name="Stop 1 container").click()
    dialog.locator("[data-outcome=stopping]").wait_for()
    dialog.get_by_role("button", name="Kill now").click()
    dialog.get_by_role("heading", name="Stopped").wait_for()
    assert scene.status("slow") == "STOPPED"


def test_a_stop_that_fails_says_what_failed_and_why(scene, visitor, page):
    """On threads nothing can be killed."""
    scene.run(scene.plan("deaf", seconds=15.0, queue="threads"))
    visitor.open(f"/containers?q={scene.suffix}&status=all")
    dialog = open_dialog(visitor, scene, "deaf")
    dialog.get_by_label("Grace").fill("0.5")
    dialog.get_by_role("button", name="Stop 1 container").click()
    dialog.get_by_role("heading", name="1 could not be stopped").wait_for()
    assert "nothing can be killed" in dialog.locator("[data-outcome=failed]").inner_text()
    page.keyboard.press("Escape")
    visitor.row(scene.id("deaf")).locator("text=nothing can be killed").first.wait_for()


def test_a_stop_where_no_node_is_is_over_at_once(scene, visitor, page):
    scene.start(scene.plan("queued", queue="nobody"))
    visitor.open(f"/containers?status=PENDING&q={scene.suffix}")
    dialog = open_dialog(visitor, scene, "queued")
    dialog.get_by_role("button", name="Stop 1 container").click()
    dialog.get_by_role("heading", name="Stopped").wait_for()


def test_an_answer_that_comes_late_is_drawn_into_no_other_dialog(scene, visitor, page):
    """Neither what would stop, nor what became of a stop: its button would kill what nobody has confirmed."""
    scene.run(scene.plan("first"))
    scene.run(scene.plan("second"))
    visitor.open(f"/containers?q={scene.suffix}")
    held = []

    def hold(route):
        held.append(route)

    page.route(lambda url: url.endswith(f"{scene.id('first')}/stop"), hold)
    for order in ("the preview", "the stop"):
        visitor.row(scene.id("first")).locator(".c-stop").click()
        if order == "the stop":
            eventually("it is asked", lambda: page.wait_for_timeout(50) or held)
            held.pop().continue_()
            page.locator("dialog").get_by_role("button", name="Stop 1 container").click()
        eventually(order, lambda: page.wait_for_timeout(50) or held)
        page.keyboard.press("Escape")
        dialog = open_dialog(visitor, scene, "second")
        with page.expect_response(lambda answer: answer.url.endswith(f"{scene.id('first')}/stop")):
            held.pop().continue_()
        page.wait_for_timeout(200)  # whatever it would do with that
        assert dialog.locator(".c-list .c-id").all_inner_texts() == [scene.id("second")]
        assert dialog.get_by_role("heading").inner_text() == "Stop 1 container"
        assert dialog.get_by_role("button", name="Kill now").count() == 0
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
    eventually("it has stopped", lambda: scene.status("first") == "STOPPED")
    assert scene.status("second") == "RUNNING"
