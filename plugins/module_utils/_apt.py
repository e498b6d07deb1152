# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt and dpkg, handled so that neither a held lock nor a package that fails leaves the host worse than it was.

Private to the collection. Locks are waited for and never broken; every command has a timeout; what cannot be done is a
Failed with one sentence.
"""

import fcntl
import os
import re
import shutil
import struct
import time
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import unquote

from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
FLOCK = "hhlli0l"  # struct flock: type, whence, start, len, pid
QUERY = ["dpkg-query", "--show", "--showformat=${Package}\t${Architecture}\t${Version}\t${Status}\n"]
QUERY_SECONDS = 120
UPDATE_TRIES = 3
UPDATE_PAUSE_SECONDS = 5
SAID_LINES = 6
# A version and its priority in what C(apt-cache policy) prints; Ubuntu gives some updates to a part of its hosts first.
VERSION_ROW = r"^ (?:\*\*\*|   ) (\d\S*) (-?\d+)(?: \(phased \d+%\))?$"
UNASKED = 500  # apt's priority of what it takes unasked
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",  # or it restarts services, and asks
}
KEEP_CONFIGURATION = ("--force-confdef", "--force-confold")
OPTIONS = ["-o", "Dpkg::Use-Pty=0"] + [
    word for name in KEEP_CONFIGURATION for word in ("-o", "Dpkg::Options::=" + name)
]


class Failed(Refused):
    """What was wanted cannot be; the words are a sentence for the user."""


class Package(NamedTuple):
    """One of the packages that dpkg knows. ``status`` is dpkg's last word, ``installed`` where all is well."""

    name: str
    version: str
    status: str
    held: bool


# ---- words in, data out ----


def parse_query(text: str) -> Dict[str, Package]:
    """Return the packages that dpkg-query prints in the form that Apt.packages asks for, without those that are gone.

    Their names are apt's: with the architecture, C(libcuda1:i386), where that is not the system's own.
    """
    found = {}  # type: Dict[str, Package]
    for name, version, status in _rows(text):
        words = status.split()
        if len(words) == 3 and words[2] not in ("not-installed", "config-files"):
            found[name] = Package(name, version, words[2], words[0] == "hold")
    return found


def parse_removed(text: str) -> List[str]:
    """Return the packages, in the same form, of which only the configuration is left."""
    return sorted(name for name, _version, status in _rows(text) if status.endswith(" config-files"))


def _rows(text: str) -> Iterator[Tuple[str, str, str]]:
    rows = [(line.split("\t") + [""] * 4)[:4] for line in text.splitlines()]
    own = {"all", *[arch for name, arch, _version, _status in rows if name == "dpkg"]}
    for name, arch, version, status in rows:
        yield name if arch in own else f"{name}:{arch}", version, status


def parse_simulation(text: str) -> Tuple[Dict[str, str], List[str]]:
    """Return what C(apt-get --simulate) would install, with versions, and what it would remove."""
    installs = re.findall(r"^Inst (\S+) (?:\[[^\]]*\] )?\((\S+)", text, re.MULTILINE)
    removals = re.findall(r"^(?:Remv|Purg) (\S+) ", text, re.MULTILINE)
    return dict(installs), removals


def parse_policy(text: str) -> Dict[str, Tuple[Optional[str], List[str]]]:
    """Return the candidate and all versions of each package in what C(apt-cache policy) prints."""
    found = {}  # type: Dict[str, Tuple[Optional[str], List[str]]]
    name = ""
    for line in text.splitlines():
        header = re.match(r"(\S+):$", line)
        candidate = re.match(r"  Candidate: (\S+)", line)
        version = re.match(VERSION_ROW, line)
        if header:
            name = header.group(1)
            found[name] = (None, [])
        elif candidate and name:
            found[name] = (None if candidate.group(1) == "(none)" else candidate.group(1), found[name][1])
        elif version and name:
            found[name][1].append(version.group(1))
    return found


def parse_offered(text: str) -> List[str]:
    """Return the versions in what C(apt-cache policy) prints of one package that apt takes unasked, newest first."""
    rows = re.findall(VERSION_ROW, text, re.MULTILINE)
    return [version for version, priority in rows if int(priority) >= UNASKED]


