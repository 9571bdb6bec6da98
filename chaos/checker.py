"""Holds a history to the invariants of the design (section 10). Offline: it reads nothing but what a run has kept."""

from chaos import executions, stopping, trees, work

RULES = (
    trees.no_live_child_of_what_stops,
    executions.nothing_runs_after_its_end,
    trees.nothing_is_held_after_the_end,
    trees.nothing_is_held_twice,
    executions.one_at_a_time,
    executions.epochs_rise,
    stopping.stops_end_in_time,
    stopping.nothing_starts_after_its_mark,
    stopping.stop_beats_restart,
    stopping.each_step_is_legal,
    stopping.each_stopped_says_why,
    executions.nothing_alive_is_reaped,
    executions.no_living_node_is_taken_for_dead,
    work.nothing_acknowledged_is_lost,
    work.everything_ends,
    work.no_node_ends_by_itself,
    work.completed_is_done,
    work.failed_has_failed,
    work.celery_is_told,
)


def check(history):
    """Every violation of a run, rule by rule."""
    return [found for rule in RULES for found in rule(history)]
