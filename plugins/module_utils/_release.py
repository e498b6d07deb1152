# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that are downloaded, verified and unpacked aside, and then swapped in.

``<root>/<name>/`` holds one folder for each release and ``current``, a link to the one in use. The marker in a folder
is written last: a folder without it is what an interrupted run left behind. Private to the collection.
"""

import fnmatch
import http.client
import os
import re
import shutil
import struct
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from ansible_collections.gpufleet.workstation.plugins.module_utils import _versioned
from ansible_collections.gpufleet.workstation.plugins.module_utils._download import open_url, why_not
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import (
    BLOCK,
    MARKER,
    Refused,
    current,
    digest,
    file_digest,
    held,
    key_of,
    lack_of_space,
    listdir,
    mount_of,
    redact,
    refuse_without_room,
    swap,
    umask,
    write_marker,
)

ALGORITHMS = {128: "sha512", 96: "sha384", 64: "sha256", 40: "sha1"}  # by the number of hexadecimal digits
CHECKSUM_FILE_LIMIT = 64 << 10
TRIES = 2  # of each source, because a cut connection is resumed where it was cut

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*$")
_HEX = r"[0-9a-fA-F]{40,128}"
_GNU_LINE = re.compile(rf"({_HEX})(?:[ \t]+\*?(\S.*))?$")
_BSD_LINE = re.compile(rf"[A-Za-z0-9-]+ ?\((.+)\) ?= ?({_HEX})$")
_GPG_NAME = re.compile(r"^\S[^\n:]*:")


class Wanted(NamedTuple):
    """What was asked for; the module's options under their own names."""

    name: str
    root: str
    version: str = ""
    state: str = "present"
    sources: Sequence[str] = ()
    checksum_sources: Sequence[str] = ()
    files: Sequence[Dict[str, Any]] = ()
    contents: Sequence[Dict[str, Any]] = ()
    cache_dir: str = "/var/cache/gpufleet/releases"
    ca_file: Optional[str] = None
    keep: int = 1
    minimum_free_bytes: int = 0
    timeout: int = 1800

    @property
    def folder(self) -> str:
        """Return the folder of all releases of this name."""
        return os.path.join(self.root, self.name)


class Unavailable(Exception):
    """One source could not give a file; another may. The text is a phrase."""


# Checksums


def parse_checksum(text: str, name: str) -> Optional[Tuple[str, str]]:
    """Return the algorithm and the digest that a checksum file has for a file, or None where it has none.

    Apache's projects write three styles: sha512sum's, BSD's (C(SHA512 (file) = ...)), and gpg's, in which the digest
    stands in groups over several lines. Some name a release candidate's file; the only digest there is counts all the
    same.
    """
    found = []  # type: List[Tuple[str, str]]
    for line in text.splitlines():
        gnu, bsd = _GNU_LINE.match(line.strip()), _BSD_LINE.match(line.strip())
        if bsd:
            found.append((bsd.group(1), bsd.group(2)))
        elif gnu:
            found.append((gnu.group(2) or "", gnu.group(1)))
    if not found:
        groups = _GPG_NAME.sub("", text.strip(), count=1).split()
        if groups and all(re.match(r"[0-9a-fA-F]+$", group) for group in groups):
            found.append(("", "".join(groups)))
    own = [digits for called, digits in found if os.path.basename(called.strip()) == name]
    several = set(own or [digits for _called, digits in found])
    if len(several) != 1:
        return None
    digits = several.pop().lower()
    return (ALGORITHMS[len(digits)], digits) if len(digits) in ALGORITHMS else None


def inline_checksum(text: str) -> Optional[Tuple[str, str]]:
    """Return algorithm and digest of V(sha512:...), or None where the text is the name of a checksum file."""
    algorithm, colon, digits = text.partition(":")
    if not colon or algorithm not in ALGORITHMS.values():
        return None
    if ALGORITHMS.get(len(digits)) != algorithm or not re.match(_HEX + "$", digits):
        raise Refused(f"files: {text!r} is no checksum; write {algorithm}: and its hexadecimal digits")
    return algorithm, digits.lower()


# What is asked for


