"""Which of an engine's containers we run in ourselves, if in any."""

import re
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lifecycle.domain.service import SHORT
from lifecycle.services.recipe import is_guest

ID = re.compile(r"\b[0-9a-f]{64}\b")
UPPER = re.compile(r"upperdir=([^,\s]+)")
CGROUP, MOUNTS = Path("/proc/self/cgroup"), Path("/proc/self/mountinfo")


def own_id(seen: Collection[Mapping[str, Any]]) -> str | None:
    """By our cgroup, else by the folder that is written under our root, else by our host name.

    The host name comes last: who has the network of another container has its host name, too.
    """
    grouped = set(ID.findall(_text(CGROUP)))
    layers = {
        upper for line in _text(MOUNTS).splitlines() if line.split()[4:5] == ["/"] for upper in UPPER.findall(line)
    }
    host = socket.gethostname()
    return (
        next((each["Id"] for each in seen if each["Id"] in grouped), None)
        or next((each["Id"] for each in seen if _upper(each) in layers), None)
        or next((each["Id"] for each in seen if _is_named(each, host)), None)
    )


def _upper(seen: Mapping[str, Any]) -> str | None:
    return ((seen.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")


def _is_named(seen: Mapping[str, Any], host: str) -> bool:
    return len(host) == SHORT and bool(seen["Id"].startswith(host)) and not is_guest(seen.get("HostConfig") or {})


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
