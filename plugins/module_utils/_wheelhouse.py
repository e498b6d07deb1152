# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder with exactly the wheels that locks name, fetched once for a whole fleet. Private to the collection."""

import json
import os
import re
import shutil
import sys
import time
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import (
    Refused,
    digest,
    file_digest,
    held,
    listdir,
    read,
    redact,
    refuse_without_room,
    umask,
    write_file,
)

NOTES = ".gpufleet-wheelhouse.json"
# The ages of glibc that wheels are made for, the tags' old names included.
OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}

_CAUSES = (
    (r"No space left on device", "the disk became full; free some space on {path}"),
    (
        r"DO NOT MATCH THE HASHES",
        "a file on the index does not have the checksum that the lock names, so it is damaged or was replaced",
    ),
    (r"CERTIFICATE_VERIFY_FAILED", "the certificate of the index is not trusted here; name the CA bundle in ca_file"),
    (r"40[137] Client Error|Unauthorized", "the index refuses the login; correct it in the index URL"),
    (
        r"NewConnectionError|ReadTimeout|ConnectTimeout|Max retries|ProxyError|ConnectionError|ConnectionReset",
        "the index could not be reached; check the network, the proxy and the index URL",
    ),
    (
        r"No matching distribution found for (\S+)|Could not find a version that satisfies the requirement (\S+)",
        "the index does not offer {what} for Python {python} and glibc {glibc}; make the lock anew",
    ),
    (r"No module named pip", "{python_here} has no pip; install python3-pip, or name one that has in python_command"),
    (r"", "pip could not finish"),
)


class Lock(NamedTuple):
    """A list with hashes and the machines that it is for."""

    lock: str
    python: str
    glibc: str
    extra_index_urls: Sequence[str] = ()

    @property
    def key(self) -> str:
        """Return the name of the lock in the notes."""
        return digest("\n".join([self.lock, self.python, self.glibc]))[:16]


class Wanted(NamedTuple):
    """What was asked for; the module's options under their own names."""

    path: str
    locks: Sequence[Lock]
    index_url: str = ""
    extra_index_urls: Sequence[str] = ()
    use_index: bool = True
    find_links: Optional[str] = None
    ca_file: Optional[str] = None
    python_command: Sequence[str] = ()
    minimum_free_bytes: int = 0
    prune: bool = True
    timeout: int = 3600


def locks_of(fleet_lock: Dict[str, Any]) -> List[Lock]:
    """Return the lists of a fleet's lock, each once, or refuse a lock that does not say what they are for."""
    found = {}
    for name, kept in sorted((fleet_lock.get("classes") or {}).items()):
        for framework, text in sorted((kept.get("locks") or {}).items()):
            target = (kept.get("targets") or {}).get(framework)
            if not target:
                raise Refused(f"the lock does not say which Python and glibc {name} has; make it anew with plan.yml")
            more = tuple(target.get("extra_index_urls") or ())
            lock = Lock(text, str(target["python"]), str(target["glibc"]), more)
            found[lock.key] = lock
    return list(found.values())


def platforms(glibc: str) -> List[str]:
    """Return the tags of wheels that run on x86_64 machines with a glibc, the newest first."""
    major, minor = (int(part) for part in glibc.split(".")[:2])
    tags = []
    for age in range(minor if major == 2 else 17, 4, -1):
        tags.append(f"manylinux_2_{age}_x86_64")
        if age in OLD_NAMES:
            tags.append(f"{OLD_NAMES[age]}_x86_64")
    return [*tags, "linux_x86_64"]


def runs_on(name: str, lock: Lock) -> bool:
    """Return whether a wheel is for the machines that a lock is for, by its name."""
    pythons, abis, systems = (set(part.split(".")) for part in name[: -len(".whl")].rsplit("-", 3)[1:])
    major, minor = (int(part) for part in lock.python.split(".")[:2])
    own = f"cp{major}{minor}"
    if "abi3" in abis:
        fits = bool(pythons & {f"cp{major}{older}" for older in range(2, minor + 1)})
    else:
        fits = bool(pythons & {own, f"py{major}"} and abis & {own, own + "m", "none"})
    return fits and bool(systems & {*platforms(lock.glibc), "any"})


