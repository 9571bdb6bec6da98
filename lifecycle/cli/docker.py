"""`container docker`: services, what is decided about them, and their recovery by hand."""

import json
import logging
import signal
import threading
from collections.abc import Collection
from contextlib import closing

import click

from lifecycle.cli import services as texts
from lifecycle.cli import table
from lifecycle.cli.group import Refusal, Verb, VerbGroup
from lifecycle.cli.meant import meant
from lifecycle.cli.options import json_option, pass_lifecycle
from lifecycle.cli.text import clean, count
from lifecycle.domain.recovery import Decision, Plan
from lifecycle.domain.service import is_meant
from lifecycle.errors import ServiceTrouble
from lifecycle.runtime.app import Lifecycle
from lifecycle.runtime.docker import Looker
from lifecycle.services.engine import Engine
from lifecycle.services.monitor import Sight, monitor_of
from lifecycle.services.watch import Watch
from lifecycle.store import recoveries, services, unrestartables

UNSEEN = "; known is what was looked at once: see container docker status"
HISTORY = 10  # actions shown of a service that is named
VERBS = {
    "status": Verb("docker:show_status", "Services, how they are, and what is decided about them."),
    "recover": Verb("docker:recover_now", "Look once, and recover what is due, or what is named."),
    "watch": Verb("docker:watch_engine", "Recover services as their engine tells of them, until Ctrl-C."),
    "pause": Verb("docker:pause_service", "Leave a service alone."),
    "reset": Verb("docker:reset_service", "Forget pauses, stops, failures and circuits of a service."),
}
names = click.argument("words", metavar="[SERVICE]...", nargs=-1)


@click.group("docker", cls=VerbGroup, verbs=VERBS)
def docker_services() -> None:
    """See and recover Docker services: containers of a Docker engine, which are no containers of here.

    A SERVICE is `project/service`, the name of a service or that of its container; where a name is that of services of
    several projects, or of several engines (`project/service@engine`), only the full one will do.
    """


@click.command("status")
@names
@click.option("-a", "--show-all", is_flag=True, help="Also services that are not recovered here.")
@json_option
@pass_lifecycle
def show_status(lifecycle: Lifecycle, *, words: tuple[str, ...], show_all: bool, as_json: bool) -> None:
    """Show services, how they are, and what would be done about them now; of those named also what was done.

    Where the engine cannot be asked, what the database remembers is shown.
    """
    try:
        sight = look(lifecycle)
    except ServiceTrouble as trouble:
        click.echo(f"The engine cannot be asked from here: {clean(trouble)}. This is what is remembered.", err=True)
        show_remembered(lifecycle, words, as_json=as_json)
        return
    found = chosen(sight, words, show_all=show_all)
    if as_json:
        click.echo(json.dumps([texts.as_dict(each, sight.memory.of(each.service.key)) for each in found], indent=2))
        return
    hidden = len(sight.plan.decisions) - len(found)
    table.show(texts.table_of(found, sight.memory), texts.footer(len(found), hidden if not words else 0))
    if words:
        print_history(lifecycle, sight.snapshot.engine, {each.service.key for each in found})


@click.command("recover")
@names
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@pass_lifecycle
def recover_now(lifecycle: Lifecycle, *, words: tuple[str, ...], dry_run: bool) -> None:
    """Look at all services once, and recover what is due.

    A SERVICE that is named is recovered though it was stopped, has just been recovered, or was given up; with it
    what depends on it, and nothing else. Exits with 1 if anything failed.
    """
    with closing(Engine(lifecycle.settings)) as engine:
        monitor = monitor_of(lifecycle.database, engine, lifecycle.settings)
        sight = monitor.look()
        asked = asked_for(sight, words)
        if dry_run or lifecycle.settings.docker_dry_run:
            plan = monitor.look(asked).plan
            print_lines([texts.wish(each) for each in plan.decisions if each.action is not None], plan, asked)
            return
        report = monitor.run(asked)
    print_lines([texts.act(each) for each in report.acts], report.plan, asked)
    if any(each.error is not None for each in report.acts):
        click.get_current_context().exit(1)


