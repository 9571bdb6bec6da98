"""The parts of the web floor that need no Flower process: what is typed, what is shown, what is refused."""

import asyncio
import itertools
import json
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from lifecycle.domain.search import Filters, Word, parse_words
from lifecycle.domain.status import ACTIVE, LIVE, Status

pytest.importorskip("flower")

from lifecycle.web import desk as desks
from lifecycle.web import install as installs
from lifecycle.web import openapi, overlay, texts
from lifecycle.web.api.containers import arguments
from lifecycle.web.body import Order, read_order
from lifecycle.web.desk import Desk
from lifecycle.web.overlay import add_tab
from lifecycle.web.parameters import ACTIVE_FILTERS, LEVEL, as_filters, flag, number, read_query
from lifecycle.web.pool import Full, Pool
from lifecycle.web.refusal import Refused
from lifecycle.web.routes import handlers

AT = datetime(2026, 11, 23, 1, 2, 3, 456_000, tzinfo=UTC)
OLD_NAVBAR = '<ul class="a">\n<li><a class="nav-link text-dark" href="/broker">Broker</a></li>\n</ul><ul></ul>'
NEW_NAVBAR = (
    '<ul>\n  <li>\n <a class="nav-link active"\n href="/broker"\n aria-current="page">Broker</a></li>\n   </ul>'
)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", ()),
        ("   ", ()),
        ("ship", (Word("ship"),)),
        ("a  -b", (Word("a"), Word("b", excludes=True))),
        ("ship:TOR-8", (Word("ship:TOR-8", "ship", "TOR-8"),)),
        ("tag:ship=TOR-8", (Word("tag:ship=TOR-8", "ship", "TOR-8", is_tag=True),)),
        ("tag:note=a=b", (Word("tag:note=a=b", "note", "a=b", is_tag=True),)),
        ('note:"two words"', (Word("note:two words", "note", "two words"),)),
        ('-"two words"', (Word("two words", excludes=True),)),
        ("tag:", (Word("tag:", "tag", ""),)),
        (":x", (Word(":x"),)),
        ('"', ()),
        ("-", ()),
        ("a\x00b \udc80", (Word("ab"), Word("\\udc80"))),
    ],
)
def test_what_is_typed_is_words(typed, words):
    assert parse_words(typed) == words


def test_filters_are_plain_when_only_what_lives_or_all_is_asked_for():
    assert Filters().is_plain
    assert Filters(statuses=ACTIVE).is_plain
    assert Filters(statuses=tuple(LIVE)).is_plain
    assert not Filters(statuses=(Status.FAILED,)).is_plain
    assert not Filters(statuses=(Status.PENDING,)).is_plain
    assert not Filters(statuses=ACTIVE, player_id=0).is_plain


@pytest.mark.parametrize("navbar", [OLD_NAVBAR, NEW_NAVBAR], ids=["2.0", "2.1"])
def test_the_tab_is_the_last_of_the_first_list_and_looks_like_its_neighbour(navbar):
    html = add_tab(navbar.encode(), "/x/containers", active=False)
    assert html.index("Broker") < html.index(">Containers<") < html.index("</ul>")
    like = "nav-link text-dark" if navbar is OLD_NAVBAR else "nav-link"
    assert f'<a id="nav-containers" class="{like}" href="/x/containers">' in html


def test_the_tab_of_our_pages_is_active():
    assert 'class="nav-link active" href="/containers" aria-current="page"' in add_tab(
        NEW_NAVBAR, "/containers", active=True
    )


def test_a_page_of_a_task_leads_to_a_container_and_is_escaped():
    handler = SimpleNamespace(reverse_url=lambda name: f"/flower/{name}")
    script = overlay.task_script(handler, SimpleNamespace(uuid='"><script>'))
    assert 'data-id="&quot;&gt;&lt;script&gt;" data-containers="/flower/containers"' in script
    assert 'src="/flower/containers-static/task.js?v=' in script
    assert overlay.task_script(handler, SimpleNamespace()) == ""


def test_a_navigation_without_a_list_is_left_alone():
    assert add_tab(b"<nav>else</nav>", "/containers", active=True) == "<nav>else</nav>"


@pytest.mark.parametrize("gone", ["handlers", "settings"])
def test_a_flower_that_changed_gets_nothing_and_one_warning(monkeypatch, caplog, gone):
    from flower import urls

    monkeypatch.setattr(urls, "handlers", [])
    before = dict(urls.settings)
    monkeypatch.delattr(urls, gone)
    assert installs.install() is False
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert before.get("template_loader") is None


