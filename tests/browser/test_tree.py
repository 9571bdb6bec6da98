"""The tree: what is shown, found, folded, and kept over polls."""

from tests.acceptance.world import eventually


def test_every_page_of_flower_has_the_tab_and_it_leads_to_the_tree(scene, visitor, page):
    scene.run(scene.plan("ship", scene.plan("crew")))
    for path in ("/", "/tasks", "/broker"):
        page.goto(path)
        assert page.locator("#nav-containers").is_visible(), path
    page.locator("#nav-containers").click()
    visitor.live()
    assert page.locator("#nav-containers").get_attribute("aria-current") == "page"
    assert visitor.rows()[:2] == [scene.id("ship"), scene.id("crew")]
    assert visitor.row(scene.id("ship")).get_attribute("aria-level") == "1"
    assert visitor.row(scene.id("crew")).get_attribute("aria-level") == "2"
    assert "RUNNING" in visitor.row(scene.id("crew")).inner_text()


def test_what_starts_appears_and_what_ends_goes(scene, visitor, page, tmp_path):
    visitor.open()
    scene.run(scene.plan("guest", until=str(tmp_path / "over")))
    visitor.row(scene.id("guest")).wait_for()
    (tmp_path / "over").touch()
    visitor.row(scene.id("guest")).wait_for(state="detached")


def test_filters_are_in_the_url_and_in_it_again(scene, visitor, page, tmp_path):
    (tmp_path / "over").touch()
    scene.start(scene.plan("done", until=str(tmp_path / "over")))
    scene.ended("done")
    scene.run(scene.plan("busy"))
    visitor.open()
    visitor.row(scene.id("busy")).wait_for()
    assert visitor.row(scene.id("done")).count() == 0
    page.locator("[data-status=COMPLETED]").click()
    visitor.row(scene.id("done")).wait_for()
    assert "status=RUNNING,INTERRUPTED,COMPLETED" in page.url
    page.reload()
    visitor.row(scene.id("done")).wait_for()
    assert page.locator("[data-status=COMPLETED]").get_attribute("aria-pressed") == "true"
    assert int(page.locator("[data-status=COMPLETED] .c-count").inner_text()) >= 1


def test_the_search_knows_ids_types_and_tags(scene, visitor, page):
    plan = scene.plan("carrier")
    plan["options"]["tags"] = {"operation": f"arbitrage-{scene.suffix}"}
    scene.run(plan)
    scene.run(scene.plan("other"))
    visitor.open()
    search = page.get_by_role("searchbox", name="Search containers")
    for words, found in (
        (scene.id("carrier")[1:], ["carrier"]),
        (f"worker {scene.suffix} -other", ["carrier"]),
        (f"tag:operation=arbitrage-{scene.suffix}", ["carrier"]),
        (f"nothing-{scene.suffix}", []),
    ):
        search.fill(words)
        ids = [scene.id(name) for name in found]
        eventually(words, lambda ids=ids: visitor.rows() == ids)
    assert page.locator("#containers-empty").inner_text().startswith("No container fits")
    page.get_by_role("button", name="Show what is running").click()
    visitor.row(scene.id("other")).wait_for()
    assert search.input_value() == ""
    visitor.row(scene.id("carrier")).locator(".c-tag").click()
    visitor.row(scene.id("other")).wait_for(state="detached")
    assert f"tag=operation%3Darbitrage-{scene.suffix}" in page.url
    page.get_by_role("button", name=f"tag: operation=arbitrage-{scene.suffix}").click()
    visitor.row(scene.id("other")).wait_for()


def test_folds_typed_words_and_the_focus_survive_polls_and_a_reload(scene, visitor, page):
    scene.run(scene.plan("top", scene.plan("mid", scene.plan("leaf"))))
    visitor.open()
    visitor.row(scene.id("mid")).locator("button.c-fold").click()
    visitor.row(scene.id("leaf")).wait_for(state="detached")
    assert visitor.focused() == scene.id("mid")
    scene.run(scene.plan("newer"))
    visitor.row(scene.id("newer")).wait_for()
    assert visitor.row(scene.id("leaf")).count() == 0
    assert visitor.focused() == scene.id("mid")
    page.reload()
    visitor.row(scene.id("mid")).wait_for()
    assert visitor.row(scene.id("mid")).get_attribute("aria-expanded") == "false"


