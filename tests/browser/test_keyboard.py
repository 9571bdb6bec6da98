"""All of it without a mouse."""

import re

from tests.acceptance.world import eventually


def press(visitor, *keys):
    for key in keys:
        visitor.page.keyboard.press(key)


def test_a_tree_is_walked_folded_and_stopped_by_keys(scene, visitor, page):
    scene.run(scene.plan("top", scene.plan("mid", scene.plan("leaf")), scene.plan("side")))
    visitor.open()
    visitor.row(scene.id("leaf")).wait_for()
    press(visitor, "/")
    page.keyboard.type(scene.suffix)
    eventually("found", lambda: len(visitor.rows()) == 4)
    for _ in range(12):
        press(visitor, "Tab")
        if visitor.focused():
            break
    assert visitor.focused() == scene.id("top"), "Tab comes to the tree, at one row"
    press(visitor, "ArrowDown")
    assert visitor.focused() == scene.id("mid")
    press(visitor, "ArrowLeft")
    assert scene.id("leaf") not in visitor.rows()
    press(visitor, "ArrowRight", "ArrowRight")
    assert visitor.focused() == scene.id("leaf")
    press(visitor, "ArrowLeft", "End")
    assert visitor.focused() == scene.id("side")
    press(visitor, "x")
    dialog = page.locator("dialog[open]")
    dialog.get_by_role("heading", name="Stop 1 container").wait_for()
    press(visitor, "Escape")
    dialog.wait_for(state="detached")
    assert visitor.focused() == scene.id("side"), "back to where it was"
    press(visitor, "x")
    go = dialog.get_by_role("button", name=re.compile("^Stop 1"))
    go.wait_for()
    eventually("it can be pressed", go.is_enabled)
    for _ in range(6):
        press(visitor, "Tab")
        if page.evaluate("document.activeElement.textContent") == "Stop 1 container":
            break
    press(visitor, "Enter")
    dialog.get_by_role("heading", name="Stopped").wait_for()
    press(visitor, "Escape")
    visitor.row(scene.id("side")).wait_for(state="detached")
    eventually("the focus stays in the tree", lambda: visitor.focused() is not None)


def test_enter_opens_a_container(scene, visitor, page):
    scene.run(scene.plan("opened"))
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("opened")).focus()
    press(visitor, "Enter")
    page.wait_for_url(f"**/containers/{scene.id('opened')}")
    visitor.live()


def test_the_focus_goes_to_a_neighbour_of_what_ends(scene, visitor, page, tmp_path):
    for name, until in (("first", None), ("second", str(tmp_path / "over")), ("third", None)):
        scene.run(scene.plan(name, until=until))
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("second")).focus()
    (tmp_path / "over").touch()
    visitor.row(scene.id("second")).wait_for(state="detached")
    assert visitor.focused() == scene.id("first")


def test_the_tree_says_what_it_is_to_who_cannot_see_it(scene, visitor, page):
    scene.run(scene.plan("above", scene.plan("below")))
    visitor.open(f"/containers?q={scene.suffix}")
    grid = page.get_by_role("treegrid", name="Containers")
    assert grid.get_by_role("row").count() == 3
    assert grid.get_by_role("columnheader").count() == 8
    assert visitor.row(scene.id("above")).get_attribute("aria-expanded") == "true"
    assert visitor.row(scene.id("below")).get_attribute("aria-expanded") is None
    assert page.locator("#containers-live").get_attribute("role") == "status"
