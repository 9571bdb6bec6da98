"""The peers' own environment, made once from their pins: none of them is a dependency of the project."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).with_name("requirements.txt")
FOLDER = Path(__file__).parents[1] / ".peers"
PYTHON = FOLDER / "bin" / "python"
STAMP = FOLDER / "installed.json"


def installed(*packages):
    """Have these there; why they are not, in a line, else nothing. What did not install is tried again next time."""
    pins = [line for line in PINS.read_text().split() if line.split("=")[0].split("[")[0] in packages]
    there = json.loads(STAMP.read_text()) if STAMP.exists() else []
    if PYTHON.exists() and set(pins) <= set(there):
        return ""
    print(f"installing into benchmarks/.peers: {', '.join(pins)}", flush=True)
    ended = _install(pins)
    if ended.returncode:
        return (ended.stderr.strip().splitlines() or ["no output"])[-1]
    STAMP.write_text(json.dumps([*there, *pins]))
    return ""


def _install(pins):
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        (FOLDER / ".gitignore").write_text("*\n")
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python", str(PYTHON)] if uv else [str(PYTHON), "-m", "pip", "install"]
    words = ["--quiet", "--only-binary", ":all:", "--constraint", _plain_pins()]
    return subprocess.run([*pip, *words, *pins], capture_output=True, text=True, check=False)


def _plain_pins():
    """The same without extras, which a constraint may not have: one peer must not change another's version."""
    path = FOLDER / "constraints.txt"
    lines = PINS.read_text().split()
    path.write_text(
        "\n".join(line.split("[")[0] + "==" + line.split("==")[1] if "[" in line else line for line in lines)
    )
    return str(path)
