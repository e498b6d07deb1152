#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the tests of what runs on targets with each Python that targets have: pythons.py FOLDER

Of the versions below, those that pyenv or the search path has get an environment each in FOLDER, with the newest
pytest and PyYAML that they can have and without ansible-core, as on a target. One line for each; status 1 if a test
fails. A version that is not there is said to be missing and is no failure.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machine import CHECKOUT, run, say

VERSIONS = ("3.6", "3.8", "3.11", "3.13")
TESTS = ("tests/unit/plugins/module_utils", "tests/unit/plugins/modules")
NEEDS = ("pytest", "pyyaml", "pip")  # pip is what a wheelhouse is filled with
VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


def find_python(version: str) -> tuple[str, str] | None:
    """Return a version's interpreter and full version: pyenv's newest that runs, or else the search path's."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(versions.glob(f"{version}.*/bin/python"), key=lambda path: (len(str(path)), path), reverse=True)
    for python in (*map(str, found), shutil.which(f"python{version}")):
        full = run(python, "-c", VERSION).stdout.strip() if python else ""  # pyenv's stand-ins on the path say nothing
        if full.startswith(version + "."):
            return python, full
    return None


def environment(python: str, folder: Path) -> str | None:
    """Make an interpreter's environment unless it is finished; return what went wrong, if anything."""
    finished = folder / "finished"
    if finished.exists() and finished.read_text(encoding="utf-8") == python:
        return None
    inside, problem = str(folder / "bin" / "python"), ""
    with_uv = [("uv", "venv", "--python", python, str(folder)), ("uv", "pip", "install", "--python", inside, *NEEDS)]
    with_pip = [(python, "-m", "venv", str(folder)), (inside, "-m", "pip", "install", *NEEDS)]
    # uv takes a second where pip takes ten, and refuses the oldest Pythons.
    for commands in (with_uv, with_pip) if shutil.which("uv") else (with_pip,):
        shutil.rmtree(folder, ignore_errors=True)
        failed = next((done for done in (run(*command) for command in commands) if done.returncode), None)
        if failed is None:
            finished.write_text(python, encoding="utf-8")
            return None
        problem = "\n".join((failed.stderr or failed.stdout).strip().splitlines()[-8:])
    return problem


def check(version: str, folder: Path) -> bool:
    """Run the tests with one version, say how that went, and return whether it is good."""
    started = time.monotonic()
    found = find_python(version)
    if found is None:
        say(f"Python {version} was not found: nothing was tested with it")
        return True
    python, full = found
    problem = environment(python, folder / full)
    if problem:
        say(f"Python {full}: its environment could not be made\n{problem}")
        return False
    pytest = (str(folder / full / "bin" / "python"), "-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider")
    done = run(*pytest, *TESTS, cwd=CHECKOUT)
    lines = (done.stdout.strip() or done.stderr.strip() or "pytest said nothing").splitlines()
    if done.returncode:
        print("\n".join([line for line in lines if not line.startswith("SKIPPED ")][-60:]), flush=True)
    skipped = sorted({line.split(": ", 1)[-1] for line in lines if line.startswith("SKIPPED ")})
    because = f" ({'; '.join(skipped)})" if skipped else ""
    say(f"Python {full}: {lines[-1].strip('= ')}{because}, {time.monotonic() - started:.0f} s in all")
    return done.returncode == 0


def main(folder: Path) -> bool:
    """Check every version, all at once: these tests wait for processes more than they compute."""
    with ThreadPoolExecutor(len(VERSIONS)) as threads:
        return all(list(threads.map(lambda version: check(version, folder), VERSIONS)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    sys.exit(0 if main(Path(sys.argv[1]).resolve()) else 1)
