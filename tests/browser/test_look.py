"""Dark, narrow, and in an old Flower's clothes."""

NARROW = {"width": 390, "height": 844}


def no_wider_than_the_window(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_dark_theme_is_flowers(scene, site, new_visitor):
    scene.run(scene.plan("night"))
    visitor = new_visitor(site, color_scheme="dark")
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("night")).wait_for()
    assert visitor.page.locator("html").get_attribute("data-bs-theme") == "dark"
    for what in (".tasks-table-card", "body", ".c-search"):
        assert lightness(visitor.page, what, "backgroundColor") < 0.35, what
    assert lightness(visitor.page, ".c-id", "color") > 0.6
    visitor.row(scene.id("night")).locator(".c-stop").click()
    visitor.page.locator("dialog[open]").wait_for()
    assert lightness(visitor.page, "dialog", "backgroundColor") < 0.35


def test_on_a_phone_all_is_in_reach(scene, site, new_visitor):
    long_name = f"a-coordinator-with-a-rather-long-name-{'x' * 40}"
    scene.run(scene.plan(long_name, scene.plan("below", scene.plan("deeper"))))
    visitor = new_visitor(site, viewport=NARROW)
    page = visitor.page
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("deeper")).wait_for()
    assert no_wider_than_the_window(page)
    title, live = page.locator("h1").bounding_box(), page.locator(".refresh-status").bounding_box()
    assert live["y"] < title["y"] + title["height"], "beside the title"
    assert live["x"] + live["width"] <= 390
    for status in ("RUNNING", "STOPPED"):
        assert in_sight(page.locator(f"[data-status={status}]")), status
    row = visitor.row(scene.id("deeper"))
    for what in (".c-id", ".c-status", ".c-stop", ".c-cell-age", ".c-cell-node"):
        assert in_sight(row.locator(what)), what
    row.locator(".c-stop").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_role("button", name="Stop 1 container").wait_for()
    assert no_wider_than_the_window(page)
    page.keyboard.press("Escape")
    visitor.open(f"/containers/{scene.id(long_name)}")
    page.locator("#container-timeline li").first.wait_for()
    assert no_wider_than_the_window(page)
    assert page.get_by_role("button", name="Stop", exact=True).first.bounding_box()["x"] >= 0


def in_sight(locator):
    """Not cut off, left or right."""
    box = locator.bounding_box()
    return box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"]


def lightness(page, selector, what):
    """Of a computed colour, from 0 to 1."""
    colour = page.locator(selector).first.evaluate(f"node => getComputedStyle(node).{what}")
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3 / 255
