#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run what reads and plans a fleet through the oldest ansible-core that is supported and the newest: cores.py FOLDER

Each gets an environment in FOLDER with the newest Python that it runs on and that this machine has. The tests are a few
of tests/unit that run plays, facts.yml and plan.yml among them, and the filters; then the facts modules run with the
oldest Python that it manages. One line for each; status 1 if a test fails. What cannot be had here is named, and is no
failure.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machine import CHECKOUT, run, say
from pythons import find_python

# The requirement, the Pythons to run it with, and the Pythons of targets, the best first. PyPI knows what is newest.
CORES = {
    "ansible-core 2.16": ("ansible-core~=2.16.0", ("3.12", "3.11", "3.10"), ("3.6", "3.7", "3.8")),
    "the newest ansible-core": ("ansible-core", ("3.14", "3.13", "3.12"), ("3.9", "3.10", "3.11")),
}
NEEDS = ("pytest", "pyyaml")
ROLES = "tests/unit/roles/test_"
ACTION = "tests/unit/plugins/action/test_"
TESTS = (
    f"{ROLES}facts_playbook.py::test_without_a_folder_nothing_is_written_and_all_is_shown",
    f"{ROLES}preflight_role.py::test_check_mode_judges_as_well_and_a_misspelt_rule_is_named",
    f"{ROLES}plan_playbook.py::test_the_racks_that_come_with_the_collection_get_what_they_need",
    f"{ROLES}plan_playbook.py::test_the_role_refuses_a_version_without_quotes_as_the_plan_does",
    f"{ROLES}site_playbook.py",
    f"{ACTION}gpu_facts.py::test_a_task_without_a_table_gets_the_collections_own[run]",
    f"{ACTION}host_facts.py::test_a_host_that_is_the_controller_has_its_time[run]",
    "tests/unit/plugins/filter",
)
MODULES = ("gpu_facts", "host_facts", "memory_facts", "nvme_facts")
DAYS_UNTIL_RENEWED = 7
UNREACHABLE = ("dns error", "error sending request", "Failed to fetch", "timed out", "network was disabled")


def first(versions: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the first of some Pythons that this machine has."""
    return next(filter(None, map(find_python, versions)), None)


def environment(requirement: str, python: str, folder: Path) -> str | None:
    """Make an environment, or renew one that is old; return what went wrong, if anything."""
    finished = folder / "finished"
    if finished.exists() and time.time() - finished.stat().st_mtime < DAYS_UNTIL_RENEWED * 86400:
        return None
    commands = [("uv", "pip", "install", "--upgrade", "--python", str(folder / "bin" / "python"), requirement, *NEEDS)]
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        commands.insert(0, ("uv", "venv", "--python", python, str(folder)))
    for command in commands:
        done = run(*command)
        if done.returncode:  # an old one is good enough where nothing newer can be had
            return None if finished.exists() else "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
    finished.touch()
    return None


def on_target(inside: str, target: str, folder: Path) -> str | None:
    """Run the facts modules with a target's Python; return what went wrong, if anything."""
    root = CHECKOUT / "tests" / "emulation" / "v100"
    variables = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
    }
    (folder / "ansible.cfg").touch()
    for module in MODULES:
        argv = [inside, "-m", "ansible", "adhoc", "localhost", "-c", "local", "-m", f"gpufleet.workstation.{module}"]
        argv += ["-a", f"root={root}", "-e", f"ansible_python_interpreter={target}"]
        done = run(*argv, env=variables)
        if done.returncode or '"ansible_facts"' not in done.stdout:
            return f"{module}: {(done.stdout + done.stderr)[-2000:]}"
    return None


def check(name: str, folder: Path) -> bool:
    """Test with one core, say how that went, and return whether it is good."""
    started, (requirement, pythons, targets) = time.monotonic(), CORES[name]
    found, target = first(pythons), first(targets)
    if found is None or not shutil.which("uv"):
        say(f"{name}: {'no uv' if found else 'no Python ' + ' or '.join(pythons)} here: nothing was tested with it")
        return True
    place = folder / name.replace(" ", "-")
    problem = environment(requirement, found[0], place)
    if problem:
        unreachable = any(words in problem for words in UNREACHABLE)
        say(f"{name}: {'cannot be had here, so nothing was tested with it' if unreachable else 'cannot be installed'}")
        print(problem, flush=True)
        return unreachable
    inside = str(place / "bin" / "python")
    version = run(inside, "-c", "import ansible; print(ansible.__version__)").stdout.strip()
    done = run(inside, "-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider", *TESTS, cwd=CHECKOUT)
    lines = (done.stdout.strip() or done.stderr.strip() or "pytest said nothing").splitlines()
    if done.returncode:
        print("\n".join(lines[-60:]), flush=True)
    problem = on_target(inside, target[0], place) if target else None
    if problem:
        print(problem, flush=True)
    says = (
        f"modules on Python {target[1]} {'failed' if problem else 'good'}" if target else "no older Python for modules"
    )
    taken = time.monotonic() - started
    say(f"ansible-core {version} on Python {found[1]}: {lines[-1].strip('= ')}; {says}; {taken:.0f} s in all")
    return done.returncode == 0 and not problem


def main(folder: Path) -> bool:
    """Check both at once."""
    with ThreadPoolExecutor(len(CORES)) as threads:
        return all(list(threads.map(lambda name: check(name, folder), CORES)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    sys.exit(0 if main(Path(sys.argv[1]).resolve()) else 1)
