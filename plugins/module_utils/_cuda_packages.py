# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the packages that a CUDA toolkit is made of, or needs, with apt or dnf. Private to the collection.

Nothing else is changed for them: where something would be removed or replaced, or a step fails, the host is as before.
"""

import fnmatch
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver, _system
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Apt, Failed, complaints
from ansible_collections.gpufleet.workstation.plugins.module_utils._dnf import QUERY_SECONDS, Dnf
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import (
    CUDA_APT,
    CUDA_DNF,
    LABEL,
    apt_login,
    as_before,
    dnf_entry,
    dnf_files,
    dnf_names,
    mode_of,
    origin_pin,
    owners,
    repository_entry,
    repository_key,
    without_login,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, put_file

NAME = "gpufleet-cuda"
HEADER = "Written by gpufleet.workstation."
OPTION = "cuda_repository_fingerprint"


class Repository(NamedTuple):
    """Where packages may come from beside what the host has already."""

    non_free: bool = False
    url: str = ""
    key: str = ""
    fingerprint: str = ""
    ca_file: Optional[str] = None
    lock_timeout: float = 600
    timeout: float = 3600


def system_of(host: Any) -> _driver.System:
    """Return the operating system."""
    return _driver.parse_os_release(host.read_text("/etc/os-release"))


def apt_files(
    repository: Repository, system: Any, sources: Sequence[Dict[str, Any]], machine: str, key: str
) -> Dict[str, str]:
    """Return the text of each file that has to be there, by path. A repository that another file names stays its."""
    others = [source for source in sources if source["file"] != CUDA_APT.entry]
    texts, files = [], dict.fromkeys(CUDA_APT, "")
    if repository.non_free and system.name == "debian":
        added = _driver.non_free_sources(system, others)
        texts += [added.partition("\n")[2]] if added else []
    if repository.url and not owners(repository.url, others):
        texts.append(repository_entry(repository.url, machine, CUDA_APT.key))
        files[CUDA_APT.key] = key
        files[CUDA_APT.login] = apt_login(repository.url)
        # Below 100, what is asked for by name comes from there, and an upgrade of the host takes nothing from it.
        files[CUDA_APT.pin] = f"# {HEADER}\n" + origin_pin(repository.url, 50, others)
    if texts:
        files[CUDA_APT.entry] = f"# {HEADER}\n" + "\n".join(texts)
    return files


def exact(packages: Sequence[str], policy: Dict[str, Any]) -> Dict[str, str]:
    """Return the version that fits by name, empty where any does; refuse what nobody offers."""
    found = {}
    for package in packages:
        name, equals, pattern = package.partition("=")
        candidate, versions = policy.get(name) or (None, [])
        fitting = [version for version in versions if fnmatch.fnmatchcase(version, pattern)] if equals else [candidate]
        if not fitting or not fitting[0]:
            offered = f"; it has {', '.join(versions[:4])}" if versions else ""
            raise Refused(f"no package source of this host has {package}{offered}")
        found[name] = fitting[0] if equals else ""
    return found


class AptSide:
    """The packages and the repository on a host with apt."""

    places = (CUDA_APT.key, CUDA_APT.pin, CUDA_APT.login, CUDA_APT.entry)  # the key before what needs it
    entry, key = CUDA_APT.entry, CUDA_APT.key

    def __init__(self, host: Any, repository: Repository, archives: str) -> None:
        self.host = host
        self.repository = repository
        self.apt = Apt(host, archives, repository.lock_timeout, repository.timeout)

    def files(self, check_mode: bool = False, fresh: bool = False) -> Dict[str, str]:
        """Return the text of each file, empty for one that must not be there."""
        sources = _system.apt_sources(self.host)
        others = [source for source in sources if source["file"] != CUDA_APT.entry]
        needed = self.repository.url and not owners(self.repository.url, others)
        key = key_of(self.host, CUDA_APT.key, self.repository, check_mode, fresh) if needed else ""
        return apt_files(self.repository, system_of(self.host), sources, os.uname().machine, key)

    def repair(self) -> None:
        """Finish what a dpkg that was cut off left half done."""
        self.apt.repair()

    def refresh(self, packages: Sequence[str] = ()) -> None:
        """Have the lists anew, which verifies the repository's signature; see that its own name serves as a pin."""
        url = without_login(self.repository.url)
        self.apt.update([url] if url else self._of_system())
        if LABEL in self.host.read_text(CUDA_APT.pin, quiet=True):
            said = self.host.run(["apt-cache", "policy"], QUERY_SECONDS).stdout
            rows = [{"file": number, "uri": uri} for number, uri in re.findall(r"^ *(\d+) (\S+) ", said, re.MULTILINE)]
            if any(int(priority) >= 100 for priority in owners(url, rows)):
                raise Failed(
                    f"{url} is on a host with another of apt's sources and does not call itself {LABEL}, so apt cannot "
                    "be kept from upgrading to what it has; give the mirror a host name of its own, or NVIDIA's Release"
                )

    def _of_system(self) -> List[str]:
        """Return the addresses of the system's own packages; what else does not answer is not needed."""
        suite = re.compile(system_of(self.host).codename + "(-updates|-security|/updates)?$")
        sources = [source for source in _system.apt_sources(self.host) if "main" in source["components"]]
        return sorted({without_login(source["uri"]) for source in sources if suite.match(source["suite"])})

    def install(self, missing: Sequence[str]) -> None:
        """Install packages, all or nothing."""
        apt = self.apt
        found = exact(missing, apt.policy([package.partition("=")[0] for package in missing]))
        names = [f"{name}={version}" if version else name for name, version in found.items()]
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
        shutil.rmtree(apt.archives, ignore_errors=True)

    def retire(self, key: str) -> None:
        """Do nothing: apt trusts a file, and that is another one now."""

    def undo(self) -> None:
        """Do nothing: apt keeps nothing beside files and packages."""


