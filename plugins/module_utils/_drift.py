# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds what somebody changed in an installed environment. Private to the collection.

Cheap first: sizes and times of all files, one digest for each name at the top of site-packages and for bin/. Only where
a digest differs are files compared with what their wheel's RECORD says of them; a time alone is no difference.
"""

import csv
import hashlib
import os
import re
from base64 import urlsafe_b64encode
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import file_digest, listdir

NAMED = 3  # files that are named for each package
_BYTECODE = "__pycache__"


class Recorded(NamedTuple):
    """What a wheel says of one of its files; empty and None where it says nothing."""

    package: str
    sha256: str
    size: Optional[int]


class Altered(NamedTuple):
    """What somebody did to a package: sentences' parts, and whether uv's cache has the altered bytes as well."""

    package: str
    phrase: str
    shared: bool


def site_packages(environment: str) -> Optional[str]:
    """Return the folder that packages are installed in, or None."""
    library = os.path.join(environment, "lib")
    for name in listdir(library):
        path = os.path.join(library, name, "site-packages")
        if name.startswith("python") and os.path.isdir(path):
            return path
    return None


def normal_name(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fingerprint(environment: str) -> Dict[str, str]:
    """Return a digest of names, sizes and times for each entry of site-packages and for C(bin), without bytecode."""
    packages = site_packages(environment)
    places = {name: os.path.join(packages or "", name) for name in listdir(packages) if name != _BYTECODE}
    places["bin"] = os.path.join(environment, "bin")
    return {name: _digest(path) for name, path in places.items()}


def _digest(path: str) -> str:
    lines = []
    if os.path.islink(path) or not os.path.isdir(path):
        lines.append(_line(path, os.lstat(path)))
    else:
        lines.extend(_line(entry.path[len(path) :], entry.stat(follow_symlinks=False)) for entry in _files(path))
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _line(name: str, state: os.stat_result) -> str:
    return f"{name}\t{state.st_size}\t{state.st_mtime_ns}"


def _files(folder: str) -> Iterator["os.DirEntry[str]"]:
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != _BYTECODE:
                        waiting.append(entry.path)
                else:
                    yield entry


def records(environment: str) -> Dict[str, Recorded]:
    """Return what the wheels say of their files, by absolute path."""
    packages = site_packages(environment)
    found = {}
    for name in listdir(packages):
        if not name.endswith(".dist-info"):
            continue
        package = normal_name(name[: -len(".dist-info")].partition("-")[0])
        try:
            with open(os.path.join(packages or "", name, "RECORD"), encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file))
        except (OSError, ValueError, csv.Error):
            continue
        for row in rows:
            if len(row) == 3:
                sha256 = row[1][len("sha256=") :] if row[1].startswith("sha256=") else ""
                path = os.path.normpath(os.path.join(packages or "", row[0]))
                found[path] = Recorded(package, sha256, int(row[2]) if row[2].isdigit() else None)
    return found


def altered(environment: str, noted: Dict[str, str]) -> List[Altered]:
    """Return what differs from the fingerprint that was noted, after a look at the bytes, for each package."""
    now = fingerprint(environment)
    suspicious = [name for name in sorted(set(noted) | set(now)) if noted.get(name) != now.get(name)]
    if not suspicious:
        return []
    packages = site_packages(environment) or ""
    told = records(environment)
    changes = {}  # type: Dict[str, List[Tuple[str, bool]]]
    for name in suspicious:
        place = os.path.join(environment if name == "bin" else packages, name)
        there = set(_paths(place))
        for path in sorted(there | {known for known in told if known == place or known.startswith(place + os.sep)}):
            recorded = told.get(path)
            if recorded is None and (name == "bin" or (path == place and name in noted)):
                continue  # uv's own; what no wheel tells of cannot be compared
            package = recorded.package if recorded else name
            what = "was added" if recorded is None else _difference(path, recorded)
            if what:
                shared = what == "was changed" and os.lstat(path).st_nlink > 1
                changes.setdefault(package, []).append((f"{os.path.relpath(path, packages)} {what}", shared))
    return [
        Altered(package, _some(files), any(shared for _file, shared in files)) for package, files in changes.items()
    ]


def _paths(place: str) -> Iterator[str]:
    if os.path.isdir(place) and not os.path.islink(place):
        for entry in _files(place):
            yield entry.path
    elif os.path.lexists(place):
        yield place


def _difference(path: str, recorded: Recorded) -> str:
    """Return what was done to a file, or nothing."""
    if _BYTECODE in path:
        return ""
    try:
        size = os.path.getsize(path)
        if recorded.size not in (None, size) or (recorded.sha256 and sha256(path) != recorded.sha256):
            return "was changed"
    except (OSError, ValueError):
        return "is gone"
    return ""


def sha256(path: str) -> str:
    """Return the checksum of a file as a wheel's RECORD writes it."""
    return urlsafe_b64encode(file_digest(path).digest()).decode("ascii").rstrip("=")


def _some(files: List[Tuple[str, bool]]) -> str:
    words = ", ".join(file for file, _shared in files[:NAMED])
    return words + (f" and {len(files) - NAMED} more" if len(files) > NAMED else "")


def wrong_sizes(environment: str) -> List[str]:
    """Return the packages with a file that has not the size that its wheel says: what uv's cache gave was altered."""
    wrong = set()
    for path, recorded in records(environment).items():
        try:
            if recorded.size not in (None, os.path.getsize(path)):
                wrong.add(recorded.package)
        except (OSError, ValueError):
            if _BYTECODE not in path:
                wrong.add(recorded.package)
    return sorted(wrong)


def phrases(found: Iterable[Altered]) -> List[str]:
    """Return the words for what was found."""
    return [one.phrase for one in found]
