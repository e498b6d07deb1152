# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that are built aside and swapped in, whatever is in them. Private to the collection.

``<folder>/`` holds one folder for each build, named after what it was made from, and ``current``, a link to the one in
use. The marker in a folder is written last: a folder without it is what an interrupted run left behind.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union
from urllib.parse import unquote

MARKER = ".gpufleet.json"
MINIMUM_FREE_FILES = 50000
BLOCK = 1 << 20
PROCESSES_SECONDS = 30
HIDDEN = "(its content is secret)\n"

_FOLDER = re.compile(r"[0-9a-f]{12}(-\d+)?$")
_LOGIN = re.compile(r"://[^/\s]*@")


class Refused(Exception):
    """Carries the one sentence that says what stands in the way, and the way out."""


# What is secret


def redact(text: str) -> str:
    """Return the text without the logins in its URLs."""
    return _LOGIN.sub("://***@", text)


def secrets(urls: List[str]) -> List[str]:
    """Return the passwords and tokens in URLs, as written and decoded, for a caller to keep out of its output."""
    found = set()
    for url in urls:
        match = _LOGIN.search(url)
        if match:
            user, _colon, password = match.group()[3:-1].partition(":")
            found.update({password or user, unquote(password or user)})
    return sorted(found - {""})


def hide_logins(module, urls: List[str]) -> None:
    """Have a module keep only the logins in URLs secret, or no message could name the URL that does not answer."""
    module.no_log_values.difference_update(urls)
    module.no_log_values.update(secrets(urls))


# What is there


def read_marker(path: str, part: str = "packages") -> Optional[Dict[str, Any]]:
    """Return what was noted, a dict in ``part`` at least, when a build was finished; None for one that never was."""
    try:
        marker = json.loads(read(os.path.join(path, MARKER)))
    except ValueError:
        return None
    return marker if isinstance(marker, dict) and isinstance(marker.get(part), dict) else None


def current(folder: str) -> Optional[str]:
    """Return the name of the build in use, or None; refuse a C(current) that is not ours."""
    path = os.path.join(folder, "current")
    if os.path.islink(path):
        return os.path.basename(os.readlink(path).rstrip("/"))
    if os.path.lexists(path):
        raise Refused(f"{path} is not a link, so it was not made here; move it away and run this again")
    return None


def builds(folder: str) -> List[str]:
    """Return the names of all builds, finished or not."""
    return [name for name in listdir(folder) if _FOLDER.match(name) and os.path.isdir(os.path.join(folder, name))]


def fresh_name(folder: str, key: str) -> str:
    """Return the name for a new build of a key."""
    name, number = key[:12], 1
    while os.path.lexists(os.path.join(folder, name)):
        number += 1
        name = f"{key[:12]}-{number}"
    return name


def unfinished(folder: str) -> List[str]:
    """Return the rests of interrupted runs."""
    return [name for name in builds(folder) if read_marker(os.path.join(folder, name)) is None]


def others(folder: str, used: Optional[str]) -> List[str]:
    """Return the finished builds but one, the one that was used last first."""
    last = current(folder)
    rests = unfinished(folder)
    finished = [name for name in builds(folder) if name != used and name not in rests]
    finished.sort(
        key=lambda name: (name == last, os.path.getmtime(os.path.join(folder, name, MARKER))),
        reverse=True,
    )
    return finished


def superfluous(folder: str, used: Optional[str], keep: int, altered: Optional[str] = None) -> List[str]:
    """Return what can go: interrupted runs' rests, and all but the ``keep`` builds that were used last.

    One that was altered goes first: nobody can go back to it.
    """
    finished = sorted(others(folder, used), key=lambda name: name == altered)
    return unfinished(folder) + finished[max(0, keep) :]


def unoccupied(host, names: List[str]) -> List[str]:
    """Return the builds that no process works from; none of them where that cannot be told.

    A process that hangs in a driver holds its memory map, and whoever reads that hangs too: a child process does it.
    """
    if not names:
        return []
    answer, _error = host.in_child(lambda: "\n".join(_occupied(names)).encode("ascii"), PROCESSES_SECONDS)
    return [] if answer is None else [name for name in names if name not in answer.decode("ascii").split()]


def _occupied(names: List[str]) -> List[str]:
    """Return the builds that a process has mapped files of or has been told of; their names are like no other's."""
    found = set()
    for process in filter(str.isdigit, listdir("/proc")):
        for part in ("maps", "environ"):
            try:
                with open(os.path.join("/proc", process, part), "rb") as file:
                    text = file.read()
            except OSError:
                continue  # it has ended, or is another user's
            found.update(name for name in names if f"/{name}/".encode("ascii") in text)
    return sorted(found)


# What changes it


