# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the Javas of a host and chooses one. Private to the collection."""

import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

FOLDERS = ("/usr/lib/jvm", "/usr/lib64/jvm", "/usr/java", "/opt/java")
# A login's own may be shorter.
PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
RUN_SECONDS = 20

_RELEASE = re.compile(r'^JAVA_VERSION="([^"]+)"', re.MULTILINE)
_SAID = re.compile(r'version "([^"]+)"')


class Java(NamedTuple):
    """A Java that is there: the path that survives updates, its major version as Java calls it, the whole version."""

    home: str
    major: str
    version: str


def major(version: str) -> str:
    """Return the major version: 8 of C(1.8.0_412), 17 of C(17.0.12+7)."""
    numbers = re.findall(r"\d+", version)
    if not numbers:
        return ""
    return numbers[1] if numbers[0] == "1" and len(numbers) > 1 else numbers[0]


def executable(host, folder: str, name: str) -> bool:
    """Say whether a folder has a command."""
    return os.access(host.path(os.path.join(folder, name)), os.X_OK)


def read(host, home: str) -> Optional[Java]:
    """Return what lies in a folder, or None where that is no Java that could be started."""
    if not executable(host, os.path.join(home, "bin"), "java"):
        return None
    # A JDK 8 has the file in its own folder, a package of its JRE in none.
    match = _RELEASE.search(host.read_text(os.path.join(home, "release"), quiet=True))
    if not match:
        match = _SAID.search(host.run([host.path(os.path.join(home, "bin", "java")), "-version"], RUN_SECONDS).stderr)
    return Java(home, major(match.group(1)), match.group(1)) if match else None


def steadiness(java: Java):
    """Return a key that sorts first the path that names the major version and survives an update."""
    name = os.path.basename(java.home)
    names_major = re.search(rf"(^|-)(1\.)?{java.major}(\D|$)", name) is not None
    return not names_major, java.version.split("+")[0] in name, len(name), name


def find(host, folders: Sequence[str] = FOLDERS) -> List[Java]:
    """Return the Javas below the folders, each once, under the name that survives updates."""
    best = {}  # type: Dict[str, Java]
    for folder in folders:
        for name in host.listdir(folder, quiet=True):
            java = read(host, os.path.join(folder, name))
            if java:
                place = os.path.realpath(host.path(java.home))
                # A JDK 8 has its runtime once more in jre/, and links lead to that one too.
                place = place[: -len("/jre")] if place.endswith("/jre") else place
                if place not in best or steadiness(java) < steadiness(best[place]):
                    best[place] = java
    return sorted(best.values(), key=lambda java: java.home)


def choose(
    host, versions: Sequence[str], home: str = "", folders: Sequence[str] = FOLDERS, commands: Sequence[str] = ()
) -> Dict[str, Any]:
    """Return the first Java of the versions in their order, or the one at ``home``; and ``problem`` where none fits.

    ``missing`` has those of the commands that no folder of PATH has.
    """
    if home:
        java = read(host, home)
        found = [java] if java else []
        problem = None
        if not java:
            problem = f"there is no Java at {home}"
        elif java.major not in versions:
            problem = f"{home} is Java {java.version}"
    else:
        found = find(host, folders)
        java = next((one for version in versions for one in found if one.major == version), None)
        there = " and ".join(f"Java {one.version} ({one.home})" for one in found)
        problem = None if java else (f"there is {there}" if there else f"there is no Java below {' or '.join(folders)}")
    return {
        "home": java.home if java and not problem else None,
        "version": java.version if java and not problem else None,
        "major": java.major if java and not problem else None,
        "found": [one._asdict() for one in found],
        "problem": problem,
        "missing": [name for name in commands if not any(executable(host, folder, name) for folder in PATH)],
    }