class DnfSide:
    """The packages and the repository on a host with dnf.

    The repository is there for this module alone: enabled, it would give an upgrade of the host newer libraries and a
    driver, and a priority or exclusions keep only some of them back.
    """

    places = (CUDA_DNF.key, CUDA_DNF.entry)
    entry, key = CUDA_DNF.entry, CUDA_DNF.key

    def __init__(self, host: Any, repository: Repository, archives: str) -> None:
        self.host = host
        self.repository = repository
        theirs = dnf_names(repository.url, dnf_files(host, CUDA_DNF.entry)) if repository.url else []
        self.needed = bool(repository.url) and not theirs
        options = ["--setopt=*.skip_if_unavailable=1"] if repository.url else []
        for name in [NAME] if self.needed else theirs:
            options += [f"--enablerepo={name}", f"--setopt={name}.skip_if_unavailable=0"]
        self.dnf = Dnf(host, archives, repository.lock_timeout, repository.timeout, options)
        self.trusted = []  # type: List[str]

    def files(self, check_mode: bool = False, fresh: bool = False) -> Dict[str, str]:
        """Return the text of each file, empty for one that must not be there."""
        files = dict.fromkeys(self.places, "")
        if self.needed:
            files[CUDA_DNF.key] = key_of(self.host, CUDA_DNF.key, self.repository, check_mode, fresh)
            files[CUDA_DNF.entry] = dnf_entry(NAME, "CUDA", self.repository.url, CUDA_DNF.key, HEADER, enabled=False)
        return files

    def repair(self) -> None:
        """Note the keys that rpm trusts, for undo()."""
        self.trusted = self.dnf.trusted()

    def refresh(self, packages: Sequence[str] = ()) -> None:
        """Have the lists anew; of packages that are installed, see that the repository's key signs one.

        The lists have no signature. rpm trusts the key before too, so one package is held against the new one alone.
        """
        self.dnf.must("makecache", "--refresh")
        scratch = tempfile.mkdtemp(prefix="gpufleet-")
        try:
            for name in packages if self.needed else ():
                self.dnf.run("reinstall", "--downloadonly", "--downloaddir", scratch, name)
                if os.listdir(scratch):
                    self._verify(scratch)
                    return
        finally:
            shutil.rmtree(scratch)

    def _verify(self, scratch: str) -> None:
        files = [os.path.join(scratch, name) for name in os.listdir(scratch)]
        own = ["rpmkeys", "--dbpath", os.path.join(scratch, "keys")]
        self.host.run([*own, "--import", self.host.path(CUDA_DNF.key)], QUERY_SECONDS)
        answer = self.host.run([*own, "--checksig", *files], QUERY_SECONDS)
        if answer.rc != 0:
            raise Failed(
                f"{without_login(self.repository.url)} is not signed with the key that was given: {complaints(answer)}"
            )

    def install(self, missing: Sequence[str]) -> None:
        """Install packages, all or nothing."""
        dnf = self.dnf
        exact(missing, dnf.offered([package.partition("=")[0] for package in missing]))
        names = [package.replace("=", "-") for package in missing]  # of what fits a pattern, dnf takes the newest
        changes, removals = dnf.simulate(names)
        if removals:
            raise Refused(f"dnf would remove {', '.join(removals)} for {', '.join(names)}; nothing was changed")
        dnf.download(names)
        before = dnf.packages()
        dnf.keep({name: before[name] for name in changes if name in before})
        result = dnf.install(names)
        if result.rc != 0:
            left = dnf.restore(before)
            raise Refused(
                f"{', '.join(names)} could not be installed: {complaints(result)}; {left or 'all is as before'}"
            )
        shutil.rmtree(dnf.archives, ignore_errors=True)

    def retire(self, key: str) -> None:
        """Have rpm trust a key no more that was replaced."""
        self.dnf.retire(key, os.path.dirname(CUDA_DNF.key))

    def undo(self) -> None:
        """Take back the keys that rpm came to trust."""
        self.dnf.distrust(key for key in self.dnf.trusted() if key not in self.trusted)


