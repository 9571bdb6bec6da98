"""What a container is made from once more: the same configuration, in the namespaces of containers that live."""

from collections.abc import Callable, Iterable, Mapping
from posixpath import normpath
from typing import Any

from lifecycle.domain.service import SHORT, Share
from lifecycle.services.inspected import OF_CONTAINER, SHARED

RECREATED = "lifecycle.recreated"
"""The label of what was made here: the id of the container whose place it is to take."""
OF_ITS_OWN_NETWORK = ("Hostname", "Domainname", "ExposedPorts", "MacAddress")
"""With the network of another container a create that names these is refused; an inspection shows that one's."""
OF_ITS_OWN_PORTS = ("PortBindings", "Links", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "PublishAllPorts")
GIVEN = ("IPAMConfig", "Links", "DriverOpts", "Aliases", "GwPriority")
"""What its user said of a network; the rest of what an inspection shows is what came of it."""

Body = dict[str, Any]


def body(old: Mapping[str, Any], parents: Mapping[Share, str], image: str, exists: Callable[[str], bool]) -> Body:
    """The create of its successor. `exists` says of a container's name whether there is one."""
    config, host = dict(old["Config"]), dict(old["HostConfig"])
    for share, parent in parents.items():
        host[SHARED[share]] = OF_CONTAINER + parent
    if is_guest(host):
        config = {key: value for key, value in config.items() if key not in OF_ITS_OWN_NETWORK}
        host = {key: value for key, value in host.items() if key not in OF_ITS_OWN_PORTS}
    elif config.get("Hostname") == old["Id"][:SHORT]:
        del config["Hostname"]
    host["VolumesFrom"] = [each for each in host.get("VolumesFrom") or () if exists(each.split(":")[0])] or None
    host["Mounts"] = [_named(mount, old["Mounts"]) for mount in host.get("Mounts") or ()]
    host["Binds"] = [*(host.get("Binds") or ()), *_held(old["Mounts"], host)]
    labels = {**(config.get("Labels") or {}), RECREATED: old["Id"]}
    return {**config, "Labels": labels, "Image": image, "HostConfig": host, "NetworkingConfig": _first(networks(old))}


def networks(old: Mapping[str, Any]) -> dict[str, Body]:
    """The networks it is in and what was said of each, that of its create first; none for a guest."""
    mode = old["HostConfig"].get("NetworkMode", "")
    if is_guest(old["HostConfig"]) or mode in ("host", "none"):
        return {}
    joined = (old.get("NetworkSettings") or {}).get("Networks") or {}
    told = {name: _endpoint(endpoint or {}, old["Id"][:SHORT]) for name, endpoint in joined.items()}
    return dict(sorted(told.items(), key=lambda each: each[0] != mode))


def is_guest(host: Mapping[str, Any]) -> bool:
    """True with the network of another container."""
    return str(host.get("NetworkMode") or "").startswith(OF_CONTAINER)


def _first(told: dict[str, Body]) -> Body:
    """Older engines take one network at the create; the others are joined after it."""
    return {"EndpointsConfig": dict(list(told.items())[:1])} if told else {}


def _endpoint(endpoint: Mapping[str, Any], short_id: str) -> Body:
    given = {key: endpoint[key] for key in GIVEN if endpoint.get(key)}
    if "Aliases" in given:
        given["Aliases"] = [alias for alias in given["Aliases"] if alias != short_id]
    return given


def _named(mount: Mapping[str, Any], held: Iterable[Mapping[str, Any]]) -> Body:
    """A mount without a source had a volume made for it: that one, not a new and empty one."""
    if mount.get("Type") != "volume" or mount.get("Source"):
        return dict(mount)
    same = (each["Name"] for each in held if each["Destination"] == normpath(mount["Target"]))
    return {**mount, "Source": next(same, "")}


def _held(held: Iterable[Mapping[str, Any]], host: Mapping[str, Any]) -> list[str]:
    """Binds of what it has mounted and nobody names: anonymous volumes, and what it had from another container."""
    targets = [bind.split(":")[1] for bind in host.get("Binds") or ()]
    targets += [*(mount["Target"] for mount in host["Mounts"]), *(host.get("Tmpfs") or ())]
    named = set(map(normpath, targets))
    return [_bind(mount) for mount in held if mount["Destination"] not in named and mount["Type"] != "tmpfs"]


def _bind(mount: Mapping[str, Any]) -> str:
    source = mount["Name"] if mount["Type"] == "volume" else mount["Source"]
    return f"{source}:{mount['Destination']}" + ("" if mount.get("RW", True) else ":ro")
