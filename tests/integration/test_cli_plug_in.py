"""What Celery imports for each of its commands: the group of verbs must cost it next to nothing."""

import subprocess
import sys

from lifecycle.cli import VERBS

PLUG_IN = """
import sys, time, celery.bin.celery
times = []
for _ in range(5):
    for name in [name for name in sys.modules if name.startswith("lifecycle")]:
        del sys.modules[name]
    before = set(sys.modules)
    start = time.perf_counter()
    from lifecycle.cli import container
    times.append(time.perf_counter() - start)
if sys.argv[1:]:
    container.main(sys.argv[1:], standalone_mode=False)
print(min(times))
print(*sorted(set(sys.modules) - before))
"""


def plug_in(*arguments):
    ran = subprocess.run([sys.executable, "-c", PLUG_IN, *arguments], capture_output=True, text=True, check=True)
    *_, quickest, modules = ran.stdout.splitlines()
    return float(quickest), set(modules.split())


def test_the_plug_in_imports_click_only_and_costs_less_than_5_ms():
    quickest, modules = plug_in()
    assert modules == {"lifecycle", "lifecycle.cli", "lifecycle.cli.group"}
    assert quickest < 0.005


def test_the_help_of_the_group_imports_no_verb():
    _, modules = plug_in("--help")
    assert not {f"lifecycle.cli.{verb.home.partition(':')[0]}" for verb in VERBS.values()} & modules
    assert "sqlalchemy" not in modules
