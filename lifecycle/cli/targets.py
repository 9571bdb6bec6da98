"""What a stop is to end: the containers named, or all that fit; each tree once."""

from collections.abc import Iterable, Mapping

import click

from lifecycle.cli.options import find_one
from lifecycle.cli.text import count
from lifecycle.domain.status import LIVE
from lifecycle.runtime.app import Lifecycle
from lifecycle.store import containers
from lifecycle.store import trees as store
from lifecycle.store.trees import Going
from lifecycle.trees.stop import stop_order

Trees = dict[str, list[Going]]
"""By the container that a stop is asked for: what it ends, in stop order."""


def check_choice(parts: tuple[str, ...], tags: Mapping[str, str], *, everything: bool) -> None:
    """Containers are named, or chosen by tags, or all are meant."""
    if not (parts or tags or everything):
        raise click.UsageError("Missing argument 'ID...', or --tag, or --all")
    if bool(parts) + bool(tags) + everything > 1:
        raise click.UsageError("IDs, --tag and --all exclude each other")


def named(lifecycle: Lifecycle, parts: Iterable[str], player_id: int | None) -> list[str]:
    """Each once, in the order given. All are found before anything is done: one mistake, and nothing is."""
    return list(dict.fromkeys(find_one(lifecycle, part, player_id).id for part in parts))


def fitting(lifecycle: Lifecycle, tags: Mapping[str, str], player_id: int | None) -> list[str]:
    """The live containers of a player that have all of these tags, newest first."""
    with lifecycle.database.read() as connection:
        return containers.find_ids(connection, status=LIVE, player_id=player_id, tags=tags)


def trees_of(lifecycle: Lifecycle, ids: list[str]) -> Trees:
    """The trees of those of `ids` that no other one of them takes down with it."""
    with lifecycle.database.read() as connection:
        tops = highest(ids, store.links(connection, ids))
        rows = store.going(connection, tops)
    return {top: in_stop_order(rows[top]) for top in tops}


def highest(ids: list[str], links: Mapping[str, str | None]) -> list[str]:
    """Those of `ids` that are below no other one; `links` lead upwards."""
    chosen = set(ids)
    clear: set[str] = set()  # neither chosen nor below a chosen one
    tops = []
    for each in ids:
        way, here = [], links.get(each)
        while here is not None and here not in chosen and here not in clear:
            way.append(here)
            here = links.get(here)
        if here is None or here in clear:
            clear.update(way)
            tops.append(each)
    return tops


def in_stop_order(rows: Iterable[Going]) -> list[Going]:
    """Children before parents."""
    by_id = {row.id: row for row in rows}
    return [by_id[each] for each in stop_order(by_id.values())]


def extent(trees: Trees) -> str:
    """`28 containers`, or `2 trees with 28 containers`."""
    containers = count(sum(len(tree) for tree in trees.values()))
    return containers if len(trees) == 1 else f"{count(len(trees), 'tree')} with {containers}"
