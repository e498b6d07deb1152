#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the virtual environment with the pinned tools: venv.py FOLDER REQUIREMENTS

The folder is finished when it holds a copy of the requirements; anything less is the rest of a run that was cut off,
and is made anew.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from machine import give_up, install, must, run, say

OLDEST = (3, 11)  # that the pinned ansible-core runs on
# Not the environment's own Python, which this program may be running on and is about to remove.
PYTHON = getattr(sys, "_base_executable", None) or sys.executable


def main(folder: Path, requirements: Path) -> None:
    """Make the environment, unless it is there."""
    finished = folder / "requirements.txt"
    if finished.exists() and finished.read_bytes() == requirements.read_bytes():
        return
    if sys.version_info < OLDEST:
        give_up(
            f"this is Python {sys.version.split()[0]}, the pinned tools need {'.'.join(map(str, OLDEST))} or newer. "
            "Name another one: make PYTHON=python3.12 ..."
        )
    if run(PYTHON, "-c", "import ensurepip").returncode:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        install(
            package,
            f"this Python cannot make virtual environments: install the package {package}, then run this again.",
        )
    say(f"making {folder} with the tools of {requirements.name}")
    shutil.rmtree(folder, ignore_errors=True)
    must(PYTHON, "-m", "venv", str(folder), what="the virtual environment")
    python = str(folder / "bin" / "python")
    words = [
        line.split()[0] for line in requirements.read_text(encoding="utf-8").splitlines() if line.startswith("uv==")
    ]
    if run(python, "-m", "pip", "install", "--quiet", *words).returncode == 0:
        installer = [str(folder / "bin" / "uv"), "pip", "install", "--quiet", "--python", python]
    else:
        say("uv cannot be had here: installing with pip, which takes longer")
        installer = [python, "-m", "pip", "install", "--quiet"]
    must(*installer, "--requirement", str(requirements), what="the installation of the tools")
    finished.write_bytes(requirements.read_bytes())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER REQUIREMENTS")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