def test_a_template_that_does_not_compile_touches_nothing(monkeypatch, caplog, tmp_path):
    from flower import urls

    (tmp_path / "navbar.html").write_text("{% broken")
    monkeypatch.setattr(overlay, "TEMPLATES", tmp_path)
    monkeypatch.setattr(urls, "handlers", theirs := [])
    assert installs.install() is False
    assert len(caplog.records) == 1
    assert theirs == []
    assert "template_loader" not in urls.settings


def test_it_is_installed_once(monkeypatch):
    from flower import urls
    from prometheus_client import CollectorRegistry

    monkeypatch.setattr("lifecycle.runtime.metrics._registered", [])
    monkeypatch.setattr("lifecycle.runtime.metrics.REGISTRY", CollectorRegistry())
    monkeypatch.setattr(urls, "handlers", theirs := [])
    monkeypatch.setattr(urls, "settings", dict(urls.settings))
    assert installs.install()
    first = list(theirs)
    assert installs.install()
    assert theirs == first


def query(known, **given):
    return read_query({name: [each.encode() for each in values] for name, values in given.items()}, known)


def test_a_query_that_says_nothing_is_the_default():
    assert as_filters(query(ACTIVE_FILTERS)) == Filters(statuses=ACTIVE)
    assert as_filters(query(ACTIVE_FILTERS, status=[""], q=[""], tag=[""])) == Filters(statuses=ACTIVE)


def test_a_query_says_what_is_meant():
    found = as_filters(
        query(ACTIVE_FILTERS, status=["failed, STOPPED"], q=["a"], player_id=["-3"], type=["T"], tag=["k=v", "l=w=x"])
    )
    statuses = (Status.FAILED, Status.STOPPED)
    tags = (("k", "v"), ("l", "w=x"))
    assert found == Filters(statuses=statuses, words=(Word("a"),), player_id=-3, container_type="T", tags=tags)
    assert as_filters(query(ACTIVE_FILTERS, status=["ALL"])) == Filters()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unknown", ["1"]),
        ("player_id", ["1", "2"]),
        ("player_id", ["one"]),
        ("player_id", ["1.5"]),
        ("player_id", ["٣"]),
        ("player_id", [str(2**31)]),
        ("player_id", ["9" * 5_000]),
        ("status", ["GONE"]),
        ("status", [","]),
        ("q", ["x" * 1_001]),
        ("type", ["x" * 256]),
        ("tag", ["novalue"]),
        ("tag", ["=v"]),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name, values):
    with pytest.raises(Refused, match=name) as refused:
        query(ACTIVE_FILTERS, **{name: values})
    assert refused.value.status_code == 400


def test_a_parameter_that_is_no_text_is_refused():
    with pytest.raises(Refused, match="UTF-8"):
        read_query({"q": [b"\xff"]}, ACTIVE_FILTERS)


def test_numbers_levels_and_flags_are_read():
    known = (number("limit", 5, 1, 10, ""), LEVEL, flag("deep", ""))
    assert query(known) == {"limit": 5, "level": None, "deep": False}
    assert query(known, limit=["10"], level=["info"], deep=["true"]) == {"limit": 10, "level": "INFO", "deep": True}
    for name, value in {"limit": "11", "level": "LOUD", "deep": "yes"}.items():
        with pytest.raises(Refused, match=name):
            query(known, **{name: [value]})


def request(body, kind="application/json"):
    return SimpleNamespace(
        body=body if isinstance(body, bytes) else json.dumps(body).encode(), headers={"Content-Type": kind}
    )


def test_a_stop_is_read():
    assert read_order(request({})) == read_order(request(b"")) == Order()
    assert read_order(request({"force": True})).grace == 0
    full = read_order(request({"dry_run": True, "reason": " why\x00 ", "grace": 3, "expect": ["a", "b"]}))
    assert full == Order(dry_run=True, reason="why", grace=3.0, expect=frozenset({"a", "b"}))
    assert read_order(request({"expect": 7}, "application/json; charset=utf-8")).expect == 7


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        ([], 400),
        (b'{"grace": NaN}', 400),
        (b'{"grace": 1e999}', 400),
        (b'{"grace": ' + b"9" * 400 + b"}", 400),
        ({"grace": -1}, 400),
        ({"grace": True}, 400),
        ({"grace": "1"}, 400),
        ({"force": 1}, 400),
        ({"force": True, "grace": 1}, 400),
        ({"reason": 1}, 400),
        ({"reason": "x" * 1_001}, 400),
        ({"expect": [1]}, 400),
        ({"expect": True}, 400),
        ({"other": 1}, 400),
        (b" " * 1_000_001, 413),
    ],
)
def test_a_stop_that_cannot_be_meant_is_refused(body, status):
    with pytest.raises(Refused) as refused:
        read_order(request(body))
    assert refused.value.status_code == status


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_a_body_that_is_not_said_to_be_json_is_refused(kind):
    with pytest.raises(Refused) as refused:
        read_order(request({}, kind))
    assert refused.value.status_code == 415


