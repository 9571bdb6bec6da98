"""What people search for, as conditions on `containers`."""

import sqlalchemy as sa

from lifecycle.domain.search import Filters, Word
from lifecycle.store import tags as store_tags
from lifecycle.store.tables import container_tags, containers

c, t = containers.c, container_tags.c


def fitting(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Conditions that every container meant fits."""
    found = beside_status(filters)
    if filters.statuses is not None:
        found.append(c.status.in_([sa.literal_column(f"'{status.value}'") for status in filters.statuses]))
    return found


def beside_status(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """The same without what they say of statuses: all of these are counted."""
    found = [_fits(word) for word in filters.words]
    if filters.player_id is not None:
        found.append(c.player_id == filters.player_id)
    if filters.container_type is not None:
        found.append(c.container_type == filters.container_type)
    return [*found, *(each for pair in filters.tags for each in store_tags.have(dict([pair])))]


def _fits(word: Word) -> sa.ColumnElement[bool]:
    named = sa.or_(c.id.icontains(word.text, autoescape=True), c.container_type.icontains(word.text, autoescape=True))
    if word.key is not None:
        tagged = _has_tag(word.key, word.value)
        named = tagged if word.is_tag else sa.or_(named, tagged)
    return sa.not_(named) if word.excludes else named


def _has_tag(key: str, value: str) -> sa.ColumnElement[bool]:
    """A tag of this key whose value begins so, in any case; looked up for each row: a list of all would be long."""
    begins = t.value.istartswith(value, autoescape=True)
    tag = sa.select(sa.literal(1)).where(t.container_id == c.id, t.key == key, begins)
    return sa.exists(tag.correlate(containers))
