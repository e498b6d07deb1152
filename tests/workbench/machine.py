# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs beside this one share: run commands, become root, install packages, give up in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parents[2]


def say(text: str) -> None:
    """Print one line at once; make's output is read while it runs."""
    print(f"workbench: {text}", flush=True)


def give_up(text: str) -> NoReturn:
    """End with one sentence and status 1."""
    sys.exit(f"workbench: {text}")


def run(*argv: str, **kwargs) -> subprocess.CompletedProcess:
    """Run a command and return what it said, whatever its status."""
    return subprocess.run(argv, check=False, text=True, capture_output=True, **kwargs)


def must(*argv: str, what: str, **kwargs) -> str:
    """Run a command that has to succeed; ``what`` begins the sentence if it does not."""
    done = run(*argv, **kwargs)
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout or "").strip().splitlines()[-8:])
        give_up(f"{what} failed: {' '.join(argv[:3])} ended with status {done.returncode}.\n{tail}")
    return done.stdout


def find(program: str) -> str | None:
    """Return the path of a program, also of one that only root has on its search path."""
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def elevate() -> list[str] | None:
    """Return the words before a command that needs root, or None where there is no way to root."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and run("sudo", "--non-interactive", "true").returncode == 0:
        return ["sudo", "--non-interactive"]
    return None


def install(package: str, otherwise: str) -> None:
    """Install a distribution's package, or end with the sentence ``otherwise`` where that is not possible."""
    root = elevate()
    if root is None or not find("apt-get"):
        give_up(otherwise)
    say(f"installing {package}")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=600"]
    must(*apt, "update", what="apt's update")
    must(*apt, "install", "--yes", package, what=f"the installation of {package}")