def file_name(entry: Dict[str, Any]) -> str:
    """Return the last part of a file's path."""
    return os.path.basename(entry["path"])


def inputs(wanted: Wanted) -> Dict[str, Any]:
    """Return what makes one folder differ from another; the mirrors it came from do not."""
    return {
        "version": wanted.version,
        "files": [
            {
                "path": file_name(entry),
                "checksum": entry.get("checksum") or "",
                "unpack": bool(entry.get("unpack")),
                "dest": entry.get("dest") or "",
                "exclude": list(entry.get("exclude") or []),
            }
            for entry in wanted.files
        ],
        "contents": [[entry["dest"], digest(entry["content"]), entry.get("mode") or ""] for entry in wanted.contents],
    }


def judge(wanted: Wanted) -> None:
    """Refuse what cannot be done, before anything is done."""
    if not _NAME.match(wanted.name) or wanted.name == "current":
        raise Refused(f"name: {wanted.name!r} cannot name a folder; use letters, digits, '.', '_', '+' and '-'")
    if wanted.state == "previous":
        return
    if not _NAME.match(wanted.version) or wanted.version == "current":
        raise Refused(f"version: {wanted.version!r} cannot name a folder; use letters, digits, '.', '_', '+' and '-'")
    if not wanted.files and not wanted.contents:
        raise Refused("files: there is nothing to install; name at least one file")
    if wanted.files and not wanted.sources:
        raise Refused(f"sources: {wanted.name} can come from nowhere; name the URL of a mirror")
    for url in [*wanted.sources, *wanted.checksum_sources]:
        if urlsplit(url).scheme not in ("http", "https", "file"):
            raise Refused(f"sources: {redact(url)} is no URL of http, https or file")
    for entry in [*wanted.files, *wanted.contents]:
        if not inside(entry.get("dest") or ""):
            raise Refused(f"dest: {entry['dest']!r} leads out of the folder of the release; write a path inside it")
    for entry in wanted.files:
        inline_checksum(entry.get("checksum") or "")


def inside(path: str) -> bool:
    """Say whether a relative path stays below where it begins."""
    path = path.replace(os.sep, "/")
    return not path.startswith("/") and os.path.normpath(path or ".").split("/")[0] != ".."


# What is there


def read_marker(release: str) -> Optional[Dict[str, Any]]:
    """Return what was noted when the folder was finished; None for one that never was."""
    return _versioned.read_marker(release, "files")


def releases(folder: str) -> List[str]:
    """Return the names of all folders, finished or not."""
    return [
        name
        for name in listdir(folder)
        if _NAME.match(name) and os.path.isdir(os.path.join(folder, name)) and not os.path.islink(_in(folder, name))
    ]


def unfinished(folder: str) -> List[str]:
    """Return the rests of interrupted runs: folders that were begun, or are empty, and have no marker."""
    return [
        name
        for name in releases(folder)
        if read_marker(_in(folder, name)) is None
        and (os.path.lexists(_in(folder, name, MARKER + ".begun")) or not os.listdir(_in(folder, name)))
    ]


def finished(folder: str) -> List[str]:
    """Return the finished folders, the one that was used last first, the one in use before all."""
    used = current(folder)
    names = [name for name in releases(folder) if read_marker(_in(folder, name))]
    return sorted(
        names,
        key=lambda name: (name == used, os.stat(_in(folder, name, MARKER)).st_mtime_ns),
        reverse=True,
    )


def tree(release: str) -> Dict[str, int]:
    """Return the size of each file by its path; a link's is the length of its target."""
    sizes = {}
    for folder, folders, names in os.walk(release):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names + links:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, release)
            if not relative.startswith(MARKER):
                sizes[relative] = os.lstat(path).st_size
    return sizes


def drift(release: str, marker: Dict[str, Any]) -> List[str]:
    """Return one phrase for each file that is gone or has another size; a file more is no harm."""
    phrases = []
    for path, size in sorted(marker["files"].items()):
        try:
            found = os.lstat(os.path.join(release, path)).st_size
        except OSError:
            phrases.append(f"{path} is gone")
            continue
        if found != size:
            phrases.append(f"{path} has {found} bytes instead of {size}")
    return phrases