def row(**values):
    usual = {
        "id": "a",
        "container_type": "T",
        "status": "RUNNING",
        "current_iteration": 0,
        "max_iterations": 1,
        "node": None,
        "attempt": None,
        "outcome": None,
        "stop_error": None,
        "exit_message": None,
        "wake_at": None,
        "dispatched_at": AT,
        "stop_deadline": None,
        "created_at": AT,
        "started_at": None,
        "stopped_at": None,
        "player_id": None,
        "parent_container_id": None,
        "depth": 0,
        "detached": False,
        "stale": False,
        "tags": None,
    }
    return SimpleNamespace(**{**usual, **values})


def test_what_is_empty_or_usual_is_left_out_of_a_row():
    assert texts.row(row(node="n"), {}) == {
        "id": "a",
        "type": "T",
        "status": "RUNNING",
        "created_at": AT,
        "node": "n",
    }
    full = texts.row(row(player_id=0, current_iteration=0, max_iterations=-1, tags={"b": "", "a": "1"}, stale=1), {})
    assert full["player_id"] == 0
    assert full["iteration"] == [0, -1]
    assert list(full["tags"].items()) == [("a", "1"), ("b", "")]
    assert full["stale"] is True
    assert b'"2026-11-23T01:02:03.456Z"' in texts.encode(full)


@pytest.mark.parametrize(
    ("values", "children", "said"),
    [
        ({"node": "n"}, {}, ""),
        ({"status": "COMPLETED", "wake_at": AT}, {}, ""),
        ({"dispatched_at": None, "wake_at": AT}, {}, "sleeping until 2026-11-23T01:02:03.456Z"),
        ({"status": "PENDING"}, {}, "queued"),
        ({"outcome": "COMPLETED"}, {"RUNNING": 2, "PENDING": 1, "FAILED": 9}, "waiting for 3 children"),
        ({"status": "STOPPING"}, {"STOPPING": 1}, "waiting for 1 child"),
        (
            {"status": "STOPPING", "node": "n", "stop_deadline": AT},
            {},
            "asked to end, killed at 2026-11-23T01:02:03.456Z",
        ),
        ({"status": "STOPPING", "node": "n", "stop_error": "a thread"}, {}, "not stopped: a thread"),
        (
            {"status": "INTERRUPTED", "attempt": "restart 2/3", "wake_at": AT},
            {},
            "restart 2/3 at 2026-11-23T01:02:03.456Z",
        ),
        ({"status": "INTERRUPTED"}, {}, "goes on"),
    ],
)
def test_why_says_what_a_status_leaves_open_and_nothing_that_ticks(values, children, said):
    assert texts.why(row(**values), children) == said


def test_the_error_is_one_short_line():
    assert texts.error(row(status="FAILED", exit_message="\n  ValueError: x\nTraceback")) == "ValueError: x"
    assert texts.error(row(status="STOPPED", exit_message="Stopped by user")) == ""
    assert len(texts.error(row(status="FAILED", exit_message="x" * 999))) == 200


def test_json_holds_what_is_no_unicode():
    assert json.loads(texts.encode({"a": "é\udc80<script>"})) == {"a": "é\udc80<script>"}


def test_arguments_are_shown_as_their_caller_wants():
    assert arguments({"args": [1], "kwargs": {"a": "b"}}) == {"args": "[1]", "kwargs": "{'a': 'b'}"}
    hidden = {"argsrepr": "(***)", "kwargsrepr": "{***}"}
    assert arguments({"args": ["secret"], "kwargs": {}, "options": hidden}) == {"args": "(***)", "kwargs": "{***}"}
    assert arguments({}) == {"args": "[]", "kwargs": "{}"}


def test_the_document_has_exactly_what_is_served():
    served = {
        (path.replace("([^/]+)", "{id}").replace("\\.", "."), method)
        for each in handlers()
        for path, method in [(each.regex.pattern.rstrip("$"), method) for method in ("get", "post")]
        if path.startswith("/api/") and method in vars(each.handler_class)
    }
    told = {(each.path, each.method) for each in openapi.OPERATIONS}
    assert told == served


