"""`python -m workers.fleet.universe` serves a universe until SIGTERM, and prints where."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from workers.fleet.universe.clock import Clock
from workers.fleet.universe.server import application
from workers.fleet.universe.world import Plan, Universe


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.fleet.universe", description=__doc__)
    plan = Plan()
    parser.add_argument("--host", default="127.0.0.1", help="%(default)s: nobody else reaches it")
    parser.add_argument("--port", type=int, default=0, help="a free one without it")
    parser.add_argument("--seed", type=int, default=plan.seed, help="the same seed makes the same universe")
    parser.add_argument("--compression", type=float, default=20.0, help="seconds of the universe in one of ours")
    parser.add_argument("--floor", type=float, default=0.0, help="seconds that a flight takes at least, of ours")
    parser.add_argument("--ships", type=int, default=plan.ships, help="freighters of each agent")
    parser.add_argument("--probes", type=int, default=plan.probes, help="probes of each agent")
    parser.add_argument("--markets", type=int, default=plan.markets, help="waypoints that trade")
    parser.add_argument("--waypoints", type=int, default=plan.waypoints, help="of them and others")
    parser.add_argument("--credits", type=int, default=plan.credits, help="of each agent")
    parser.add_argument("--recovery", type=float, default=plan.recovery, help="seconds of the universe for prices")
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second of each account")
    parser.add_argument("--burst", type=int, default=30, help="requests more, in a minute")
    return parser.parse_args(words)


async def serve(told: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    made = {name: getattr(told, name) for name in Plan.__dataclass_fields__}
    universe = Universe(Plan(**made), Clock(told.compression, told.floor))
    server = HTTPServer(application(universe, told.rate, told.burst))
    sockets = bind_sockets(told.port, told.host)
    server.add_sockets(sockets)
    sys.stdout.write(f"http://{told.host}:{sockets[0].getsockname()[1]}/v2\n")
    sys.stdout.flush()
    await stop.wait()
    server.stop()
    await server.close_all_connections()


if __name__ == "__main__":
    asyncio.run(serve(options()))
