"""`celery -A app container VERB`. Every `celery` command imports this: click only, the rest inside the verbs."""

import click

from lifecycle.cli.group import Verb, VerbGroup

VERBS = {
    "list": Verb("listing:list_containers", "Containers and where they stand.", ("ls", "ps")),
    "get": Verb("get:get_container", "All about one container.", ("inspect",)),
    "logs": Verb("logs:show_logs", "What a container logged, in UTC."),
    "start": Verb("start:start_container", "Start a container of a registered type."),
    "rerun": Verb("start:rerun_container", "Start a container once more, as a new one."),
    "wait": Verb("wait:wait_for_containers", "Wait until containers have ended, for their exit code."),
    "stop": Verb("stop:stop_containers", "Stop containers with all below them, children first."),
    "kill": Verb("stop:kill_containers", "Stop at once, without a time to clean up."),
    "assignments": Verb("assignments:show_assignments", "Who holds which resource; release one."),
    "sweep": Verb("sweep:sweep_containers", "Find orphans, and end them."),
    "recover": Verb("recover:recover_containers", "Let interrupted containers go on."),
    "prune": Verb("prune:prune_old", "Delete what ended long ago."),
    "docker": Verb("docker:docker_services", "Docker services: see them, and recover them."),
    "check": Verb("check:check_all", "Does all fit together: settings, database, broker, nodes?"),
    "migrate": Verb("migrate:migrate_schema", "Create or upgrade the tables."),
}


@click.group(cls=VerbGroup, verbs=VERBS)
def container() -> None:
    """See, start and stop containers: long-running tasks with a parent, a status and an orderly end.

    An ID may be a unique beginning or end of one.
    """