@click.command("watch")
@click.option("--quiet", is_flag=True, help="Only what went wrong.")
@pass_lifecycle
def watch_engine(lifecycle: Lifecycle, *, quiet: bool) -> None:
    """Recover services as soon as their engine tells of something, until Ctrl-C or TERM."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("lifecycle").setLevel(logging.WARNING if quiet else logging.INFO)
    with closing(Engine(lifecycle.settings)) as engine, closing(Engine(lifecycle.settings)) as stream:
        watch = Watch(lifecycle.database, stream, Looker(lifecycle, engine), lifecycle.settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            # In a thread: the lock of an event may be held by the very line that the signal interrupts.
            signal.signal(number, lambda *_: threading.Thread(target=watch.stop).start())
        watch.run()


@click.command("pause")
@click.argument("word", metavar="SERVICE")
@pass_lifecycle
def pause_service(lifecycle: Lifecycle, *, word: str) -> None:
    """Leave a service alone until it is reset; what depends on it waits."""
    with lifecycle.database.begin() as connection:
        for engine, key in meant(word, services.known(connection), UNSEEN):
            services.pause(connection, engine, key, paused=True)
            click.echo(f"paused {clean(key)}")


@click.command("reset")
@click.argument("word", metavar="SERVICE")
@pass_lifecycle
def reset_service(lifecycle: Lifecycle, *, word: str) -> None:
    """Forget that a service was paused, stopped, recovered or given up: it is looked at anew."""
    with lifecycle.database.begin() as connection:
        for engine, key in meant(word, services.known(connection), UNSEEN):
            memory, _ = services.recall(connection, engine, within=0.0)
            unrestartables.forget(connection, engine, memory.of(key).ids)
            services.reset(connection, engine, [key])
            click.echo(f"reset {clean(key)}")


def look(lifecycle: Lifecycle) -> Sight:
    """What is to be seen now; nothing is done, nothing is written."""
    with closing(Engine(lifecycle.settings)) as engine:
        return monitor_of(lifecycle.database, engine, lifecycle.settings).look()


def chosen(sight: Sight, words: Collection[str], *, show_all: bool = False) -> list[Decision]:
    """What is recovered here, or all; what is named, whatever it is. Raises Refusal for a name that nothing has."""
    decisions = sight.plan.decisions
    if not words:
        return list(decisions if show_all else sight.plan.known)
    for word in words:
        if not any(is_meant(word, each.service.key, each.service.name) for each in decisions):
            raise Refusal(f"no such service: {clean(word)}")
    return [each for each in decisions if any(is_meant(word, each.service.key, each.service.name) for word in words)]


def asked_for(sight: Sight, words: Collection[str]) -> frozenset[str]:
    """The keys that are meant. Raises Refusal."""
    known = [(sight.snapshot.engine, each.service.key, each.service.name) for each in sight.plan.decisions]
    return frozenset(key for word in words for _, key in meant(word, known))


def show_remembered(lifecycle: Lifecycle, words: tuple[str, ...], *, as_json: bool) -> None:
    """What the database has of all engines."""
    with lifecycle.database.read() as connection:
        memories = {each: services.recall(connection, each, within=0.0)[0] for each in services.engines(connection)}
    rows = [row for memory in memories.values() for row in texts.remembered(memory, words)]
    if as_json:
        click.echo(json.dumps([texts.row_as_dict(row) for row in rows], indent=2))
    else:
        table.show(texts.table_of_rows(rows), f"Total: {count(len(rows), 'service')}")


def print_history(lifecycle: Lifecycle, engine: str, keys: Collection[str]) -> None:
    """The last actions, the newest first."""
    with lifecycle.database.read() as connection:
        done = recoveries.history(connection, engine, keys=list(keys), limit=HISTORY)
    if done:
        click.echo()
        table.show(texts.table_of_history(done), f"Last {count(len(done), 'action')}")


def print_lines(lines: list[str], plan: Plan, asked: frozenset[str]) -> None:
    """What was done; then what is left to do, and why it was not done now."""
    left = [each for each in plan.decisions if each.action is None and (each.need or each.service.key in asked)]
    for line in [*lines, *(texts.left(each) for each in left)]:
        click.echo(line)
    if not lines and not left:
        click.echo("Nothing to recover")
