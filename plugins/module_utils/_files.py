# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of folders and configuration files, compared and written as one. Private to the collection."""

import base64
import binascii
import grp
import os
import pwd
import stat
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import HIDDEN, Refused, write_file


class State(NamedTuple):
    """What a path is to be, or is: a folder without content, a file with, and neither where there is nothing."""

    kind: str
    content: Optional[bytes]
    mode: Optional[int]
    uid: Optional[int]
    gid: Optional[int]


def parse_mode(text: str) -> int:
    """Return a mode of octal digits as a number; refuse words, and digits that YAML has taken for a number."""
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise Refused(f"mode: {text!r} is no file mode; write it in quotation marks, '0644' for example")
    return mode


def uid_of(owner: str) -> int:
    """Return the number of a user."""
    try:
        return int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise Refused(f"there is no user {owner}; create it first") from None


def gid_of(group: str) -> int:
    """Return the number of a group."""
    try:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise Refused(f"there is no group {group}; create it first") from None


def look(path: str) -> State:
    """Return what a path is now. A link to a file counts as the link, which a write replaces."""
    try:
        entry = os.lstat(path)
    except FileNotFoundError:
        return State("absent", None, None, None, None)
    mode = stat.S_IMODE(entry.st_mode)
    if stat.S_ISREG(entry.st_mode):
        with open(path, "rb") as file:
            return State("file", file.read(), mode, entry.st_uid, entry.st_gid)
    if stat.S_ISDIR(entry.st_mode) or os.path.isdir(path):
        return State("directory", None, mode, entry.st_uid, entry.st_gid)
    return State("link" if stat.S_ISLNK(entry.st_mode) else "other", None, None, entry.st_uid, entry.st_gid)


def wish(asked: Dict[str, Any], kind: str, check_mode: bool) -> State:
    """Return what a path is to be. In check mode, a user that a task before would have made has no number yet."""
    try:
        uid, gid = uid_of(asked["owner"]), gid_of(asked["group"])
    except Refused:
        if not check_mode:
            raise
        uid = gid = None
    content = content_of(asked) if kind == "file" else None
    return State(kind, content, parse_mode(asked["mode"]), uid, gid)


def content_of(asked: Dict[str, Any]) -> bytes:
    """Return what a file is to hold; refuse what says that it is Base64 and is not."""
    if not asked.get("base64"):
        return asked["content"].encode("utf-8")
    try:
        return base64.b64decode("".join(asked["content"].split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"the content of {asked['path']} is not Base64; encode the file with base64 -w0") from None


def differs(there: State, wanted: State) -> bool:
    """Say whether anything has to be done about a path."""
    return there != wanted


def show(asked: Dict[str, Any], there: State, wanted: State) -> Dict[str, str]:
    """Return what a diff of a path shows: the content, and a line about mode and owner where these change.

    What others may not read yet is no part of it, whatever becomes of it.
    """
    secret = asked.get("secret", False)
    before, after = ("" if one.content is None else _text(one.content) for one in (there, wanted))
    if secret or (there.mode is not None and not there.mode & 0o007):
        before = before and HIDDEN
    if secret:
        after = after and HIDDEN
        if there.content is not None and there.content != wanted.content:
            after = "(another content, which is secret)\n"
    if there[2:] != wanted[2:]:
        before = _owner_line(there) + before
        after = _owner_line(wanted) + after
    return {"before_header": asked["path"], "after_header": asked["path"], "before": before, "after": after}


def plan(
    folders: List[Dict[str, Any]], files: List[Dict[str, Any]], absent: List[str], check_mode: bool
) -> List[Tuple[Dict[str, Any], State, State]]:
    """Return what has to be done, in order: each as what was asked, what is there, and what is to be."""
    steps = []
    for kind, listed in (("directory", folders), ("file", files)):
        for asked in listed:
            there, wanted = look(asked["path"]), wish(asked, kind, check_mode)
            if there.kind == "directory" and kind == "file":
                raise Refused(f"{asked['path']} is a folder where a file should be; move it away")
            if there.kind not in ("directory", "absent") and kind == "directory":
                raise Refused(f"{asked['path']} is a file where a folder should be; move it away")
            if differs(there, wanted):
                steps.append((asked, there, wanted))
    for path in absent:
        there = look(path)
        if there.kind == "directory":
            raise Refused(f"{path} is a folder and not the file that was written here once; move it away")
        if there.kind != "absent":
            steps.append(({"path": path, "secret": True}, there, State("absent", None, None, None, None)))
    return steps


def carry_out(asked: Dict[str, Any], there: State, wanted: State) -> None:
    """Make one path so. A file is whole at every moment, and nobody who may not read it ever could."""
    path = asked["path"]
    if wanted.kind == "absent":
        os.unlink(path)
        return
    if wanted.kind == "directory":
        os.makedirs(path, mode=0o755, exist_ok=True)
        os.chown(path, wanted.uid, wanted.gid)
        os.chmod(path, wanted.mode)
        return
    write_file(path, wanted.content, wanted.mode, (wanted.uid, wanted.gid))


def _owner_line(state: State) -> str:
    if state.kind == "absent":
        return ""
    mode = "----" if state.mode is None else f"{state.mode:04o}"
    return f"# mode {mode}, owner {state.uid}, group {state.gid}\n"


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