def built(folder: str, key: str) -> Optional[str]:
    """Return the finished folder of a key that nobody has altered, or None."""
    for name in finished(folder):
        marker = read_marker(_in(folder, name))
        if marker and marker.get("key") == key and not drift(_in(folder, name), marker):
            return name
    return None


def fresh_name(folder: str, version: str) -> str:
    """Return the name for a new folder of a version."""
    name, number = version, 1
    while os.path.lexists(_in(folder, name)):
        number += 1
        name = f"{version}-{number}"
    return name


def intact(folder: str, names: Sequence[str]) -> List[str]:
    """Return those of the finished folders that nobody has altered."""
    return [name for name in names if not drift(_in(folder, name), read_marker(_in(folder, name)) or {"files": {}})]


def superfluous(folder: str, used: Optional[str], keep: int) -> List[str]:
    """Return what can go: interrupted runs' rests, and all but the ``keep`` folders that were used last.

    One that was altered counts for none of them, but programs may still run from the one that was used last.
    """
    others = [name for name in finished(folder) if name != used]
    kept = intact(folder, others)[:keep] + others[:1] if keep > 0 else []
    return unfinished(folder) + [name for name in others if name not in kept]


# Downloads


def fetch(url: str, part: str, ca_file: Optional[str], deadline: float) -> int:
    """Download to C(part), going on where an earlier try was cut; return the bytes that came now."""
    have = os.path.getsize(part) if os.path.exists(part) else 0
    try:
        answer = open_url(url, ca_file, have)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise Unavailable(why_not(error)) from None
        os.unlink(part)  # there is no more of it than we have, so what we have is not it, or all of it
        have = 0
        try:
            answer = open_url(url, ca_file)
        except (OSError, http.client.HTTPException, ValueError) as again:
            raise Unavailable(why_not(again)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(why_not(error)) from None
    with answer:
        resumed = have and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        length = answer.headers.get("Content-Length")
        expected = int(length) if length and length.isdigit() else None
        lack = lack_of_space([os.path.dirname(part)], expected or 0)
        if lack:
            raise Refused(lack)
        came = 0
        with open(part, "ab" if resumed else "wb") as file:
            while expected is None or came < expected:
                try:
                    block = answer.read1(BLOCK)  # what there is: a whole block can be long in coming
                except (OSError, http.client.HTTPException) as error:
                    raise Unavailable(f"broke off after {came} bytes ({why_not(error)})") from None
                if not block:
                    break
                file.write(block)
                came += len(block)
                if time.monotonic() > deadline:
                    raise Refused(
                        f"{redact(url)} was not downloaded in time; run this again and it goes on, or raise timeout"
                    )
    if expected is not None and came != expected:
        raise Unavailable(f"broke off after {came} of {expected} bytes")
    return came


def join(base: str, path: str) -> str:
    """Return the URL of a path below another."""
    return base.rstrip("/") + "/" + path.lstrip("/")


def find_checksum(wanted: Wanted, entry: Dict[str, Any]) -> Tuple[str, str]:
    """Return a file's algorithm and digest: the ones given, or the ones that a checksum file has."""
    given = entry.get("checksum") or ""
    inline = inline_checksum(given)
    if inline:
        return inline
    path = os.path.join(os.path.dirname(entry["path"]), given) if given else entry["path"] + ".sha512"
    trouble = []
    for base in wanted.checksum_sources or wanted.sources:
        url = join(base, path)
        try:
            with open_url(url, wanted.ca_file) as answer:
                text = answer.read(CHECKSUM_FILE_LIMIT).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException, ValueError) as error:
            trouble.append(f"{redact(url)} {why_not(error)}")
            continue
        found = parse_checksum(text, file_name(entry))
        if found:
            return found
        trouble.append(f"{redact(url)} has no checksum of {file_name(entry)}")
    raise Refused(
        f"the checksum of {file_name(entry)} could not be had: {'; '.join(trouble)}. Check the network and the sources,"
        " or give the checksum in the inventory"
    )


