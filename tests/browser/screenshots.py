"""Makes the pictures of README and docs from a real run: `python3 -m tests.browser.screenshots [folder]`."""

import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from job.servers import Valkey
from tests.acceptance.world import World, eventually, migrate
from tests.browser.chromium import Chromium
from tests.browser.site import LOGIN, PASSWORD, USER, Site

DOCS = Path(__file__).parents[2] / "docs" / "images"
DESK, PHONE = {"width": 1280, "height": 760}, {"width": 390, "height": 844}
SHIPS = ("TORWINDO-8", "TORWINDO-9", "ALCYON-3", "HELIOS-1")
TOLD = {"PIPELINES_CONF": '{"worker_send_task_events": true}'}
SETTINGS = {"heartbeat": 1, "lease": 10, "grace": 20, "log_flush": 0.2, "restart_backoff": "600"}


def main(folder=DOCS):
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as home:
        chromium, valkey = Chromium(), Valkey()
        for server in (chromium, valkey):
            stack.enter_context(closing(server))
            server.start()
        world = stack.enter_context(closing(new_world(Path(home), valkey.url)))
        site = stack.enter_context(closing(Site(world, LOGIN)))
        site.wait_until_ready()
        populate(world)
        for name, (take, options) in PICTURES.items():
            visitor = chromium.visitor(site, (USER, PASSWORD), **{"viewport": DESK, **options})
            with closing(visitor):
                take(visitor)
                visitor.page.screenshot(path=folder / f"{name}.png")
                visitor.check()
            print(f"{name}.png: {(folder / f'{name}.png').stat().st_size:,} bytes")


def new_world(home, broker):
    migrate(f"sqlite:///{home}/lifecycle.db")
    world = World(home, broker=broker, database_url=f"sqlite:///{home}/lifecycle.db", **SETTINGS)
    world.start("fleet", slots=16, env=TOLD)
    return world


def populate(world):
    """Coordinators at work, one at rest, one that comes back, and some that have ended."""
    start(
        world,
        "COORDINATOR",
        "scouting-coordinator-5e11a9c0",
        tags={"operation": "scouting"},
        player_id=3,
        kwargs={"children": [plan(f"scouting-probe-{number:02}", "WORKER", queue="probes") for number in range(48)]},
    )
    workers = [
        plan(f"mining-worker-{ship}-{part}", "COUNTING", {"seconds": 0.7}, resources=[f"ship:{ship}:{part}"])
        for ship, part in ((SHIPS[2], "4f0c2d11"), (SHIPS[3], "9b7e3a52"))
    ]
    workers.append(plan("mining-surveyor-77aa01fe", "FAILING", {"seconds": 0.5}))
    start(
        world,
        "COORDINATOR",
        "mining-coordinator-0c4d19be",
        tags={"operation": "mining"},
        player_id=3,
        kwargs={"children": workers},
    )
    start(world, "SLEEPY", "contract-watch-31d8aa07", tags={"operation": "contracts"}, player_id=3)
    start(world, "RECONNECTING", "market-feed-a91b77e3", {"fails": 9}, tags={"operation": "arbitrage"}, player_id=3)
    deep = plan("arbitrage-buyer-6c1f20d4", "COUNTING", {"seconds": 0.9}, tags={"good": "fuel"})
    traders = [
        plan(
            f"arbitrage-worker-{SHIPS[0]}-87daeda7", "COORDINATOR", {"children": [deep]}, resources=["ship:TORWINDO-8"]
        ),
        plan(f"arbitrage-worker-{SHIPS[1]}-1f4be902", "COUNTING", {"seconds": 0.8}, resources=["ship:TORWINDO-9"]),
    ]
    start(
        world,
        "COORDINATOR",
        "arbitrage-coordinator-d20f6b3a",
        tags={"operation": "arbitrage"},
        player_id=3,
        kwargs={"children": traders},
    )
    eventually("the probes are recorded", lambda: len(world.lifecycle.find(limit=None)) >= 58)
    eventually("one failed", lambda: world.lifecycle.get("mining-surveyor-77aa01fe").is_ended)
    eventually("one rests", lambda: world.lifecycle.get("contract-watch-31d8aa07").wake_at)
    eventually("one comes back", lambda: world.lifecycle.get("market-feed-a91b77e3").status == "INTERRUPTED")
    eventually("logs", lambda: len(world.lifecycle.logs(["arbitrage-buyer-6c1f20d4"])) > 6)


def start(world, kind, name, kwargs=None, **options):
    world.lifecycle.start(kind, kwargs or {}, container_id=name, **options)


def plan(name, kind, kwargs=None, **options):
    return {"type": kind, "kwargs": kwargs or {}, "options": {"container_id": name, **options}}


def tree(visitor):
    visitor.open()
    visitor.row("arbitrage-buyer-6c1f20d4").wait_for()
    visitor.row("market-feed-a91b77e3").wait_for()


def dialog(visitor):
    tree(visitor)
    visitor.row("arbitrage-coordinator-d20f6b3a").locator(".c-stop").click()
    visitor.page.get_by_role("button", name="Stop 4 containers").wait_for()
    visitor.page.get_by_label("Reason").fill("the market has closed")


def container(visitor):
    visitor.open("/containers/arbitrage-buyer-6c1f20d4")
    visitor.page.locator(".c-log").nth(5).wait_for()


PICTURES = {
    "containers": (tree, {}),
    "containers-dark": (tree, {"color_scheme": "dark"}),
    "containers-phone": (tree, {"viewport": PHONE}),
    "stop": (dialog, {"viewport": {"width": 1120, "height": 640}}),
    "container": (container, {"viewport": {"width": 1280, "height": 1150}}),
}

if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
