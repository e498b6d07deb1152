# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the packages that a CUDA toolkit is made of, or needs, with apt. Private to the collection.

Nothing else is changed for them: where apt would remove or replace something, or a step fails, the host is as before.
"""

import fnmatch
import os
import re
from typing import Any, Dict, List, NamedTuple, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver, _system
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Apt, complaints
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, write_file

SOURCES = "/etc/apt/sources.list.d/gpufleet-cuda.sources"
KEYRING = "/usr/share/keyrings/gpufleet-cuda.asc"
PREFERENCES = "/etc/apt/preferences.d/gpufleet-cuda"

_HEADER = "# Written by gpufleet.workstation.\n"


class Repository(NamedTuple):
    """Where packages may come from beside what the host has already."""

    non_free: bool = False
    url: str = ""
    key: str = ""
    fingerprint: str = ""
    lock_timeout: float = 600
    timeout: float = 3600


def check_key(repository: Repository) -> None:
    """Refuse a key that is not the one whose fingerprint was given."""
    wanted = re.sub(r"[^0-9A-F]", "", repository.fingerprint.upper())
    found = _driver.fingerprints(repository.key)
    if len(wanted) not in (40, 64):
        raise Refused(
            f"repository_fingerprint: {repository.fingerprint!r} is not a whole fingerprint of 40 digits; take it from "
            "whoever runs the repository"
        )
    if found != [wanted]:
        raise Refused(
            f"repository_key has the fingerprint {' and '.join(found) or 'of no readable key'}, and {wanted} is "
            f"wanted for {repository.url}; do not trust it before you know why"
        )


def files_for(repository: Repository, system: Any, sources: Sequence[Dict[str, Any]], machine: str) -> Dict[str, str]:
    """Return the text of each file that has to be there, by path. A repository that another file names stays its."""
    others = [source for source in sources if source["file"] != SOURCES]
    texts, files = [], {}
    if repository.non_free and system.name == "debian":
        added = _driver.non_free_sources(system, others)
        texts += [added.partition("\n")[2]] if added else []
    if repository.url and not _driver.owners(repository.url, others):
        check_key(repository)
        texts.append(_driver.repository_entry(repository.url, machine, KEYRING))
        files[KEYRING] = repository.key.strip() + "\n"
        # Below 100, what is asked for by name comes from there, and an upgrade of the host takes nothing from it.
        files[PREFERENCES] = _HEADER + _driver.origin_pin(repository.url, 50)
    if texts:
        files[SOURCES] = _HEADER + "\n".join(texts)
    return files


def exact(packages: Sequence[str], policy: Dict[str, Any]) -> List[str]:
    """Return packages with whole versions where a pattern stands behind a name; refuse what nobody offers."""
    found = []
    for package in packages:
        name, equals, pattern = package.partition("=")
        candidate, versions = policy.get(name) or (None, [])
        fitting = [version for version in versions if fnmatch.fnmatchcase(version, pattern)] if equals else [candidate]
        if not fitting or not fitting[0]:
            offered = f"; it has {', '.join(versions[:4])}" if versions else ""
            raise Refused(f"no package source of this host has {package}{offered}")
        found.append(f"{name}={fitting[0]}" if equals else name)
    return found


def bring(host, missing: Sequence[str], repository: Repository, archives: str) -> None:
    """Install packages, or leave the host as it was and say why."""
    if os.geteuid() != 0:
        raise Refused(f"root has to install {', '.join(missing)}; do it, or become root")
    apt = Apt(host, archives, repository.lock_timeout, repository.timeout)
    apt.repair()
    system = _driver.parse_os_release(host.read_text("/etc/os-release"))
    wanted = files_for(repository, system, _system.apt_sources(host), os.uname().machine)
    before = {path: host.read_bytes(path, quiet=True) for path in (SOURCES, KEYRING, PREFERENCES)}
    try:
        for path in (KEYRING, PREFERENCES, SOURCES):  # the key before what needs it
            if path in wanted:
                write_file(host.path(path), wanted[path])
        apt.update([repository.url] if repository.url else [])
        names = exact(missing, apt.policy([package.partition("=")[0] for package in missing]))
        installs, removals = apt.simulate(names)
        if removals:
            raise Refused(f"apt would remove {', '.join(removals)} for {', '.join(names)}; nothing was changed")
        there = apt.packages()
        replaced = {name: there[name].version for name in installs if name in there}
        apt.download(names)
        apt.keep(replaced)
        result = apt.install(names)
        if result.rc != 0:
            left = apt.restore(replaced, list(installs))
            raise Refused(
                f"{', '.join(names)} could not be installed: {complaints(result)}; {left or 'all is as before'}"
            )
    except BaseException:
        for path, data in before.items():
            if data:
                write_file(host.path(path), data)
            elif os.path.exists(host.path(path)):
                os.unlink(host.path(path))
        raise
    for name, version in installs.items():
        file = apt.file(name, version)
        if file:
            os.unlink(file)
