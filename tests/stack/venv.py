"""The smoke suite's own venv: the extra `smoke`, as new as it gets."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".matrix" / "stack"


def own_python() -> str:
    """Made anew when what is wanted has changed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [*extras["smoke"], "pip"]  # the image's wheels want pip
    python, stamp = PLACE / "venv" / "bin" / "python", PLACE / "venv.stamp"
    if not stamp.exists() or stamp.read_text() != str(wanted):
        stamp.unlink(missing_ok=True)
        PLACE.mkdir(parents=True, exist_ok=True)
        uv = shutil.which("uv")
        made = [uv, "venv", "--quiet", "--clear", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        subprocess.run([*made, str(PLACE / "venv")], check=True)
        pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        subprocess.run([*pip, "--quiet", "--only-binary", ":all:", *wanted], check=True)
        stamp.write_text(str(wanted))
    return str(python)