def test_why_and_iteration_and_the_first_line_of_an_error_are_told(scene, visitor, page):
    scene.start(scene.plan("rester", kind="SLEEPY"))
    scene.start(scene.plan("broken", kind="FAILING"))
    scene.ended("broken")
    eventually("it rests", lambda: scene.marks("rester") and scene.get("rester").wake_at)
    visitor.open(f"/containers?status=all&q={scene.suffix}")
    rests = visitor.row(scene.id("rester"))
    rests.locator("text=sleeping until").wait_for()
    assert "1/∞" in rests.inner_text()
    assert rests.locator("time").count() == 1
    assert "no such ship" in visitor.row(scene.id("broken")).inner_text()


def test_many_children_are_a_bar_until_they_are_asked_for(scene, visitor, page):
    children = [scene.plan(f"child-{number}", queue="nobody") for number in range(25)]
    scene.start(scene.plan("mother", *children))
    eventually("all spawned", lambda: len(scene.rows()) == 26)
    visitor.open(f"/containers?status=RUNNING&q={scene.id('mother')}")
    mother = visitor.row(scene.id("mother"))
    mother.locator("text=25 pending").wait_for()
    assert visitor.rows() == [scene.id("mother")]
    assert mother.get_attribute("aria-expanded") == "false"
    mother.locator("button.c-fold").click()
    visitor.row(scene.id("child-24")).wait_for()
    assert len(visitor.rows()) == 26


def test_ended_children_are_shown_when_asked_for(scene, visitor, page, tmp_path):
    (tmp_path / "over").touch()
    short = scene.plan("short", until=str(tmp_path / "over"))
    scene.start(scene.plan("parent", short, scene.plan("long")))
    scene.ended("short")
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("long")).wait_for()
    page.get_by_role("button", name="Show 1 completed").click()
    visitor.row(scene.id("short")).wait_for()


def test_a_wrong_filter_says_what_is_allowed(visitor, page):
    visitor.expected += [r"400"]
    page.goto("/containers?status=SLEEPY")
    page.locator("#containers-empty").wait_for()
    said = page.locator("#containers-empty").inner_text()
    assert "SLEEPY" in said.upper()
    assert "RUNNING" in said
    page.get_by_role("button", name="Show what is running").click()
    visitor.live()


def test_a_click_on_a_tag_shows_no_other_that_begins_so(scene, visitor, page):
    for name, ship in (("one", "1"), ("ten", "10")):
        plan = scene.plan(name)
        plan["options"]["tags"] = {"ship": f"{scene.suffix}-{ship}"}
        scene.run(plan)
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("ten")).wait_for()
    visitor.row(scene.id("one")).locator(".c-tag").click()
    eventually("only this ship's", lambda: visitor.rows() == [scene.id("one")])
    visitor.open(f"/containers/{scene.id('one')}")
    page.locator(".c-tag").click()
    page.wait_for_url("**/containers?*")
    eventually("only this ship's", lambda: visitor.rows() == [scene.id("one")])


def test_a_number_that_is_not_known_is_no_zero(visitor, page):
    def without_two(route):
        answer = route.fetch()
        body = answer.json()
        del body["counts"]["FAILED"]
        body["counts"]["COMPLETED"] = None
        route.fulfill(response=answer, json=body)

    page.route("**/api/containers/tree?*", without_two)
    visitor.open()
    numbers = {each: page.locator(f"[data-status={each}] .c-count").inner_text() for each in ("FAILED", "COMPLETED")}
    assert numbers == {"FAILED": "…", "COMPLETED": "…"}
    assert page.locator("[data-status=STOPPING] .c-count").inner_text() == "0"


def test_folds_that_cannot_be_read_are_forgotten(scene, visitor, page):
    scene.run(scene.plan("above", scene.plan("below")))
    page.add_init_script("sessionStorage.setItem('containers.folds', '{')")
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("below")).wait_for()
