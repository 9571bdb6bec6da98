"""The page of one container: its path, its past, its log; and there and back."""

from tests.acceptance.world import eventually


def see(visitor, scene, name):
    visitor.open(f"/containers/{scene.id(name)}")
    return visitor.page


def test_there_and_back_keeps_the_filter(scene, visitor, page):
    scene.run(scene.plan("root", scene.plan("mid", scene.plan("leaf"))))
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("leaf")).locator("a").click()
    visitor.live()
    path = page.get_by_role("navigation", name="Path to the root")
    assert path.locator("#container-path a").all_inner_texts() == [scene.id("root"), scene.id("mid")]
    path.get_by_role("link", name=scene.id("mid")).click()
    visitor.live()
    assert page.get_by_role("heading", level=1).inner_text() == scene.id("mid")
    visitor.row(scene.id("leaf")).wait_for()
    page.go_back()
    page.go_back()
    visitor.row(scene.id("leaf")).wait_for()
    assert scene.suffix in page.get_by_role("searchbox").input_value()


def test_it_shows_arguments_tags_assignments_and_the_timeline(scene, visitor, page):
    plan = scene.plan("holder", seconds=3599.5, resources=(f"ship:{scene.suffix}",))
    plan["options"]["tags"] = {"operation": "mining"}
    scene.run(plan)
    see(visitor, scene, "holder")
    page.locator("#container-timeline li").nth(1).wait_for()
    assert "3599.5" in page.locator("#container-arguments").inner_text()
    assert "operation=mining" in page.locator("#container-facts").inner_text()
    assert f"ship:{scene.suffix}" in page.locator("#container-assignments").inner_text()
    steps = page.locator("#container-timeline .badge").all_inner_texts()
    assert steps == ["PENDING", "RUNNING"]
    scene.stop("holder", reason="enough")
    page.locator("#container-timeline .badge", has_text="STOPPED").wait_for()
    assert "Stopped by user" in page.locator("#container-facts").inner_text()
    assert "until it ends" not in page.locator("#container-assignments").inner_text()


def test_run_again_makes_a_new_container_and_leads_to_it(scene, visitor, page, tmp_path):
    (tmp_path / "over").touch()
    scene.start(scene.plan("first", until=str(tmp_path / "over")))
    scene.ended("first")
    see(visitor, scene, "first")
    (tmp_path / "over").unlink()
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: scene.suffix not in url)
    visitor.live()
    again = page.get_by_role("heading", level=1).inner_text()
    assert scene.lifecycle.get(again).container_type == "WORKER"
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop 1 container").click()
    page.locator("dialog").get_by_role("heading", name="Stopped").wait_for()
    eventually("it ended", lambda: scene.lifecycle.get(again).is_ended)


def test_the_log_follows_and_knows_levels_and_children(scene, visitor, page):
    scene.run(scene.plan("teller", scene.plan("speaker", kind="COUNTING", seconds=0.3)))
    see(visitor, scene, "speaker")
    lines = page.locator(".c-log")
    lines.first.wait_for()
    seen = lines.count()
    eventually("more lines come", lambda: lines.count() > seen)
    page.get_by_label("Level").select_option("WARNING")
    eventually(
        "only warnings", lambda: lines.count() and set(page.locator(".c-level").all_inner_texts()) == {"WARNING"}
    )
    page.get_by_label("Only lines with").fill("no line has this")
    assert not page.locator(".c-log:visible").count()
    see(visitor, scene, "teller")
    page.get_by_label("with children").check()
    page.locator(".c-log a", has_text=scene.id("speaker")).first.wait_for()


def test_a_log_that_is_not_followed_stands_still(scene, visitor, page):
    scene.run(scene.plan("speaker", kind="COUNTING", seconds=0.2))
    see(visitor, scene, "speaker")
    lines = page.locator(".c-log")
    lines.first.wait_for()
    page.get_by_label("follow").uncheck()
    with page.expect_response(lambda answer: answer.url.endswith(scene.id("speaker"))):
        seen = lines.count()
    with page.expect_response(lambda answer: answer.url.endswith(scene.id("speaker"))):
        pass
    assert lines.count() == seen
    page.get_by_label("follow").check()
    eventually("more lines come", lambda: lines.count() > seen)


def test_links_lead_to_flowers_task_and_back(scene, visitor, page):
    scene.run(scene.plan("shown"))
    visitor.open()
    eventually("Flower heard of it", lambda: page.request.get(f"/task/{scene.id('shown')}").ok)
    see(visitor, scene, "shown")
    page.get_by_role("link", name="Celery task").click()
    page.locator("#taskid").wait_for(state="attached")
    page.get_by_role("link", name="Open container").click()
    visitor.live()
    assert page.get_by_role("heading", level=1).inner_text() == scene.id("shown")


def test_an_unknown_container_is_told(visitor, page):
    visitor.expected += [r"404"]
    page.goto("/containers/never-was")
    page.locator("text=never-was").first.wait_for()
    eventually("it says so", lambda: "never-was" in page.locator("#container-refused").inner_text())
