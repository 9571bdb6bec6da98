"""A crawl of a folder: a coordinator spawns a worker a subfolder, and those one a batch of files."""

import hashlib
import logging
import os
import sqlite3
import sysconfig
from pathlib import Path

from lifecycle import ContainerTask, current_container, sleep
from workers import app

TABLE = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, modified REAL, sha256 TEXT, words INTEGER)"
UPSERT = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
LEFT_OUT = {"__pycache__", "site-packages"}
BATCH = 50
PACE = 0.05  # seconds between files: a crawl leaves the disk to others, and has time to be watched
log = logging.getLogger(__name__)


def found_files() -> sqlite3.Connection:
    """The crawl's own table: what every file was when it was last read."""
    database = Path(os.environ.get("CRAWL_DATABASE", "var/crawl.db"))
    database.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(database, timeout=30)
    connection.execute(TABLE)
    return connection


@app.task(base=ContainerTask, container_type="CRAWL_COORDINATOR")
def crawl(folder: str = sysconfig.get_path("stdlib"), pattern: str = "*.py") -> int:
    """Spawn one CRAWL_FOLDER for each subfolder, and one for the folder's own files."""
    folders = sorted(path for path in Path(folder).iterdir() if path.is_dir() and path.name not in LEFT_OUT)
    for path in folders:
        crawl_folder.spawn([str(path), f"**/{pattern}"], resources=[f"folder:{path.name}"], tags={"folder": path.name})
    # In brackets, for a subfolder may be called top.
    crawl_folder.spawn([folder, pattern], resources=["folder:(top)"], tags={"folder": "(top)"})
    return len(folders) + 1


@app.task(base=ContainerTask, container_type="CRAWL_FOLDER")
def crawl_folder(folder: str, pattern: str) -> dict[str, int]:
    """Spawn a CRAWL_FILES for each batch of files that are new or changed since the last crawl."""
    with found_files() as connection:
        known = dict(connection.execute("SELECT path, modified FROM files"))
    files = [str(path) for path in sorted(Path(folder).glob(pattern)) if path.is_file()]
    changed = [path for path in files if known.get(path) != Path(path).stat().st_mtime]
    name = current_container().tags["folder"]
    for number, first in enumerate(range(0, len(changed), BATCH), start=1):
        crawl_files.spawn([changed[first : first + BATCH]], resources=[f"batch:{name}/{number}"])
    log.info("%s: %d of %d files are new or changed", folder, len(changed), len(files))
    return {"files": len(files), "changed": len(changed)}


@app.task(base=ContainerTask, container_type="CRAWL_FILES")
def crawl_files(paths: list[str]) -> int:
    """Read, hash and count the words of each file."""
    rows = []
    for path in paths:
        sleep(PACE)
        content = Path(path).read_bytes()
        rows.append((path, Path(path).stat().st_mtime, hashlib.sha256(content).hexdigest(), len(content.split())))
    with found_files() as connection:
        connection.executemany(UPSERT, rows)
    return len(rows)
