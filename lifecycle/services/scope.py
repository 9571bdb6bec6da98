"""Whose containers are recovered, and of whom anything is remembered."""

from lifecycle.domain.service import Recover, Service, Snapshot
from lifecycle.services.graph import Graph
from lifecycle.settings import Settings

EVERY_PROJECT = "*"


def in_scope(service: Service, snapshot: Snapshot, settings: Settings) -> bool:
    """True for what is labelled, and what is of one of our projects: those of the settings, else the one we run in."""
    if service.recover in (Recover.TRUE, Recover.NOTIFY):
        return True
    projects = settings.docker_projects or _own(snapshot)
    return EVERY_PROJECT in projects or service.project in projects


def _own(snapshot: Snapshot) -> tuple[str, ...]:
    own = snapshot.services.get(snapshot.own or "")
    return (own.project,) if own is not None and own.project else ()


def worth_remembering(graph: Graph, snapshot: Snapshot, settings: Settings) -> frozenset[str]:
    """Ids of what is in scope, and of the parents of that: not each nameless container of a busy machine."""
    ours = [each for each in graph.order if in_scope(each, snapshot, settings) and not each.oneoff]
    parents = {edge.parent.id for each in ours for edge in graph.edges[each.id] if edge.parent is not None}
    aside = {each.id for each in graph.order if each.is_set_aside}
    return frozenset({each.id for each in ours} | parents) - aside - graph.replaced