def write_file(
    path: str, content: Union[str, bytes], mode: int = 0o644, owner: Optional[Tuple[int, int]] = None
) -> None:
    """Write a file whole or not at all, so that nobody who may not read it ever could. ``owner``: user and group."""
    folder, name = os.path.split(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=name + ".", suffix=".new", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            if owner:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def put_file(place: str, path: str, text: str, check_mode: bool, mode: int = 0o644) -> Optional[Dict[str, str]]:
    """Make a file be so, or not be if the text is empty; return the difference, which calls it ``path``, or None.

    What others may not read, as ``mode`` has it, is no part of the difference.
    """
    there, before, exposed = os.path.exists(place), "", False
    if there:
        with open(place, "rb") as file:
            before = file.read().decode("utf-8", "replace")
            exposed = bool(os.fstat(file.fileno()).st_mode & 0o077)
    secret = not mode & 0o077
    if before == text and there == bool(text) and not (secret and exposed):
        return None
    if not check_mode:
        if text:
            write_file(place, text, mode)
        else:
            os.unlink(place)
    if secret or (there and not exposed):
        before, text = before and HIDDEN, text and HIDDEN
    return {"before_header": path, "after_header": path, "before": before, "after": text}


def write_marker(path: str, marker: Dict[str, Any]) -> None:
    """Note that a build is finished, after everything else of it has reached the disk."""
    write_file(os.path.join(path, MARKER), json.dumps(marker, indent=2, sort_keys=True) + "\n")
    _sync(path)


def remove(path: str) -> None:
    """Remove a build; cut off in the middle, it is an interrupted run's rest and not half a build."""
    if os.path.lexists(os.path.join(path, MARKER)):
        os.unlink(os.path.join(path, MARKER))
    shutil.rmtree(path)


def swap(folder: str, name: str) -> None:
    """Make a build the one in use, in one step that either has happened or has not."""
    link = os.path.join(folder, "current")
    for used in (current(folder), name):  # in this order: the marker's time says which was used last
        if used and os.path.exists(os.path.join(folder, used, MARKER)):
            os.utime(os.path.join(folder, used, MARKER))
    if os.path.lexists(link + ".new"):
        os.unlink(link + ".new")
    os.symlink(name, link + ".new")
    os.replace(link + ".new", link)
    _sync(folder)


# What it needs


def lack_of_space(paths: List[str], needed: int) -> Optional[str]:
    """Return a sentence about the first filesystem below the paths that has too little room, or None."""
    for path in paths:
        mount, state = mount_of(path), os.statvfs(_existing(path))
        free = state.f_bavail * state.f_frsize
        if free < needed:
            return (
                f"{mount}, which holds {path}, has {_gigabytes(free)} free and {_gigabytes(needed)} are needed; "
                "free some space or choose a folder on a larger disk"
            )
        if state.f_files and state.f_favail < MINIMUM_FREE_FILES:
            return (
                f"{mount}, which holds {path}, has room for {state.f_favail} more files and {MINIMUM_FREE_FILES} are "
                "needed; remove some files or choose a folder on another filesystem"
            )
    return None


def mount_of(path: str) -> str:
    """Return the mount point of the filesystem that holds a path, or would."""
    path = os.path.realpath(_existing(path))
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


@contextmanager
def held(folder: str, timeout: int) -> Iterator[int]:
    """Keep other runs out of a folder; wait for one that is at work."""
    deadline = time.time() + timeout
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.time() > deadline:
                    raise Refused(
                        f"another run has held {folder}/.lock for {timeout} seconds; let it end, then run this again"
                    ) from None
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Create files that every user of the host may read, also where root's umask says otherwise."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _existing(path: str) -> str:
    """Return the nearest folder above a path that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path.rstrip("/")) or "/"
    return path


def refuse_without_room(paths: List[str], needed: int, ca_file: Optional[str]) -> None:
    """Stop where a build would fill a disk or could trust nobody."""
    lack = lack_of_space(paths, needed)
    if lack:
        raise Refused(lack)
    if ca_file and not os.path.isfile(ca_file):
        raise Refused(f"there is no CA bundle at {ca_file}; role bootstrap installs certificates, or correct ca_file")


def key_of(made_from: Dict[str, Any]) -> str:
    """Return the name that a build has by what it is made from."""
    return digest(json.dumps(made_from, sort_keys=True))


def file_digest(path: str, algorithm: str = "sha256"):
    """Return a file's checksum, as hashlib's object."""
    checksum = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            checksum.update(block)
    return checksum


def digest(text: str) -> str:
    """Return the text's SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def listdir(path: Optional[str]) -> List[str]:
    """Return the sorted names in a folder; none where it cannot be read."""
    try:
        return sorted(os.listdir(path)) if path else []
    except OSError:
        return []


def read(path: str) -> str:
    """Return a file's text; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