def test_the_document_tells_of_every_parameter_and_names_only_shapes_it_has():
    made = openapi.document("/flower")
    assert made["servers"] == [{"url": "/flower"}]
    for each in openapi.OPERATIONS:
        told = {one["name"] for one in made["paths"][each.path][each.method]["parameters"] if one["in"] == "query"}
        assert told == {one.name for one in (each.handler.PARAMETERS if each.handler else ())}
    named = set(json.dumps(made).split('"#/components/schemas/')[1:])
    assert {name.partition('"')[0] for name in named} <= set(made["components"]["schemas"])


def test_what_many_ask_at_once_is_sought_once_and_anew_after_an_act():
    began = []
    go_on = threading.Event()

    def seek():
        began.append(1)
        go_on.wait(10)
        return len(began)

    async def ask():
        desk = Desk()
        both = [asyncio.ensure_future(desk.read("key", seek)) for _ in range(10)]
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(*both) == [1] * 10
        assert await desk.read("key", seek) == 1
        assert await desk.read("another", seek) == 2
        assert await desk.act(lambda: "done") == "done"
        assert await desk.read("key", seek) == 3

    asyncio.run(ask())


def test_an_answer_is_fresh_for_a_second_or_twice_as_long_as_it_took(monkeypatch):
    async def ask():
        desk, now = Desk(), [0.0]
        monkeypatch.setattr(desks, "time", SimpleNamespace(monotonic=lambda: now[0]))
        numbers = itertools.count()

        def slow():
            now[0] += 5
            return next(numbers)

        assert await desk.read("key", slow) == 0
        now[0] += 9
        assert await desk.read("key", slow) == 0
        now[0] += 2
        assert await desk.read("key", slow) == 1

    asyncio.run(ask())


def test_an_outage_is_shared_too_and_over_after_a_second(monkeypatch):
    async def ask():
        desk, now = Desk(), [0.0]
        monkeypatch.setattr(desks, "time", SimpleNamespace(monotonic=lambda: now[0]))
        tries = []

        def fail():
            tries.append(1)
            raise Refused(503, "away")

        for _ in range(3):
            with pytest.raises(Refused):
                await desk.read("key", fail)
        assert len(tries) == 1
        now[0] += 2
        assert await desk.read("key", lambda: "back") == "back"

    asyncio.run(ask())


def test_what_takes_too_long_is_not_waited_for():
    async def ask():
        go_on = threading.Event()
        desk = Desk()
        assert await desk.call_briefly(lambda: go_on.wait(10), 0.01, "otherwise") == "otherwise"
        go_on.set()

    asyncio.run(ask())


def test_a_broker_that_hangs_keeps_no_mark_waiting():
    async def ask():
        go_on = threading.Event()
        desk = Desk()
        hung = [desk.call_briefly(lambda: go_on.wait(10), 0.01, "no answer") for _ in range(2 * desks.CALLERS)]
        assert await asyncio.gather(*hung) == ["no answer"] * len(hung)
        assert await desk.act(lambda: "marked") == "marked"
        go_on.set()

    asyncio.run(ask())


def test_what_is_given_up_before_it_began_is_never_done(monkeypatch):
    monkeypatch.setattr(desks, "LONGEST", 0.05)

    async def ask():
        go_on, done = threading.Event(), []
        desk = Desk()
        began = [desk.act(lambda: go_on.wait(10)) for _ in range(desks.ACTORS)]
        refused = await asyncio.gather(*began, desk.act(lambda: done.append(1)), return_exceptions=True)
        assert [each.code for each in refused] == ["unanswered"] * desks.ACTORS + ["busy"]
        assert "before you try again" in refused[0].message
        go_on.set()
        monkeypatch.setattr(desks, "LONGEST", 10)
        assert await desk.act(lambda: "next") == "next"
        assert done == []

    asyncio.run(ask())


def test_a_pool_has_so_many_threads_and_so_much_room():
    go_on = threading.Event()
    pool = Pool("full", 2, 1)
    works = [pool.submit(lambda: go_on.wait(10)) for _ in range(3)]
    with pytest.raises(Full):
        pool.submit(lambda: None)
    named = [each for each in threading.enumerate() if each.name == "full"]
    assert [each.daemon for each in named] == [True, True]
    go_on.set()
    assert [each.result(10) for each in works] == [True] * 3
    with pytest.raises(ZeroDivisionError):
        Pool("free", 1, 0).submit(lambda: 1 / 0).result(10)
