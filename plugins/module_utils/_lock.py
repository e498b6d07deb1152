# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolves pins for another machine into a list with hashes. Private to the collection."""

import os
import shutil
import tempfile
from typing import List, NamedTuple, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils._environment import (
    Wanted,
    environment_of_uv,
    explain,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

# The ages of glibc that uv can resolve for; for another one the next newer stands in.
PLATFORMS = ((2, 17), (2, 28), *((2, minor) for minor in range(31, 41)))


class Target(NamedTuple):
    """The machine that a list is made for."""

    python: str
    glibc: str


def platform(glibc: str) -> str:
    """Return uv's name for x86_64 machines with a glibc."""
    major, minor = (int(part) for part in glibc.split(".")[:2])
    fitting = [known for known in PLATFORMS if known >= (major, minor)] or [PLATFORMS[-1]]
    return "x86_64-manylinux_{}_{}".format(*fitting[0])


def command(uv: str, wanted: Wanted, target: Target, asked: str, constraints: str) -> List[str]:
    """Return the command that resolves what is asked for in one file under the constraints in another."""
    argv = [uv, "pip", "compile", "--quiet", "--no-config", "--generate-hashes", "--no-header", "--no-annotate"]
    argv += ["--only-binary", ":all:", "--python-version", target.python, "--python-platform", platform(target.glibc)]
    argv += [] if wanted.use_index else ["--no-index"]
    return [*argv, "--constraints", constraints, asked]


def resolve(host, wanted: Wanted, target: Target, constraints: Sequence[str] = ()) -> str:
    """Return the list with hashes for what is wanted. Refused says what stands in the way."""
    uv = shutil.which(wanted.uv or "uv")
    if not uv:
        raise Refused(f"there is no program {wanted.uv or 'uv'} here; uv makes the lock: pip install uv")
    scratch = tempfile.mkdtemp(prefix="gpufleet-lock-")
    try:
        asked, bounds = os.path.join(scratch, "packages.txt"), os.path.join(scratch, "constraints.txt")
        for path, lines in ((asked, wanted.packages), (bounds, constraints)):
            with open(path, "w", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in lines))
        argv = command(uv, wanted, target, asked, bounds)
        result = host.run(argv, timeout=wanted.timeout, env=environment_of_uv(wanted, scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if result.error:
        raise Refused(f"uv did not make the lock: {result.error}")
    if result.rc != 0:
        raise Refused(explain(result.stderr, wanted))
    return result.stdout
