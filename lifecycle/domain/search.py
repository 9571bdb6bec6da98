"""What a person types to find containers, as words with a meaning."""

import re
from dataclasses import dataclass

from lifecycle.domain.status import LIVE, Status
from lifecycle.domain.text import clean

WORD = re.compile(r'(?:"[^"]*"|[^\s"])+')
MARKER = "tag:"  # `tag:operation=arbitrage` says what `operation:arbitrage` leaves open


@dataclass(frozen=True, slots=True)
class Word:
    """One word: part of an id or a type, or a tag; `-word` excludes what has it."""

    text: str
    key: str | None = None
    value: str = ""
    is_tag: bool = False
    """True if it can only be a tag."""
    excludes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which containers are meant; `statuses` None is all of them."""

    statuses: tuple[Status, ...] | None = None
    words: tuple[Word, ...] = ()
    player_id: int | None = None
    container_type: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def is_plain(self) -> bool:
        """True if nothing but statuses is asked for, and all live ones or all are."""
        others = self.words or self.tags or self.player_id is not None or self.container_type is not None
        return not others and (self.statuses is None or LIVE >= set(self.statuses) >= {Status.RUNNING})


def parse_words(text: str) -> tuple[Word, ...]:
    """Words between spaces, all of which must fit; quotes keep spaces together."""
    found = [each.replace('"', "") for each in WORD.findall(clean(text))]
    return tuple(_word(each.startswith("-"), each.removeprefix("-")) for each in found if each not in {"", "-"})


def _word(excludes: bool, text: str) -> Word:
    if text.startswith(MARKER) and len(text) > len(MARKER):
        key, _, value = text.removeprefix(MARKER).partition("=")
        return Word(text, key, value, is_tag=True, excludes=excludes)
    key, colon, value = text.partition(":")
    if colon and key:
        return Word(text, key, value, excludes=excludes)
    return Word(text, excludes=excludes)
