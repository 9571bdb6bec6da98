"""What Celery imports for each of its commands: the group of verbs must cost it next to nothing."""

import subprocess
import sys

from lifecycle.cli import VERBS

PLUG_IN = """
import sys, celery.bin.celery
for name in [name for name in sys.modules if name.startswith("lifecycle")]:
    del sys.modules[name]
before = set(sys.modules)
from lifecycle.cli import container
if sys.argv[1:]:
    container.main(sys.argv[1:], standalone_mode=False)
print(*sorted(set(sys.modules) - before))
"""


def plug_in(*arguments):
    """The modules that it imports."""
    ran = subprocess.run([sys.executable, "-c", PLUG_IN, *arguments], capture_output=True, text=True, check=True)
    return set(ran.stdout.splitlines()[-1].split())


def test_the_plug_in_imports_nothing_but_the_group():
    assert plug_in() == {"lifecycle", "lifecycle.cli", "lifecycle.cli.group"}


def test_the_help_of_the_group_imports_no_verb():
    modules = plug_in("--help")
    assert not {f"lifecycle.cli.{verb.home.partition(':')[0]}" for verb in VERBS.values()} & modules
    assert "sqlalchemy" not in modules
