"""The Containers pages and their API in a real Flower: who may come in, what they may do, and what comes of it."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from job.servers import Postgres
from lifecycle.web.refusal import AWAY
from tests.acceptance.conftest import NERVOUS
from tests.acceptance.flowers import Flower
from tests.acceptance.scene import Scene
from tests.acceptance.test_database_outage import Mortal
from tests.acceptance.world import HERE, eventually, migrate
from tests.conftest import started
from tests.servers import main_process

pytest.importorskip("flower.options")

from tornado.options import options
from tornado.web import create_signed_value

pytestmark = pytest.mark.acceptance
GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
LOGIN = "alice:in wonderland"
TAB = '<a id="nav-containers"'
OURS = ("/containers", "/containers/a%2Fb", "/container-services")
THEIRS = ("/", "/workers", "/tasks", "/broker")
READS = ("/api/containers", "/api/containers/tree", "/api/services", "/api/containers/openapi.json")
NUL = ("/api/containers/a%00b", "/api/containers/a%00b/children", "/api/containers/a%00b/logs", "/api/stops/1%00")
OPEN = {"FLOWER_UNAUTHENTICATED_API": "true"}
COOKIE_SECRET = secrets.token_hex(16)
OAUTH = (
    "--auth=alice@example.com",
    "--auth_provider=flower.views.auth.GithubLoginHandler",
    "--oauth2_key=k",
    "--oauth2_secret=s",
    "--oauth2_redirect_uri=http://127.0.0.1/login",
    f"--cookie_secret={COOKIE_SECRET}",
)


@pytest.fixture(scope="module")
def new_flower(calm_world, tmp_path_factory):
    """Starts Flowers that look at the calm world, or at another environment."""
    flowers = []

    def start(*words, env=None, **how):
        usual = {name: value for name, value in calm_world.env.items() if not name.startswith("FLOWER_")}
        flowers.append(Flower(tmp_path_factory.mktemp("flower"), {**usual, **(env or {})}, *words, **how))
        return flowers[-1]

    yield start
    for flower in flowers:
        flower.close()


@pytest.fixture(scope="module")
def flower(new_flower):
    """With a login, under a prefix."""
    return new_flower(login=LOGIN, prefix="flower")


@pytest.fixture(scope="module")
def plain_flower(new_flower):
    """As it starts without any option: nobody logs in, nobody acts."""
    return new_flower()


@pytest.fixture(scope="module")
def open_flower(new_flower):
    """For everybody who can reach it."""
    return new_flower(env=OPEN)


@pytest.fixture(scope="module")
def oauth_flower(new_flower):
    return new_flower(*OAUTH)


def test_every_page_has_the_tab_under_the_prefix(flower):
    for path in (*THEIRS, *OURS):
        page = flower.get(path)
        assert page.status == 200, path
        assert page.text.count(TAB) == 1, path
        assert 'href="/flower/containers"' in page.text
        assert ('class="nav-link active" href="/flower/containers"' in page.text) is (path in OURS)


def test_every_page_has_the_tab_without_a_prefix(plain_flower):
    for path in (*THEIRS, *OURS):
        assert 'href="/containers"' in plain_flower.get(path).text, path


def test_no_other_site_shows_a_page_in_a_frame(flower):
    for path in OURS:
        headers = flower.get(path).headers
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'self'"


def test_pages_bring_their_own_files_with_them(flower):
    for path, kept in (("task.js", "no-cache"), ("task.js?v=1", "max-age")):
        script = flower.get(f"/containers-static/{path}", login="")
        assert script.status == 200
        assert kept in script.headers["Cache-Control"], "modules import each other by their bare names"
        again = flower.get(f"/containers-static/{path}", headers={"If-None-Match": script.headers["Etag"]})
        assert again.status == 304
    assert flower.get("/containers-static/..%2finstall.py").status in {403, 404}


def test_a_page_of_a_task_leads_to_its_container(scene, flower):
    scene.world.start("telling", queues="telling", slots=1, env={"PIPELINES_CONF": '{"worker_send_task_events": true}'})
    scene.run(scene.plan("told", queue="telling"))
    page = eventually("the task in Flower", lambda: (p := flower.get(f"/task/{scene.id('told')}")).status == 200 and p)
    assert f'data-id="{scene.id("told")}" data-containers="/flower/containers"' in page.text
    assert flower.get(flower.of(scene.id("told"))).json["flower_task"] is True


def test_a_flower_without_an_app_shows_them_too(scene, new_flower, tmp_path):
    (tmp_path / "flowerconfig.py").write_text("from lifecycle.web.install import install\ninstall()\n")
    other = new_flower(app=None, cwd=tmp_path, login=LOGIN)
    scene.run(scene.plan("far"))
    assert TAB in other.get("/workers").text
    assert other.get(other.of(scene.id("far"))).json["status"] == "RUNNING"
    assert other.post(other.of(scene.id("far"), "stop"), {"reason": "from afar"}).status == 202
    assert scene.ended("far").status == "STOPPED"
    again = other.post(other.of(scene.id("far"), "rerun"))
    assert (again.status, again.code) == (409, "conflict")


def test_a_flower_that_changed_starts_with_one_warning(new_flower, tmp_path):
    (tmp_path / "changed.py").write_text(
        "from pathlib import Path\n"
        "from lifecycle.web import overlay\n"
        "overlay.TEMPLATES = Path('/nowhere')\n"
        "from pipelines import app\n"
    )
    changed = new_flower(app="changed", cwd=tmp_path, env={"PYTHONPATH": os.pathsep.join([str(HERE), str(tmp_path)])})
    assert changed.get("/workers").status == 200
    assert TAB not in changed.get("/workers").text
    assert changed.get("/containers").status == 404
    assert changed.said.count("the Containers page is not in this Flower") == 1


@pytest.mark.parametrize("path", [*OURS, *READS])
@pytest.mark.parametrize("login", ["", "alice:wrong", "mallory:in wonderland", "ünï:cødé", ":"])
def test_a_login_is_asked_for(flower, path, login):
    refused = flower.get(path, login=login)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Bearer abc", "Basic YWxpY2U6d3Jvbmc= x"])
def test_a_login_that_is_none_is_refused(flower, header):
    assert flower.get(READS[0], login="", headers={"Authorization": header}).status == 401


def test_who_has_logged_in_may_read(flower):
    for path in READS:
        answer = flower.get(path)
        assert answer.status == 200, path
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json


def test_without_any_login_all_may_read_and_nobody_may_act(plain_flower, scene):
    scene.run(scene.plan("safe"))
    assert plain_flower.get(plain_flower.of(scene.id("safe"))).status == 200
    for verb in ("stop", "rerun"):
        refused = plain_flower.post(plain_flower.of(scene.id("safe"), verb))
        assert (refused.status, refused.code) == (401, "no_login_configured")
        assert "WWW-Authenticate" not in refused.headers
    assert scene.status("safe") == "RUNNING"


def test_where_all_may_act_the_pages_of_other_sites_may_not(open_flower, scene):
    scene.run(scene.plan("open"))
    stop = open_flower.of(scene.id("open"), "stop")
    assert "Access-Control-Allow-Origin" not in open_flower.get(READS[0]).headers
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ):
        refused = open_flower.post(stop, headers=headers)
        assert (refused.status, refused.code) == (403, "cross_site")
    assert "proxy_set_header Host $http_host" in refused.text
    assert scene.status("open") == "RUNNING"
    assert open_flower.post(stop, headers={"Sec-Fetch-Site": "same-origin"}).status == 202
    assert scene.ended("open").stop_by.startswith("flower@")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "ours"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_only_pages_of_this_flower_may_act(flower, scene, headers, status):
    scene.start(scene.plan("shown"))
    if headers.get("Origin") == "ours":
        headers = {"Origin": f"http://127.0.0.1:{flower.port}"}
    answer = flower.post(flower.of(scene.id("shown"), "stop"), {"dry_run": True}, headers=headers)
    assert answer.status == status


def test_a_login_by_cookie_needs_its_token(oauth_flower, scene):
    scene.run(scene.plan("cookie"))
    stop = oauth_flower.of(scene.id("cookie"), "stop")
    refused = oauth_flower.post(stop)
    assert (refused.status, refused.code) == (401, "unauthorized")
    assert "WWW-Authenticate" not in refused.headers
    assert oauth_flower.get(READS[0]).status == 401
    page = oauth_flower.get("/containers")
    assert (page.status, page.headers["Location"].partition("?")[0]) == (302, "/login")
    user = f"user={create_signed_value(COOKIE_SECRET, 'user', 'alice@example.com').decode()}"
    stranger = f"user={create_signed_value(COOKIE_SECRET, 'user', 'mallory@example.com').decode()}"
    assert oauth_flower.get(READS[0], headers={"Cookie": user}).status == 200
    assert oauth_flower.get(READS[0], headers={"Cookie": stranger}).status == 401
    assert oauth_flower.post(stop, headers={"Cookie": user}).code == "xsrf"
    token = "f" * 32
    cookies = {"Cookie": f"{user}; _xsrf={token}"}
    assert oauth_flower.post(stop, headers={**cookies, "X-XSRFToken": "e" * 32}).code == "xsrf"
    assert (
        oauth_flower.post(stop, headers={**cookies, "X-XSRFToken": token, "Sec-Fetch-Site": "cross-site"}).status == 403
    )
    assert scene.status("cookie") == "RUNNING"
    assert oauth_flower.post(stop, {"reason": "told"}, headers={**cookies, "X-XSRFToken": token}).status == 202
    ended = scene.ended("cookie")
    assert (ended.stop_by, ended.stop_reason) == ("alice@example.com@flower", "told")


@pytest.mark.skipif(not hasattr(options, "read_only"), reason="this Flower has no --read_only")
def test_a_flower_to_look_at_lets_nobody_act(new_flower, scene):
    looking = new_flower("--read_only=true", login=LOGIN)
    scene.run(scene.plan("seen"))
    assert looking.get(looking.of(scene.id("seen"))).status == 200
    for verb in ("stop", "rerun"):
        refused = looking.post(looking.of(scene.id("seen"), verb), {"dry_run": True} if verb == "stop" else {})
        assert (refused.status, refused.code) == (403, "read_only")
    assert scene.status("seen") == "RUNNING"


def test_what_a_dry_run_lists_is_what_stops_in_that_order(scene, flower):
    scene.run(scene.plan("coord", scene.plan("left"), scene.plan("sub", scene.plan("leaf"))))
    stop = flower.of(scene.id("coord"), "stop")
    shown = flower.post(stop, {"dry_run": True}).json
    listed = [each["id"] for each in shown["would_stop"]]
    assert [scene.name(each) for each in listed] == ["left", "leaf", "sub", "coord"]
    assert scene.status("coord") == "RUNNING"
    begun = flower.post(stop, {"reason": "enough", "expect": listed})
    assert (begun.status, begun.json["containers"], begun.json["notes"]) == (202, 4, [])
    outcome = f"/api/stops/{begun.json['stop']}"
    done = eventually("the stop over", lambda: (found := flower.get(outcome).json)["finished_at"] and found)
    assert done["order"] == listed
    assert sorted(done["stopped"]) == sorted(listed)
    assert (done["by"], done["reason"], done["failed"], done["pending"]) == ("alice@flower", "enough", {}, [])
    assert scene.get("coord").stop_by == "alice@flower"
    assert [change.by for change in scene.lifecycle.history(scene.id("leaf"))][-2] == "alice@flower"


def test_who_was_shown_less_is_asked_again(scene, flower):
    scene.run(scene.plan("coord", scene.plan("one")))
    for expect in ([scene.id("coord")], 1):
        refused = flower.post(flower.of(scene.id("coord"), "stop"), {"expect": expect})
        assert (refused.status, refused.code, refused.json["count"]) == (409, "grown", 2)
    assert scene.status("coord", "one") == ["RUNNING", "RUNNING"]
    assert flower.post(flower.of(scene.id("coord"), "stop"), {"expect": 3}).status == 202


def test_a_kill_leaves_no_time(scene, flower):
    scene.run(scene.plan("stubborn"))
    begun = flower.post(flower.of(scene.id("stubborn"), "stop"), {"force": True})
    assert begun.status == 202
    assert flower.get(f"/api/stops/{begun.json['stop']}").json["grace"] == 0
    assert scene.ended("stubborn").status == "STOPPED"


def test_a_container_is_run_again_by_who_logged_in(scene, flower):
    scene.run(scene.plan("first", seconds=0.1))
    assert scene.ended("first").status == "COMPLETED"
    made = flower.post(flower.of(scene.id("first"), "rerun"))
    assert made.status == 201
    assert made.json["id"] != scene.id("first")
    assert scene.lifecycle.history(made.json["id"])[0].by == "alice@flower"
    assert scene.lifecycle.wait(made.json["id"], 30).status == "COMPLETED"
    assert flower.post(flower.of("no-such", "rerun")).status == 404


def test_a_poll_that_finds_nothing_new_carries_nothing(scene, flower):
    scene.start(scene.plan("still", queue="nobody-consumes"))
    path = f"/api/containers/tree?q={scene.suffix}&status=all"
    first = flower.get(path)
    assert [row["id"] for row in first.json["roots"]] == [scene.id("still")]
    again = flower.get(path, headers={"If-None-Match": first.headers["Etag"]})
    assert (again.status, again.body) == (304, b"")
    scene.stop("still", wait=False)
    changed = eventually(
        "a change", lambda: (found := flower.get(path)).headers["Etag"] != first.headers["Etag"] and found
    )
    assert changed.json["counts"]["STOPPED"] == 1


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a/b", 'q"uo', "ü☃", "%2F", "..;/x", "a b?c#d&e=f"])
def test_any_id_can_be_asked_for(scene, flower, name):
    scene.start(scene.plan(name, queue="nobody-consumes"))
    assert flower.get(flower.of(scene.id(name))).json["id"] == scene.id(name)
    page = flower.get(f"/containers/{flower.of(scene.id(name)).rpartition('/')[2]}")
    assert page.status == 200
    assert "<script>alert(1)" not in page.text
    assert flower.post(flower.of(scene.id(name), "stop")).status == 202


def test_an_id_that_is_a_word_of_the_api_has_a_letter_encoded(new_world, new_flower):
    world = new_world()
    odd = new_flower(env=world.env)
    for container_id, path in (("tree", "t%72ee"), ("openapi.json", "openapi%2Ejson")):
        world.lifecycle.start("WORKER", container_id=container_id, queue="nobody-consumes")
        assert odd.get(f"/api/containers/{path}").json["id"] == container_id


@pytest.mark.parametrize(
    "path", ["?x=1", "?limit=0", "?limit=1&limit=2", "?status=gone", "?tag=x", "?q=%ff", "/%ff", "/tree?limit=9999"]
)
def test_what_cannot_be_meant_is_a_400(flower, path):
    refused = flower.get(f"/api/containers{path}")
    assert (refused.status, refused.code) == (400, "bad_request")


def test_what_is_not_there_is_a_404_and_another_method_a_405(flower):
    for path in ("/api/containers/none", "/api/containers/none/logs", "/api/stops/999999", "/api/stops/x", *NUL):
        assert flower.get(path).code == "not_found"
    assert flower.get("/containers/a%00b").status == 404
    assert flower.post("/api/containers/a%00b/stop").code == "not_found"
    for method, path in (("POST", READS[0]), ("DELETE", "/api/containers/none"), ("GET", "/api/containers/none/stop")):
        refused = flower.send(method, path, b"{}" if method == "POST" else None)
        assert refused.code == "method_not_allowed"
        assert refused.headers["Allow"] in {"GET", "POST"}


def test_a_stop_without_a_broker_is_recorded_and_says_so(brokerless_scene, new_flower):
    scene, broker = brokerless_scene
    scene.run(scene.plan("cut-off"))
    flower = new_flower(env=scene.world.env, login=LOGIN)
    broker.stop()
    began = time.monotonic()
    begun = flower.post(flower.of(scene.id("cut-off"), "stop"))
    assert begun.status == 202
    assert "nodes see the stop in the database" in " ".join(begun.json["notes"])
    assert time.monotonic() - began < 15
    assert scene.ended("cut-off").status == "STOPPED"
    broker.start()


def test_a_broker_that_hangs_loses_no_stop(brokerless_scene, new_flower):
    scene, broker = brokerless_scene
    names = [f"hung-{number}" for number in range(6)]
    for name in names:
        scene.start(scene.plan(name, queue="nobody-consumes"))
    flower = new_flower(env=scene.world.env, login=LOGIN)
    pid = main_process(broker)
    os.kill(pid, signal.SIGSTOP)
    try:
        for name in names:
            begun = flower.post(flower.of(scene.id(name), "stop"))
            assert begun.status == 202, begun.text
            assert "nodes see the stop in the database" in " ".join(begun.json["notes"])
        for name in names:
            assert scene.ended(name).status == "STOPPED"
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_stop_with_no_node_alive_comes_to_its_end(new_world, new_flower):
    world = new_world(**NERVOUS)
    node = world.start()
    scene = Scene(world, allows_strays=True)
    scene.run(scene.plan("left", scene.plan("below")))
    node.kill()
    flower = new_flower(env=world.env, login=LOGIN)
    begun = flower.post(flower.of(scene.id("left"), "stop"))
    assert begun.status == 202
    assert scene.ended("left").status == scene.status("below") == "STOPPED"
    found = flower.get(f"/api/stops/{begun.json['stop']}").json
    assert found["finished_at"]


def test_the_commands_of_the_guide_do_what_it_says(scene, flower):
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    scene.run(scene.plan("guided", queue="celery"))
    (block,) = re.findall(r"^```bash\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    place = {"FLOWER": flower.url, "LOGIN": LOGIN, "ID": scene.id("guided"), "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-euc", block], env=place, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = done.stdout.replace("}{", "}\n{").splitlines()
    assert [next(iter(json.loads(each))) for each in answers] == [
        *("roots", "containers", "containers", "id", "children", "lines", "id", "would_stop", "stop")
    ]
    assert scene.ended("guided").stop_reason == "sold"
    scene.lifecycle.stop(json.loads(answers[6])["id"], force=True)


@pytest.mark.postgres
def test_a_database_that_is_away_is_said_and_found_again(new_world, new_flower):
    server = started(Postgres())
    try:
        url = server.create_database("away")
        migrate(url)
        world = new_world(database_url=url)
        server.stop()
        flower = new_flower(env=world.env, login=LOGIN)  # starts without it
        assert flower.get("/containers").status == 200
        for path in ("/api/containers/tree", "/api/containers/none", "/api/services"):
            refused = flower.get(path)
            assert (refused.status, refused.code) == (503, "database_unreachable")
            assert refused.json["error"]["message"] == AWAY
        assert f":{server.port}/away" in flower.said
        assert flower.post(flower.of("none", "stop")).status == 503
        server.start()
        eventually("the tree again", lambda: flower.get("/api/containers/tree").status == 200)
        server.stop()
        eventually("the outage", lambda: flower.get("/api/containers/tree").status == 503)
        server.start()
        eventually("the tree once more", lambda: flower.get("/api/containers/tree").status == 200)
    finally:
        server.close()


@pytest.mark.postgres
def test_flower_ends_while_the_database_hangs(new_world, new_flower):
    server = started(Mortal())
    try:
        url = server.create_database("hangs")
        migrate(url)
        flower = new_flower(env=new_world(database_url=url).env, login=LOGIN)
        assert flower.get("/api/containers/tree").status == 200
        for path in NUL:
            assert flower.get(path).code == "not_found"
        server.halt()
        try:
            refused = flower.get("/api/containers/tree?status=all")
            assert (refused.status, refused.code) == (503, "database_unreachable")
            flower.process.terminate()
            flower.process.wait(10)
        finally:
            server.go_on()
    finally:
        server.close()