def download(wanted: Wanted, entry: Dict[str, Any], deadline: float) -> Dict[str, Any]:
    """Return where a verified file lies in the cache, its checksum, and how it came there."""
    algorithm, digits = find_checksum(wanted, entry)
    # Hosts may share the folder, and none may remove what another one unpacks.
    target = os.path.join(wanted.cache_dir, f"{digits[:12]}-{file_name(entry)}.{os.uname().nodename}")
    noted = {"name": file_name(entry), "checksum": f"{algorithm}:{digits}", "path": target, "bytes": 0, "source": ""}
    if os.path.exists(target):
        if file_digest(target, algorithm).hexdigest() == digits:
            return noted
        os.unlink(target)
    part = target + ".part"
    trouble = []
    for base in wanted.sources:
        url = join(base, entry["path"])
        for _attempt in range(TRIES):
            resumed = os.path.exists(part)
            try:
                noted["bytes"] += fetch(url, part, wanted.ca_file, deadline)
            except Unavailable as phrase:
                problem = str(phrase)
                if "broke off" in problem:
                    continue
                break
            if file_digest(part, algorithm).hexdigest() == digits:
                os.replace(part, target)
                noted["source"] = redact(url)
                return noted
            os.unlink(part)
            problem = f"gives a file with another {algorithm} than {digits[:12]}..., damaged or replaced"
            if not resumed:
                break
        trouble.append(f"{redact(url)} {problem}")
    raise Refused(
        f"{file_name(entry)} could not be had: {'; '.join(trouble)}. Check the network, the proxy and the sources,"
        " and run this again; what has come already is kept"
    )


# Unpacking


def unpacked_size(path: str) -> int:
    """Return how much an archive unpacks to: gzip's own word for it, which is right below 4 GiB; else its size."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b" or size < 20:
            return size
        file.seek(-4, os.SEEK_END)
        return max(size, struct.unpack("<I", file.read(4))[0])


def refuse_member(member: tarfile.TarInfo, name: str, folder: str) -> Optional[str]:
    """Return why a member of an archive may not be unpacked, or None."""
    if not inside(member.name):
        return "leads out of the folder"
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return "is no file, folder or link"
    if member.issym() and not inside(os.path.join(os.path.dirname(name), member.linkname)):
        return f"is a link that leads out of the folder, to {member.linkname}"
    if member.issym() and member.linkname.startswith("/"):
        return f"is a link that leads out of the folder, to {member.linkname}"
    if member.islnk() and not inside(member.linkname):
        return f"is a link that leads out of the folder, to {member.linkname}"
    parent = os.path.join(os.path.realpath(folder), os.path.dirname(name)).rstrip("/")
    if os.path.realpath(parent) != os.path.normpath(parent):
        return "would be written through a link"
    return None


def stripped(name: str) -> str:
    """Return a member's name without the folder that the whole archive lies in."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts[1:])


def excluded(name: str, patterns: Sequence[str]) -> bool:
    """Say whether a path, or a folder above it, is left out."""
    parts = name.split("/")
    ways = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fnmatch.fnmatchcase(way, pattern) for way in ways for pattern in patterns)


def unpack(archive: str, folder: str, exclude: Sequence[str], deadline: float) -> None:
    """Unpack an archive without its outermost folder; refuse one that would reach out of where it is put."""
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            name = stripped(member.name)
            why = refuse_member(member, name, folder)
            if why:
                raise Refused(
                    f"{os.path.basename(archive)} was not unpacked: {member.name!r} in it {why}; get it from a source"
                    " that you trust"
                )
            if not name or excluded(name, exclude):
                continue
            place(tar, member, name, folder)
            if time.monotonic() > deadline:
                raise Refused(f"{os.path.basename(archive)} was not unpacked in time; raise timeout and run this again")


def place(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, folder: str) -> None:
    """Write one member: owned by whoever runs this, writable by nobody else, without set-id bits."""
    path = os.path.join(folder, name)
    os.makedirs(path if member.isdir() else os.path.dirname(path), exist_ok=True)
    if member.isdir():
        return
    if os.path.lexists(path):
        os.unlink(path)
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        os.link(os.path.join(folder, stripped(member.linkname)), path)
    else:
        with open(path, "wb") as file:
            shutil.copyfileobj(tar.extractfile(member), file, BLOCK)
        os.chmod(path, 0o755 if member.mode & 0o111 else 0o644)


