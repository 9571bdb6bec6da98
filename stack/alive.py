# ruff: noqa: INP001 - a script, in the image next to the workers
"""The health of a service of docker-compose.yml: `alive.py node` or `watch`; exits with 1 and why, if it is not well.

A process that is there may hang. So the database is asked: a node renews its lease there, a watch notes its looks.
Nothing but psycopg2 is imported, for this runs every few seconds. A database that does not answer is not the fault of
who asks, and a restart would not help: that is told, and counts as well.
"""

import os
import socket
import sys
from pathlib import Path

import psycopg2

# Of this start: the last one's row may hold its lease yet, and is older than our first process.
NODE = """
SELECT count(*) FROM nodes WHERE split_part(hostname, '@', 2) = %(host)s AND NOT dead AND expires_at > now()
AND started_at >= now() - make_interval(secs => %(age)s)
"""
WATCH = """
SELECT count(*) FROM passes WHERE name = 'docker_recover' AND begun_at > now() - make_interval(secs => %(late)s)
"""
LATE = 3  # periods
UNWELL = {"node": "no lease of this node holds", "watch": "services were not looked at lately"}


def main(role: str) -> str | None:
    """Why it is not well."""
    try:
        connection = psycopg2.connect(
            os.environ["LIFECYCLE_DATABASE_URL"],
            connect_timeout=3,
            options=f"-c statement_timeout=3000 -c search_path={os.environ.get('LIFECYCLE_DATABASE_SCHEMA', 'public')}",
        )
        with connection, connection.cursor() as cursor:
            cursor.execute({"node": NODE, "watch": WATCH}[role], facts())
            found = cursor.fetchone()
    except psycopg2.OperationalError as error:
        sys.stdout.write(f"cannot tell, the database does not answer: {error}")
        return None
    return None if found and found[0] else UNWELL[role]


def facts() -> dict[str, str | float]:
    every = float(os.environ.get("LIFECYCLE_DOCKER_EVERY", "60"))
    return {"host": socket.gethostname(), "age": age(), "late": LATE * every}


def age() -> float:
    """Seconds since the first process here started."""
    ticks = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
