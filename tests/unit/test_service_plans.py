"""Random fleets with random memories: what no plan may ever do, and that every fleet ends well in the right order."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.domain.recovery import Fate, Memory, Remembered, Unrestartable
from lifecycle.domain.service import Dependency, Health, Kind, Policy, Service, Share, Snapshot, State
from lifecycle.services.diagnosis import is_well
from lifecycle.services.graph import Strength, draw
from lifecycle.services.plan import plan
from tests.unit.fleet import NOW, SETTINGS, ago, identity, service

NAMES = ["a", "b", "c", "d", "e"]
CONDITIONS = ["service_started", "service_healthy", "service_completed_successfully"]
MOMENTS = st.one_of(st.none(), st.integers(-1_000, 1_000).map(lambda seconds: NOW + timedelta(seconds=seconds)))
PARENTS = st.one_of(
    st.sampled_from(NAMES).map(lambda name: identity(f"shop-{name}-1")), st.sampled_from([identity("x"), identity("y")])
)
SOME = settings(max_examples=75, deadline=None)


@st.composite
def services(draw_one, name):
    """A container in whatever state, that hangs on any others: circles and what is gone included."""
    pick = lambda values: draw_one(st.sampled_from(list(values)))  # noqa: E731 - a word for the line below it
    state = pick(State)
    shares = draw_one(st.dictionaries(st.sampled_from(list(Share)), PARENTS, max_size=2))
    made = service(
        name,
        project=pick(["shop", "shop", "blog"]),
        started=draw_one(st.integers(0, 100)),
        created=draw_one(st.sampled_from([10, 3_600])),
        finished=draw_one(st.integers(0, 100)),
        state=state,
        health=pick(Health),
        exit_code=pick([0, 1, 137, 143]),
        policy=pick(Policy),
        error=pick(["", "port is already allocated"]),
        oneoff=pick([False, False, False, True]),
        depends_on=tuple(
            draw_one(
                st.lists(
                    st.builds(
                        Dependency,
                        st.sampled_from(NAMES),
                        st.sampled_from(CONDITIONS),
                        st.sampled_from([True, False, None]),
                    ),
                    max_size=3,
                )
            )
        ),
        shares=shares,
        links=tuple(draw_one(st.lists(st.sampled_from([f"shop-{each}-1" for each in NAMES]), max_size=1))),
        volumes_from=tuple(draw_one(st.lists(st.sampled_from([f"shop-{each}-1" for each in NAMES]), max_size=1))),
    )
    recover = pick(["", "", "", "true", "false", "notify"])
    return replace(made, labels={**made.labels, "lifecycle.recover": recover})


@st.composite
def rows(draw_one, made):
    return Remembered(
        key=made.key,
        version=1,
        ids=(made.id, *draw_one(st.lists(st.sampled_from([identity("x"), identity("y")]), max_size=1))),
        baseline=draw_one(st.sampled_from([None, ago(3_600), made.started_at])),
        attempts=draw_one(st.integers(0, 9)),
        recent=draw_one(st.integers(0, 6)),
        acted_at=draw_one(MOMENTS),
        next_at=draw_one(MOMENTS),
        opened_at=draw_one(MOMENTS),
        quiet_until=draw_one(MOMENTS),
        paused=draw_one(st.sampled_from([False, False, False, True])),
        locked_by="other",
        locked_until=draw_one(MOMENTS),
        fate=draw_one(st.sampled_from([None, *Fate])),
        fate_id=made.id,
    )


@st.composite
def worlds(draw_one):
    """A snapshot and a memory of some of it."""
    names = draw_one(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    fleet = [draw_one(services(name)) for name in names]
    fleet = [replace(each, id=identity(f"shop-{each.service}-1")) for each in fleet]
    known = [draw_one(rows(each)) for each in fleet if draw_one(st.booleans())]
    failed = [each for each in fleet if draw_one(st.integers(0, 5)) == 0]
    memory = Memory(
        services={row.key: row for row in known},
        unrestartable={each.id: Unrestartable(id=each.id, name=each.name, reason="gone") for each in failed},
    )
    return Snapshot(services={each.id: each for each in fleet}, taken_at=NOW), memory


def acted_on(world):
    """Each container that something is done to, with the action and its row."""
    snapshot, memory = world
    for action in plan(snapshot, memory, SETTINGS, NOW).actions:
        target = snapshot.services[action.id]
        yield target, action, memory.of(target.key)


@SOME
@given(worlds())
def test_nothing_is_done_to_who_is_not_ours_or_does_not_want_it(world):
    for target, _, _ in acted_on(world):
        said = target.labels["lifecycle.recover"]
        assert target.project == "shop" or said == "true"
        assert said in ("", "true")
        assert not target.oneoff


@SOME
@given(worlds())
def test_nothing_is_done_to_a_finished_job_or_to_what_was_stopped_or_is_in_other_hands(world):
    for target, _, row in acted_on(world):
        assert not target.is_done
        assert target.state in (State.RUNNING, State.EXITED, State.CREATED)
        assert not (row.fate is Fate.STOPPED and target.state is State.EXITED)
        assert not row.paused
        assert row.locked_until is None or row.locked_until <= NOW
        assert row.quiet_until is None or row.quiet_until <= NOW


@SOME
@given(worlds())
def test_nothing_is_done_twice_within_its_time_or_over_its_budget(world):
    for target, _, row in acted_on(world):
        assert row.next_at is None or row.next_at <= NOW
        assert row.opened_at is not None or row.recent < SETTINGS.docker_budget
        if row.opened_at is not None:
            assert NOW - max(row.opened_at, row.acted_at or row.opened_at) >= timedelta(seconds=900)
        assert target.id not in world[1].unrestartable


@SOME
@given(worlds())
def test_one_thing_is_done_to_a_service_at_a_time_and_parents_come_first(world):
    snapshot, memory = world
    made = plan(snapshot, memory, SETTINGS, NOW)
    keys = [action.key for action in made.actions]
    assert len(keys) == len(set(keys))
    graph = draw(snapshot, memory)
    place = {each.service.id: number for number, each in enumerate(made.decisions)}
    needy = {each.service.id for each in made.decisions if each.need is not None}
    for action in made.actions:
        for edge in graph.edges[action.id]:
            assert edge.parent is not None
            assert place[edge.parent.id] < place[action.id]
            if edge.strength is Strength.HARD:
                assert is_well(edge.parent, snapshot, SETTINGS.docker_settle)
                assert edge.parent.id not in needy


@SOME
@given(worlds())
def test_who_has_a_namespace_of_what_is_gone_is_only_ever_recreated(world):
    snapshot, _ = world
    for target, action, _ in acted_on(world):
        if not all(snapshot.named(reference) for reference in target.shares.values()):
            assert action.kind is Kind.RECREATE
        if action.kind is Kind.RECREATE:
            assert action.shares.keys() == target.shares.keys()
            assert all(snapshot.services[parent].is_running for parent in action.shares.values())


@SOME
@given(worlds())
def test_who_looks_twice_finds_the_same_and_everybody_is_decided_about_once(world):
    snapshot, memory = world
    first, again = plan(snapshot, memory, SETTINGS, NOW), plan(snapshot, memory, SETTINGS, NOW)
    assert first == again
    assert sorted(each.service.id for each in first.decisions) == sorted(snapshot.services)


@st.composite
def trees(draw_one):
    """A healthy fleet without circles, of which the first was just restarted by somebody else."""
    fleet: list[Service] = []
    for name in NAMES:
        parents = (
            draw_one(st.lists(st.sampled_from(fleet), unique_by=lambda each: each.id, max_size=2)) if fleet else []
        )
        hard = parents[:1] if draw_one(st.booleans()) else []
        fleet.append(
            service(
                name,
                started=1_000 - len(fleet),
                shares=dict.fromkeys([Share.NETNS], hard[0].id) if hard else {},
                depends_on=tuple(Dependency(each.service, restart=True) for each in parents),
            )
        )
    return fleet


@SOME
@given(trees())
def test_a_restart_at_the_root_goes_down_each_way_once_and_ends(fleet):
    """The whole sequence, pass by pass, as a fleet would live it."""
    memory = Memory(
        services={each.key: Remembered(key=each.key, version=1, baseline=each.started_at) for each in fleet}
    )
    fleet = [replace(fleet[0], started_at=ago(100)), *fleet[1:]]
    now, done = NOW, []
    for _ in range(50):
        snapshot = Snapshot(services={each.id: each for each in fleet}, taken_at=now)
        made = plan(snapshot, memory, SETTINGS, now)
        if not made.actions and made.again_in is None:
            break
        done += [action.key for action in made.actions]
        acted = {action.id for action in made.actions}
        fleet = [replace(each, started_at=now) if each.id in acted else each for each in fleet]
        now += timedelta(seconds=60)
    below = draw(snapshot, memory).below([fleet[0].key]) - {fleet[0].key}
    assert sorted(set(done)) == sorted(below)
    by_id = {each.id: each for each in fleet}
    for each in fleet:
        for edge in draw(snapshot, memory).edges[each.id]:
            assert each.key not in below or by_id[each.id].started_at > by_id[edge.parent.id].started_at
