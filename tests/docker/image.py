"""An image with a real node in it: this Python, what our wheel requires, and the wheel; nothing is fetched."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

IMAGE = "lifecycle-test:node"
ROOT = Path(__file__).parents[2]
APP = "/app"
PACKAGES = f"{APP}/packages"
PYTHON = str(Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}"))
LEFT_OUT = {"test", "site-packages", "dist-packages", "idlelib", "tkinter", "lib2to3", "ensurepip"}
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
UTC = "/usr/share/zoneinfo/UTC"  # kombu asks for it


def import_node(client):
    """Returns when the engine has it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "root.tar")
        with tarfile.open(path, "w") as archive:
            _fill(archive, Path(folder))
        repository, tag = IMAGE.split(":")
        client.api.import_image_from_file(str(path), repository=repository, tag=tag)


def _fill(archive, folder):
    stdlib = Path(sysconfig.get_path("stdlib"))
    files = _required("celery-lifecycle", ["postgres", "docker"])
    native = [PYTHON, *map(str, stdlib.glob("lib-dynload/*.so")), *(str(each) for each in files if ".so" in each.name)]
    archive.add(Path(PYTHON).resolve(), PYTHON)
    archive.add(stdlib, str(stdlib), filter=_wanted)
    for library in _libraries(native):
        archive.add(Path(library).resolve(), library)
    for path, name in files.items():
        archive.add(path, f"{PACKAGES}/{name}")
    with zipfile.ZipFile(_wheel(folder)) as wheel:
        wheel.extractall(folder / "wheel")
    archive.add(folder / "wheel", PACKAGES)
    archive.add(Path(UTC).resolve(), UTC)
    archive.add(ROOT / "tests" / "acceptance" / "pipelines.py", f"{APP}/pipelines.py")
    for name, text in (("etc/passwd", "root:x:0:0::/:/bin/sh\n"), ("etc/hosts", "127.0.0.1 localhost\n")):
        (folder / "text").write_text(text)
        archive.add(folder / "text", name)
    (folder / "tmp").mkdir()
    archive.add(folder / "tmp", "tmp")


def _wanted(entry):
    name = Path(entry.name).name
    return None if name in LEFT_OUT or name == "__pycache__" or name.startswith("config-") else entry


def _required(name, extras):
    """Files of all that a distribution requires, and not its own: where they are, and where they belong."""
    files, seen = {}, {name}
    wanted = [(name, extra) for extra in ["", *extras]]
    while wanted:
        this, extra = wanted.pop()
        for text in distribution(this).requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            wanted += [(requirement.name, each) for each in requirement.extras]
            if requirement.name not in seen:
                seen.add(requirement.name)
                wanted.append((requirement.name, ""))
                files |= _files(requirement.name)
    return files


def _files(name):
    made = distribution(name)
    inside = [each for each in made.files or () if ".." not in each.parts and "__pycache__" not in each.parts]
    return {Path(each.locate()): each for each in inside}


def _libraries(native):
    """Shared libraries of the machine that these need."""
    told = subprocess.run(["ldd", *native], capture_output=True, text=True, check=False).stdout
    return sorted({path for path in LIBRARY.findall(told) if "/site-packages/" not in path})


def _wheel(folder):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel
