# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dnf and rpm, handled so that a package that fails leaves the host no worse than it was. Private to the collection."""

import os
import re
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed, complaints
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import fingerprints

QUERY_SECONDS = 120
REPOSITORIES = "/etc/yum.repos.d"
KEYS = "gpg-pubkey"  # the packages that rpm makes of keys


# ---- words in, data out ----


def parse_query(text: str) -> Dict[str, str]:
    """Return version by name from lines of a name, a tab and a version."""
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)


def parse_table(text: str) -> Tuple[List[str], List[str]]:
    """Return the packages that a transaction changes, and those that it removes or replaces, from dnf's table of it."""
    changes, removals, section = [], [], ""
    table = text.partition("Dependencies resolved.")[2].partition("Transaction Summary")[0]
    for line in table.splitlines():
        heading = re.match(r"([A-Z][^:]*):$", line)
        entry = re.match(r" ([^\s=]\S*)", line)
        replaced = re.match(r" +replacing +(\S+)\.\w+ ", line)
        if heading:
            section = heading.group(1)
        elif replaced or (entry and section.startswith("Removing")):
            removals.append((replaced or entry).group(1))
        elif entry and section.startswith(("Upgrading", "Downgrading")):
            changes.append(entry.group(1))
    return changes, removals


# ---- deeds ----


class Dnf:
    """The package manager of an Enterprise Linux. ``archives`` is where files are kept for going back."""

    def __init__(
        self, host: Host, archives: str, lock_timeout: float = 600, timeout: float = 3600, options: Sequence[str] = ()
    ) -> None:
        self.host = host
        self.archives = archives
        self.seconds = timeout + lock_timeout
        self.options = options

    def run(self, *argv: str) -> Result:
        """Run dnf. It waits for another one by itself; who waits too long is given up, and nothing is broken."""
        return self.host.run(["dnf", "--assumeyes", *self.options, *argv], self.seconds)

    def must(self, *argv: str) -> Result:
        """Run dnf, which has to do it, before anything is installed."""
        answer = self.run(*argv)
        if answer.rc != 0:
            command = next((word for word in argv if not word.startswith("-")), "")
            raise Failed(f"dnf {command} failed: {complaints(answer)}. No package was changed")
        return answer

    def packages(self) -> Dict[str, str]:
        """Return what is installed."""
        answer = self._query("--all", "--queryformat", "%{NAME}\\t%{VERSION}-%{RELEASE}\\n")
        if answer.rc != 0:
            raise Failed(f"rpm does not say what is installed: {complaints(answer)}")
        return {name: version for name, version in parse_query(answer.stdout).items() if name != KEYS}

    def trusted(self) -> List[str]:
        """Return the keys that rpm trusts, as the packages that it makes of them."""
        answer = self._query("--all", KEYS)
        if answer.rc != 0:
            raise Failed(f"rpm does not say which keys it trusts: {complaints(answer)}")
        return [name for name in answer.stdout.split() if name.startswith(KEYS)]

    def distrust(self, keys: Iterable[str]) -> None:
        """Have rpm trust keys no more."""
        for key in keys:
            self.host.run(["rpm", "--erase", key], QUERY_SECONDS)

    def retire(self, key: str, folder: str) -> None:
        """Have rpm trust a key no more that was replaced, unless another file of keys in a folder has it too."""
        names = self.host.listdir(folder, quiet=True)
        others = {one for name in names for one in fingerprints(self.host.read_text(f"{folder}/{name}", quiet=True))}
        gone = [one[-8:].lower() for one in fingerprints(key) if one not in others]
        self.distrust(name for name in self.trusted() if name[len(KEYS) + 1 :].split("-")[0] in gone)

    def _query(self, *argv: str) -> Result:
        return self.host.run(["rpm", "--query", *argv], QUERY_SECONDS)

    def offered(self, names: Sequence[str]) -> Dict[str, Tuple[Optional[str], List[str]]]:
        """Return a candidate and all versions of packages, as apt's policy does, from the host's lists."""
        form = "%{name}\\t%{version}-%{release}\\n"
        answer = self.must("--cacheonly", "repoquery", "--quiet", "--queryformat", form, *names)
        found = {}  # type: Dict[str, Tuple[Optional[str], List[str]]]
        for line in answer.stdout.splitlines():
            name, _tab, version = line.partition("\t")
            if version:
                found.setdefault(name, (version, []))[1].append(version)
        return found

    def simulate(self, names: Sequence[str]) -> Tuple[List[str], List[str]]:
        """Return which installed packages installing would change, and which it would remove or replace."""
        answer = self.host.run(["dnf", "--assumeno", *self.options, "--cacheonly", "install", *names], self.seconds)
        if answer.rc != 0 and "Operation aborted" not in answer.stdout + answer.stderr:
            raise Failed(f"dnf cannot install {', '.join(names)}: {complaints(answer)}. No package was changed")
        return parse_table(answer.stdout)

    def download(self, names: Sequence[str]) -> None:
        """Fetch everything that installing needs, and have it verified; no network is needed half way through it."""
        answer = self.run("install", "--downloadonly", *names)
        if answer.rc != 0:
            raise Failed(f"the packages cannot be downloaded: {complaints(answer)}. No package was changed")

    def install(self, names: Sequence[str]) -> Result:
        """Install what was downloaded; who calls looks at the result."""
        return self.run("--cacheonly", "install", *names)

    # ---- files that are kept for going back ----

    def kept(self, packages: Dict[str, str]) -> Dict[str, str]:
        """Return the files of packages that are kept."""
        there = self.host.listdir(self.archives, quiet=True)
        found = {}
        for name, version in packages.items():
            for file in there:
                if file.startswith(f"{name}-{version}.") and file.endswith(".rpm"):
                    found[name] = os.path.join(self.archives, file)
        return found

    def keep(self, packages: Dict[str, str], *command: str) -> List[str]:
        """Keep the files of packages that are installed; return those that cannot be had any more."""
        missing = [name for name in packages if name not in self.kept(packages)]
        if missing:
            os.makedirs(self.archives, mode=0o755, exist_ok=True)
            names = [f"{name}-{packages[name]}" for name in missing]
            self.run(*(command or ("reinstall", "--downloadonly", "--downloaddir")), self.archives, *names)
        return [name for name in missing if name not in self.kept(packages)]

    def restore(self, before: Dict[str, str]) -> Optional[str]:
        """Go back to these packages after a failure, by files that were kept; return what is still wrong, or None."""
        now = self.packages()
        new = [f"{name}-{version}" for name, version in now.items() if name not in before]
        if new:
            self.host.run(["rpm", "--erase", *new], self.seconds)
        lost = {name: version for name, version in before.items() if now.get(name) != version}
        files = sorted(self.kept(lost).values())
        if files:
            self.host.run(["rpm", "--upgrade", "--oldpackage", "--replacepkgs", *files], self.seconds)
        now = self.packages()
        odd = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
        return "these packages are not as they were: " + ", ".join(odd) if odd else None