def upstream(version: str) -> str:
    """Return the upstream part of a Debian version: C(1:535.261.03-1~deb12u1) is C(535.261.03)."""
    version = version.split(":", 1)[-1]
    return version.rsplit("-", 1)[0] if "-" in version else version


def complaints(result: Result) -> str:
    """Return what a package manager said about its failure, in one line."""
    lines = [line.strip() for line in (result.stdout + "\n" + result.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(E:|Err:|dpkg: error|Error! |error: )", line)]
    for place, line in enumerate(lines):
        if line == "Error:":  # dnf's, and what follows says which
            errors = lines[place + 1 : place + 1 + SAID_LINES]
    said = (errors or lines)[-SAID_LINES:]
    return " ".join(([result.error] if result.error else []) + said) or f"it ended with status {result.rc}"


# ---- deeds ----


def lock_holder(path: str) -> Optional[int]:
    """Return the process that holds a lock file, 0 where it is not in sight, None where nobody does."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, 0, 0, 0, 0))
    finally:
        os.close(file)
    kind, _whence, _start, _length, pid = struct.unpack(FLOCK, answer)
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


class Apt:
    """The package manager of a Debian or an Ubuntu. ``archives`` is where what it downloads is kept."""

    def __init__(self, host: Host, archives: str, lock_timeout: float = 600, timeout: float = 3600) -> None:
        self.host = host
        self.archives = archives
        self.lock_timeout = lock_timeout
        self.timeout = timeout
        self.warnings = []  # type: List[str]

    def packages(self) -> Dict[str, Package]:
        """Return what is installed, also in part."""
        return parse_query(self._must(QUERY, QUERY_SECONDS).stdout)

    def removed(self) -> List[str]:
        """Return the packages of which only the configuration is left."""
        return parse_removed(self._must(QUERY, QUERY_SECONDS).stdout)

    def policy(self, names: Iterable[str]) -> Dict[str, Tuple[Optional[str], List[str]]]:
        """Return candidate and versions of packages, from the lists that are on the host."""
        return parse_policy(self._must(["apt-cache", "policy", *names], QUERY_SECONDS).stdout)

    def offered(self, name: str) -> List[str]:
        """Return the versions of a package that apt takes unasked, the newest first, whatever is pinned."""
        return parse_offered(self._must(["apt-cache", "policy", name], QUERY_SECONDS).stdout)

    def wait(self, deadline: Optional[float] = None) -> None:
        """Return when nobody works on packages, or say who does not end."""
        deadline = deadline or time.monotonic() + self.lock_timeout
        while True:
            held = [(path, holder) for path in LOCKS for holder in [lock_holder(path)] if holder is not None]
            if not held:
                return
            if time.monotonic() >= deadline:
                path, pid = held[0]
                name = self.host.read_text(f"/proc/{pid}/comm", quiet=True) if pid else ""
                who = f"process {pid} ({name or 'gone'})" if pid else "a process that cannot be seen from here"
                raise Failed(
                    f"{who} has held {path} for more than {self.lock_timeout:g} s. The lock is never broken: wait for "
                    "that process or end it, then run this again"
                )
            time.sleep(min(2, max(0.1, deadline - time.monotonic())))

    def repair(self, check_mode: bool = False) -> bool:
        """Finish what a dpkg that was cut off left half done, and say whether there was anything."""
        self.wait()
        if not self._must(["dpkg", "--audit"], QUERY_SECONDS).stdout.strip() and not self._journal():
            return False
        if not check_mode:
            result = self._locked(["dpkg", *KEEP_CONFIGURATION, "--configure", "-a"], self.timeout)
            if result.rc != 0 or self._must(["dpkg", "--audit"], QUERY_SECONDS).stdout.strip():
                mended = self.get(["--fix-broken", "--no-remove", "install"])
                left = self._must(["dpkg", "--audit"], QUERY_SECONDS).stdout.strip()
                if mended.rc != 0 or left:
                    raise Failed(
                        "dpkg was cut off earlier, and `dpkg --configure -a` cannot finish what is half done: "
                        + complaints(result if result.rc else mended)
                    )
        return True

    def _journal(self) -> List[str]:
        return [name for name in self.host.listdir("/var/lib/dpkg/updates", quiet=True) if name.isdigit()]

    def healthy(self) -> bool:
        """Say whether nothing is half done and every dependency is met."""
        audit = self.host.run(["dpkg", "--audit"], QUERY_SECONDS)
        return audit.rc == 0 and not audit.stdout.strip() and self.host.run(["apt-get", "check"], QUERY_SECONDS).rc == 0

    def get(self, argv: Sequence[str], timeout: Optional[float] = None) -> Result:
        """Run apt-get, waiting for locks."""
        os.makedirs(os.path.join(self.archives, "partial"), mode=0o755, exist_ok=True)
        # A shared archive folder may be emptied by what the host does after each installation.
        own = ["-o", "Dir::Cache::archives=" + self.archives, "-o", "APT::Keep-Downloaded-Packages=true"]
        return self._locked(["apt-get", "--yes", *OPTIONS, *own, *argv], timeout or self.timeout)

    def update(self, needed: Sequence[str] = ()) -> None:
        """Refresh the lists. A list that fails is an error if its address begins with one of those needed."""
        for attempt in range(UPDATE_TRIES):
            result = self.get(["-o", "APT::Update::Error-Mode=any", "update"])
            text = result.stdout + "\n" + result.stderr
            lines = re.findall(r"^(?:[EW]: |Err:).*(?:\n  .*)*", text, re.MULTILINE)
            # What is said about key files and deprecated things is no failure.
            failures = [line for line in lines if result.rc != 0 and not line.startswith("W: Target")]
            if result.rc == 0:
                return
            if attempt + 1 < UPDATE_TRIES:
                time.sleep(UPDATE_PAUSE_SECONDS * (attempt + 1))
        ours = [line for line in failures if any(address in line for address in needed)]
        said = " ".join(" ".join(line.split()) for line in (ours or failures)[:3]) or complaints(result)
        if ours or not needed or "Conflicting values" in said or "E: Malformed" in said:
            raise Failed(f"apt's lists cannot be refreshed, tried {UPDATE_TRIES} times: {said}")
        self.warnings.append(f"a package source that is not needed here did not answer: {said}")

    def simulate(self, names: Sequence[str], remove: Sequence[str] = ()) -> Tuple[Dict[str, str], List[str]]:
        """Return what installing would install and remove; Failed where it cannot be resolved."""
        result = self.get(["--simulate", *self._install(names, remove)])
        if result.rc != 0:
            text = result.stdout + result.stderr
            unmet = re.findall(r"^ (\S+ : .*(?:\n {5,}.*)*)", text, re.MULTILINE)
            said = "; ".join(" ".join(line.split()) for line in unmet[:4]) or complaints(result)
            raise Failed(f"apt cannot install {', '.join(names)}: {said}. No package was changed")
        return parse_simulation(result.stdout)

    def download(self, names: Sequence[str], remove: Sequence[str] = ()) -> None:
        """Fetch everything that installing needs, so that no network is needed half way through it."""
        result = self.get(["--download-only", *self._install(names, remove)])
        if result.rc != 0:
            raise Failed(f"the packages cannot be downloaded: {complaints(result)}. No package was changed")

    def install(self, names: Sequence[str], remove: Sequence[str] = ()) -> Result:
        """Install and remove in one go; who calls looks at the result."""
        return self.get(self._install(names, remove))

    @staticmethod
    def _install(names: Sequence[str], remove: Sequence[str]) -> List[str]:
        gone = [name + "-" for name in remove]
        return ["--no-install-recommends", "--allow-downgrades", "install", *names, *gone]

    def purge(self, names: Sequence[str]) -> Result:
        """Remove packages with their configuration."""
        return self.get(["purge", *names])

    def hold(self, names: Sequence[str]) -> None:
        """Keep packages as they are, against every upgrade."""
        if names:
            self._must(["apt-mark", "hold", *names], QUERY_SECONDS, locked=True)

    def unhold(self, names: Sequence[str]) -> None:
        """Let packages be changed."""
        if names:
            self._must(["apt-mark", "unhold", *names], QUERY_SECONDS, locked=True)

    def keep(self, packages: Dict[str, str]) -> List[str]:
        """Keep the files of packages, for going back to them; return those that cannot be had any more."""
        missing = [name for name, version in packages.items() if not self.file(name, version)]
        offered = self.policy(missing) if missing else {}
        wanted = [f"{name}={packages[name]}" for name in missing if packages[name] in offered.get(name, (None, []))[1]]
        if wanted:
            self.get(["--download-only", "--reinstall", "--allow-downgrades", "install", *wanted])
            self._copy(self.get(["--print-uris", "download", *wanted]).stdout)
        return [name for name in missing if not self.file(name, packages[name])]

    def _copy(self, uris: str) -> None:
        """Copy what lies in a repository on the host itself, which apt uses where it lies."""
        for path, name in re.findall(r"^'file:(?://)?(/[^']+)' (\S+\.deb) ", uris, re.MULTILINE):
            place = os.path.join(self.archives, name)
            if not os.path.exists(place):
                shutil.copyfile(unquote(path), place + ".part")
                os.rename(place + ".part", place)

    def file(self, name: str, version: str) -> Optional[str]:
        """Return the file of a package in the archives."""
        name, _colon, arch = name.partition(":")
        start = "{}_{}_".format(name, version.replace(":", "%3a"))
        foreign = self.host.read_text("/var/lib/dpkg/arch", quiet=True).split()[1:]
        for file in self.host.listdir(self.archives, quiet=True):
            if file.startswith(start) and file.endswith(".deb"):
                there = file[len(start) : -len(".deb")]
                if there == arch if arch else there not in foreign:
                    return os.path.join(self.archives, file)
        return None

    def restore(self, before: Dict[str, str], added: Sequence[str]) -> Optional[str]:
        """Go back to packages whose files were kept, after a failure; return what is still wrong, or None.

        dpkg does it itself: apt would first want to finish what cannot be finished.
        """
        now = self.packages()
        new = [name for name in added if name in now and name not in before]
        if new:
            self._locked(["dpkg", "--force-depends", "--force-remove-reinstreq", "--purge", *new], self.timeout)
        lost = [
            name
            for name, version in before.items()
            if name not in now or now[name].version != version or now[name].status != "installed"
        ]
        files = [file for name in lost for file in [self.file(name, before[name])] if file]
        if files:
            self._locked(["dpkg", "--force-depends", *KEEP_CONFIGURATION, "--install", *files], self.timeout)
        self._locked(["dpkg", *KEEP_CONFIGURATION, "--configure", "-a"], self.timeout)
        if not self.healthy():
            self.get(["--fix-broken", "--no-remove", "install"])
        now = self.packages()
        gone = sorted(name for name, version in before.items() if name not in now or now[name].version != version)
        if gone:
            return "these packages are not as they were: " + ", ".join(gone)
        return None if self.healthy() else "apt is not healthy; see `dpkg --audit` and `apt-get check`"

    def _must(self, argv: List[str], timeout: float, locked: bool = False) -> Result:
        result = self._locked(argv, timeout) if locked else self.host.run(argv, timeout)
        if result.rc != 0:
            raise Failed("{} failed: {}".format(" ".join(argv[:2]), complaints(result)))
        return result

    def _locked(self, argv: List[str], timeout: float) -> Result:
        """Run a command that needs the locks; wait for whoever has them, also where it took them just before us."""
        deadline = time.monotonic() + self.lock_timeout
        while True:
            self.wait(deadline)
            result = self.host.run(argv, timeout, ENVIRONMENT)
            if (
                result.rc == 0
                or result.error
                or not re.search(
                    r"Could not get lock|Unable to (lock|acquire)|frontend lock was locked",
                    result.stdout + result.stderr,
                )
            ):
                return result
            if time.monotonic() >= deadline:
                self.wait(deadline)
                return result
            time.sleep(1)