def key_of(host: Any, path: str, repository: Repository, check_mode: bool, fresh: bool) -> str:
    """Return the text of the repository's key."""
    if not repository.key:
        raise Failed(
            f"the key of {without_login(repository.url)} is not known; set cuda_repository_key, a text or an address"
        )
    return repository_key(
        host, path, repository.key, repository.fingerprint, OPTION, repository.ca_file, check_mode, fresh
    )


def side_of(host: Any, repository: Repository, archives: str) -> Any:
    """Return what brings packages on this host."""
    return (DnfSide if system_of(host).name == "el" else AptSide)(host, repository, archives)


@contextmanager
def taken_back(host: Any, side: Any) -> Iterator[None]:
    """Have the repository as it was before, if what is done meanwhile fails."""
    try:
        with as_before(host, side.places):
            yield
    except BaseException:
        side.undo()
        raise


def write(host: Any, files: Dict[str, str], places: Sequence[str]) -> None:
    """Write the files of a repository."""
    for path in places:
        put_file(host.path(path), path, files[path], False, mode_of(files[path]))


def bring(host: Any, missing: Sequence[str], repository: Repository, archives: str) -> None:
    """Install packages, or leave the host as it was and say why."""
    if os.geteuid() != 0:
        raise Refused(f"root has to install {', '.join(missing)}; do it, or become root")
    side = side_of(host, repository, archives)
    side.repair()
    with taken_back(host, side):
        write(host, side.files(fresh=True), side.places)
        side.refresh()
        side.install(missing)


def settle_repository(
    host: Any, installed: Sequence[str], repository: Repository, archives: str, check_mode: bool
) -> List[str]:
    """Make a repository that was brought earlier be as it is wanted now; return why anything is changed.

    Its key may be another one now, or its address; or another file has it, or nothing needs it, and then ours goes. A
    user's toolkits leave it to root's.
    """
    if os.geteuid() != 0 or not any(host.exists(places.entry) for places in (CUDA_APT, CUDA_DNF)):
        return []
    side = side_of(host, repository, archives)
    files = side.files(check_mode)
    changes = [path for path in side.places if put_file(host.path(path), path, files[path], True, mode_of(files[path]))]
    if not changes:
        return []
    if not check_mode:
        old = host.read_text(side.key, quiet=True)
        side.repair()
        with taken_back(host, side):
            write(host, files, side.places)
            if any(files[path] for path in changes):
                side.refresh(installed)
        if side.key in changes:
            side.retire(old)
    return [f"{path} {'is another one now' if files[path] else 'is not needed any more'}" for path in changes]