# The whole


def build(wanted: Wanted, release: str, key: str) -> Dict[str, Any]:
    """Build a finished folder in its final place and return its marker."""
    deadline = time.monotonic() + wanted.timeout
    os.makedirs(wanted.cache_dir, exist_ok=True)
    got = [download(wanted, entry, deadline) for entry in wanted.files]
    sizes = [
        unpacked_size(one["path"]) if entry.get("unpack") else os.path.getsize(one["path"])
        for entry, one in zip(wanted.files, got)
    ]
    lack = lack_of_space([wanted.root], sum(sizes))
    if lack:
        raise Refused(lack)
    os.makedirs(release)
    with open(os.path.join(release, MARKER + ".begun"), "w", encoding="utf-8"):
        pass
    for entry, one in zip(wanted.files, got):
        dest = os.path.join(release, entry.get("dest") or "")
        if entry.get("unpack"):
            try:
                unpack(one["path"], dest, entry.get("exclude") or [], deadline)
            except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
                if getattr(error, "errno", None) is not None:
                    raise  # the disk's word, not the archive's
                said = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
                raise Refused(
                    f"{one['name']} cannot be unpacked ({said}) although its checksum is right; name another archive"
                ) from None
        else:
            path = os.path.join(dest, one["name"]) if not entry.get("dest") or dest.endswith("/") else dest
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copyfile(one["path"], path)
    for entry in wanted.contents:
        path = os.path.join(release, entry["dest"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(entry["content"])
        os.chmod(path, int(entry.get("mode") or "0644", 8) & 0o755)
    os.sync()
    marker = {
        "key": key,
        "inputs": inputs(wanted),
        "version": wanted.version,
        "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "downloads": [{name: one[name] for name in ("name", "checksum", "source", "bytes")} for one in got],
        "files": tree(release),
    }
    write_marker(release, marker)
    os.unlink(os.path.join(release, MARKER + ".begun"))
    for one in got:
        os.unlink(one["path"])
    return marker


def ensure(wanted: Wanted, check_mode: bool = False) -> Dict[str, Any]:
    """Make the release so, or in check mode say what would be done; return the module's result."""
    began = time.time()
    judge(wanted)
    if check_mode:
        result = predict(wanted)
    else:
        try:
            with umask(0o022), held(wanted.folder, wanted.timeout):
                result = go_back(wanted) if wanted.state == "previous" else apply(wanted)
        except OSError as exc:
            raise Refused(f"{exc.filename or wanted.folder}: {exc.strerror}; mend that and run this again") from None
    result["seconds"] = round(time.time() - began, 3)
    return result


def apply(wanted: Wanted) -> Dict[str, Any]:
    """Build what is not there, take it into use, remove what is no longer kept."""
    folder, key = wanted.folder, key_of(inputs(wanted))
    used, name = current(folder), built(folder, key)
    reason = why(wanted, key, used, name) if name is None or name != used else ""
    removed, marker = [], None
    if name is None:
        removed = remove_all(folder, unfinished(folder))
        name = fresh_name(folder, wanted.version)
        try:
            refuse_without_room([wanted.root, wanted.cache_dir], wanted.minimum_free_bytes, wanted.ca_file)
            marker = build(wanted, _in(folder, name), key)
        except BaseException as exc:
            shutil.rmtree(_in(folder, name), ignore_errors=True)
            kept = f"; {_in(folder, 'current')} still leads to {used}" if used else ""
            if isinstance(exc, Refused):
                raise Refused(f"{exc}{kept}") from None
            if isinstance(exc, OSError):
                what = exc.strerror or str(exc)
                raise Refused(
                    f"{exc.filename or _in(folder, name)}: {what}; the filesystems are {mount_of(wanted.root)} and"
                    f" {mount_of(wanted.cache_dir)}; mend that and run this again{kept}"
                ) from None
            raise
    if name != used:
        swap(folder, name)
    removed += remove_all(folder, superfluous(folder, name, wanted.keep))
    return outcome(wanted, name, used, reason, removed, marker)


def predict(wanted: Wanted) -> Dict[str, Any]:
    """Return what would be done, as far as it can be known without the network."""
    folder = wanted.folder
    used = current(folder)
    if wanted.state == "previous":
        return outcome(wanted, previous(wanted), used, "going back was asked for", [])
    key = key_of(inputs(wanted))
    name = built(folder, key)
    if name is None:  # a task before this one may bring the certificates
        refuse_without_room([wanted.root, wanted.cache_dir], wanted.minimum_free_bytes, None)
    reason = why(wanted, key, used, name) if name is None or name != used else ""
    name = name or fresh_name(folder, wanted.version)
    return outcome(wanted, name, used, reason, [_in(folder, old) for old in superfluous(folder, name, wanted.keep)])


def previous(wanted: Wanted) -> str:
    """Return the folder that was in use before the current one, or refuse."""
    folder = wanted.folder
    used = current(folder)
    names = [name for name in finished(folder) if name != used]
    if not names:
        raise Refused(f"{folder} keeps no release before {used or 'the first one'}; install the version that you want")
    whole = intact(folder, names)
    if not whole:
        altered = drift(_in(folder, names[0]), read_marker(_in(folder, names[0])) or {"files": {}})
        raise Refused(f"{_in(folder, names[0])} was altered ({', '.join(altered[:3])}); install that version anew")
    return whole[0]


def go_back(wanted: Wanted) -> Dict[str, Any]:
    """Take the release that was in use before into use again."""
    used, name = current(wanted.folder), previous(wanted)
    swap(wanted.folder, name)
    return outcome(wanted, name, used, "going back was asked for", [])


def why(wanted: Wanted, key: str, used: Optional[str], ready: Optional[str]) -> str:
    """Return the sentence that says why the release in use is not left as it is."""
    if not used:
        return "there is no release in use yet"
    release = _in(wanted.folder, used)
    marker = read_marker(release)
    if marker is None:
        return f"{release} is unfinished or gone"
    altered = drift(release, marker)
    if altered and marker.get("key") == key:
        more = f" and {len(altered) - 3} more" if len(altered) > 3 else ""
        return f"{release} was altered: {', '.join(altered[:3])}{more}"
    asked, made_from = inputs(wanted), marker.get("inputs") or {}
    names = sorted(name for name in asked if asked[name] != made_from.get(name))
    return f"other {', '.join(names) or 'inputs'} than {used} was made from" + (
        f"; {ready} is at hand" if ready else ""
    )


def outcome(
    wanted: Wanted,
    name: str,
    used: Optional[str],
    reason: str,
    removed: List[str],
    marker: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Return the module's result for a release that is in use, or would be."""
    link = _in(wanted.folder, "current")
    others = intact(wanted.folder, [other for other in finished(wanted.folder) if other != name])
    noted = read_marker(_in(wanted.folder, name)) or {}
    return {
        "changed": bool(reason or removed),
        "reason": reason,
        "path": _in(wanted.folder, name),
        "current": link,
        "version": noted.get("version") or wanted.version,
        "previous": _in(wanted.folder, others[0]) if others and _in(wanted.folder, others[0]) not in removed else "",
        "downloads": (marker or {}).get("downloads", []),
        "removed": removed,
        "diff": {
            "before_header": link,
            "before": f"{used}\n" if used else "",
            "after_header": link,
            "after": f"{name}\n",
        },
    }


def remove_all(folder: str, names: Sequence[str]) -> List[str]:
    """Remove folders; cut off in the middle, one is an interrupted run's rest and not half a release."""
    for name in names:
        with open(_in(folder, name, MARKER + ".begun"), "w", encoding="utf-8"):
            pass
        if os.path.lexists(_in(folder, name, MARKER)):
            os.unlink(_in(folder, name, MARKER))
        shutil.rmtree(_in(folder, name))
    return [_in(folder, name) for name in names]


def _in(folder: str, *names: str) -> str:
    return os.path.join(folder, *names)