def at_hand(lock: Lock, notes: Dict[str, Any]) -> Tuple[List[str], str]:
    """Return the files here that serve a lock, and what is left of it to fetch.

    pip is not asked for them: of two files it prefers that of the index, which says its checksum beforehand.
    """
    names, left = [], []
    by_checksum = {noted[2]: name for name, noted in notes["files"].items() if runs_on(name, lock)}
    for line in re.sub(r"\\\n", " ", lock.lock).splitlines():
        there = [by_checksum[found] for found in re.findall(r"sha256:([0-9a-f]{64})", line) if found in by_checksum]
        names += there[:1]
        left += [] if there else [line + "\n"]
    return names, "".join(left)


def command(wanted: Wanted, lock: Lock, listed: str, dest: str) -> List[str]:
    """Return pip's command line; logins are in its environment, where no other user sees them."""
    argv = [*(wanted.python_command or [sys.executable]), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    argv += ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", dest]
    argv += ["--python-version", lock.python, "--implementation", "cp"]
    for tag in platforms(lock.glibc):
        argv += ["--platform", tag]
    argv += ["--find-links", wanted.path]  # what the site has put there itself
    argv += ["--find-links", wanted.find_links] if wanted.find_links and not _is_page(wanted) else []
    argv += [] if wanted.use_index else ["--no-index"]
    return [*argv, "--requirement", listed]


def _is_page(wanted: Wanted) -> bool:
    return "://" in (wanted.find_links or "")


def environment_of_pip(wanted: Wanted, lock: Lock, scratch: str) -> Dict[str, str]:
    """Return the environment variables for pip."""
    variables = {"TMPDIR": scratch, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    if wanted.index_url:
        variables["PIP_INDEX_URL"] = wanted.index_url
    if wanted.extra_index_urls or lock.extra_index_urls:
        variables["PIP_EXTRA_INDEX_URL"] = " ".join([*wanted.extra_index_urls, *lock.extra_index_urls])
    if wanted.find_links and _is_page(wanted):
        variables["PIP_FIND_LINKS"] = wanted.find_links
    if wanted.ca_file:
        variables["PIP_CERT"] = wanted.ca_file
    return variables


def explain(stderr: str, wanted: Wanted, lock: Lock) -> str:
    """Return the sentence for a failure of pip."""
    for pattern, sentence in _CAUSES:
        match = re.search(pattern, stderr)
        if match:
            what = next((group for group in match.groups() if group), "") if match.groups() else ""
            lines = [line for line in redact(stderr).splitlines() if "ERROR" in line or "rror:" in line]
            here = (wanted.python_command or [sys.executable])[0]
            said = sentence.format(what=what, path=wanted.path, python=lock.python, glibc=lock.glibc, python_here=here)
            return f"{said} (pip: {' '.join(lines)[:600] or 'no message'})"
    raise AssertionError  # the last pattern matches everything


def read_notes(path: str) -> Dict[str, Any]:
    """Return what was noted: C(files) with size, time and checksum by name, and C(locks) with names of files by key."""
    try:
        notes = json.loads(read(os.path.join(path, NOTES)))
        return {"files": dict(notes["files"]), "locks": dict(notes["locks"])}
    except (ValueError, KeyError, TypeError):
        return {"files": {}, "locks": {}}


def intact(path: str, name: str, noted: Optional[Sequence[Any]]) -> bool:
    """Return whether a file is the one that was noted; it is read only where its size or its time differ."""
    place = os.path.join(path, name)
    try:
        state = os.stat(place)
    except OSError:
        return False
    if not noted or state.st_size != noted[0]:
        return False
    return state.st_mtime_ns == noted[1] or file_digest(place).hexdigest() == noted[2]


def lacking(wanted: Wanted, notes: Dict[str, Any]) -> List[Lock]:
    """Return the locks of which a wheel is not there, or is not the one that was fetched."""
    return [
        lock
        for lock in wanted.locks
        if lock.key not in notes["locks"]
        or not all(intact(wanted.path, name, notes["files"].get(name)) for name in notes["locks"][lock.key])
    ]


def superfluous(wanted: Wanted, notes: Dict[str, Any]) -> List[str]:
    """Return the wheels that no lock names any more; what was not fetched here is left alone."""
    if not wanted.prune:
        return []
    named = {name for lock in wanted.locks for name in notes["locks"].get(lock.key, [])}
    return sorted(name for name in notes["files"] if name not in named)


def ensure(host, wanted: Wanted, check_mode: bool = False) -> Dict[str, Any]:
    """Make the wheelhouse so, or in check mode say what would be done; return the module's result."""
    began = time.time()
    notes = read_notes(wanted.path)
    missing = lacking(wanted, notes)
    if check_mode or not (missing or superfluous(wanted, notes)):
        removed = [] if missing else superfluous(wanted, notes)
        return _outcome(wanted, notes, [], removed, bool(missing or removed), began)
    try:
        with umask(0o022), held(wanted.path, wanted.timeout):
            notes = read_notes(wanted.path)
            fetched = _fetch(host, wanted, lacking(wanted, notes), notes)
            removed = superfluous(wanted, notes)
            for name in removed:
                if os.path.lexists(os.path.join(wanted.path, name)):
                    os.unlink(os.path.join(wanted.path, name))
                del notes["files"][name]
            keys = {lock.key for lock in wanted.locks}
            if wanted.prune:
                notes["locks"] = {key: names for key, names in notes["locks"].items() if key in keys}
            _write_notes(wanted.path, notes)
    except OSError as exc:
        raise Refused(f"{exc.filename or wanted.path}: {exc.strerror}; mend that and run this again") from None
    return _outcome(wanted, notes, fetched, removed, bool(fetched or removed or missing), began)


def _fetch(host, wanted: Wanted, locks: Iterable[Lock], notes: Dict[str, Any]) -> List[str]:
    """Fetch what locks name into a folder aside, and move it in when it is whole; notes are kept up to date."""
    refuse_without_room([wanted.path], wanted.minimum_free_bytes, wanted.ca_file)
    deadline = time.time() + wanted.timeout
    fetched = []
    for lock in locks:
        damaged = [name for name, noted in notes["files"].items() if not intact(wanted.path, name, noted)]
        for name in damaged:  # pip would take it for the one it is called
            if os.path.lexists(os.path.join(wanted.path, name)):
                os.unlink(os.path.join(wanted.path, name))
            del notes["files"][name]
        names, left = at_hand(lock, notes)
        aside = os.path.join(wanted.path, ".new")
        shutil.rmtree(aside, ignore_errors=True)
        os.makedirs(os.path.join(aside, "tmp"))
        try:
            for name in _download(host, wanted, lock._replace(lock=left), aside, deadline) if left.strip() else []:
                place = os.path.join(wanted.path, name)
                os.replace(os.path.join(aside, name), place)  # one that nobody noted may be the rest of a lost run
                state = os.stat(place)
                notes["files"][name] = [state.st_size, state.st_mtime_ns, file_digest(place).hexdigest()]
                fetched.append(name)
                names.append(name)
            notes["locks"][lock.key] = sorted(names)
            _write_notes(wanted.path, notes)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return fetched


def _download(host, wanted: Wanted, lock: Lock, aside: str, deadline: float) -> List[str]:
    """Let pip fetch what a lock names into a folder; return the names of the files."""
    listed = os.path.join(aside, "tmp", "requirements.txt")
    with open(listed, "w", encoding="utf-8") as file:
        file.write(lock.lock)
    variables = environment_of_pip(wanted, lock, os.path.join(aside, "tmp"))
    argv = command(wanted, lock, listed, aside)
    result = host.run(argv, timeout=max(1, int(deadline - time.time())), env=variables)
    if result.error:
        raise Refused(f"pip did not fetch the wheels: {result.error}; check the network or raise timeout")
    if result.rc != 0:
        raise Refused(explain(result.stderr, wanted, lock))
    return [name for name in listdir(aside) if name.endswith(".whl")]


def _outcome(
    wanted: Wanted, notes: Dict[str, Any], fetched: List[str], removed: List[str], changed: bool, began: float
) -> Dict[str, Any]:
    return {
        "changed": changed,
        "path": wanted.path,
        "wheels": len(notes["files"]),
        "bytes": sum(noted[0] for noted in notes["files"].values()),
        "fetched": sorted(fetched),
        "removed": removed,
        "seconds": round(time.time() - began, 3),
    }


def _write_notes(path: str, notes: Dict[str, Any]) -> None:
    write_file(os.path.join(path, NOTES), json.dumps(notes, indent=1, sort_keys=True))


def as_locks(entries: Iterable[Dict[str, Any]]) -> Tuple[Lock, ...]:
    """Return the module's option C(locks) as locks."""
    return tuple(Lock(entry["lock"], str(entry["python"]), str(entry["glibc"])) for entry in entries)
