"""Which services a word means, for what acts on them: those of one project of one engine."""

from collections.abc import Iterable

from lifecycle.cli.group import Refusal
from lifecycle.cli.text import clean
from lifecycle.domain.service import is_meant

Known = tuple[str, str, str]
"""An engine, and the key and the name of a service of it."""


def meant(word: str, known: Iterable[Known], hint: str = "") -> list[tuple[str, str]]:
    """Engine and key of each: a key is that one alone, a service of Compose is all its replicas.

    `key@engine` says of which engine. Raises Refusal if there is none, or if they are of several projects or engines.
    """
    wanted, at, engine = word.partition("@")
    found = [(of, key) for of, key, name in known if is_meant(wanted, key, name) and (not at or of == engine)]
    found = [(of, key) for of, key in found if key == wanted] or found
    if not found:
        raise Refusal(f"no such service: {clean(word)}{hint}")
    if len({(of, _project(key)) for of, key in found}) > 1:
        raise Refusal(f"{clean(word)} is several services, say which: {clean(', '.join(_full(found)))}")
    return found


def _project(key: str) -> str:
    return key.rpartition("/")[0].partition("/")[0]


def _full(found: list[tuple[str, str]]) -> list[str]:
    is_of_one_engine = len({engine for engine, _ in found}) == 1
    return [key if is_of_one_engine else f"{key}@{engine}" for engine, key in sorted(found)]
