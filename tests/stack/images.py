"""Images in place of public ones, from Debian's packages: no registry is asked, and a build here reaches no network.

Debian's mirror and the index of wheels are asked once; what they gave stays in .matrix/stack.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from job.binaries import ServerMissing
from tests.stack.venv import PLACE, ROOT

HERE = Path(__file__).parent
BASE = "lifecycle-stack:debian"
ROLES = {"python": "PYTHON_IMAGE", "redis": "REDIS_IMAGE", "postgres": "POSTGRES_IMAGE", "haproxy": "HAPROXY_IMAGE"}
PACKAGES = "python3,python3-venv,redis-server,postgresql,haproxy"
SUITE = "bookworm"
PATCH_LEVEL = re.compile(r" ; python_full_version[^\\]*(?=\\)")  # pip would judge by the Python it runs on
NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "var/lib/postgresql/15", "usr/share/doc", "usr/share/locale", "dev")


def check():
    """Raises ServerMissing."""
    if missing := [word for word in ("debootstrap", "nsenter", "tar") if shutil.which(word) is None]:
        raise ServerMissing(f"No {' and no '.join(missing)} here: apt-get install debootstrap util-linux tar")
    if os.geteuid() != 0:
        raise ServerMissing("debootstrap needs root")


def make(client, python):
    """Import and build them; the variables by which docker-compose.yml finds them."""
    root = PLACE / "root.tar"
    if not root.exists():
        make_root(root)
    fetch_wheels(python)
    repository, tag = BASE.split(":")
    client.api.import_image_from_file(str(root), repository=repository, tag=tag)
    return {variable: build(client, role) for role, variable in ROLES.items()}


def build(client, role):
    """One role's image."""
    context = PLACE / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    shutil.copytree(HERE / "roles", context / "roles")
    if role == "python":
        shutil.copytree(PLACE / "wheels", context / "wheels")
    image = f"lifecycle-stack:{role}"
    file = f"roles/{role}.Dockerfile"
    client.images.build(path=str(context), dockerfile=file, tag=image, buildargs={"BASE": BASE}, rm=True)
    return image


def make_root(archive):
    """A small Debian with all that the roles want."""
    root = archive.with_suffix("")
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerMissing(f"no Debian from its mirror: {done.stdout[-500:]}{done.stderr[-500:]}")
    new = archive.with_suffix(".new")
    left_out = [f"--exclude=./{path}/*" for path in NOT_NEEDED]
    subprocess.run(["tar", "-C", str(root), "--one-file-system", *left_out, "-cf", str(new), "."], check=True)
    new.replace(archive)
    shutil.rmtree(root)


def fetch_wheels(python):
    """What the Dockerfile installs, by its locks, for the Python of the root."""
    wheels, locks = PLACE / "wheels", PLACE / "locks.txt"
    shutil.rmtree(wheels, ignore_errors=True)
    text = "".join((ROOT / "stack" / name).read_text() for name in ("build.txt", "requirements.txt"))
    locks.write_text(PATCH_LEVEL.sub("", text))
    wanted = ["--requirement", str(locks), "--require-hashes"]
    target = ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
    pip = [python, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--dest", str(wheels)]
    done = subprocess.run([*pip, *target, *wanted], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerMissing(f"no wheels by the locks: {done.stderr[-1000:]}")
