# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver on Enterprise Linux, from NVIDIA's repository or a mirror of it. Private to the collection.

Releases 8 and 9 choose a driver by a module stream, later ones by version; from there on the versions are locked.
"""

import os
import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver, _driver_load, _system
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed, complaints
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run, repository_key
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import write_file

REPOSITORY = "/etc/yum.repos.d/gpufleet-nvidia-driver.repo"
KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-gpufleet-nvidia-driver"
STREAM = "/etc/dnf/modules.d/nvidia-driver.module"
LOCKS = "/etc/dnf/plugins/versionlock.list"
LOCK_PLUGIN = "python3-dnf-plugin-versionlock"
QUERY_SECONDS = 120
CARRIER = re.compile(r"kmod-nvidia-(?P<open>open-)?(?:latest-)?dkms$|kmod-nvidia-(?P<branch>\d+)")


def stream(version: str, branch: str, flavor: str) -> Optional[str]:
    """Return the module stream of Enterprise Linux 8 and 9; later releases have none."""
    return branch + ("-open" if flavor == "open" else "-dkms") if version in ("8", "9") else None


def enabled_stream(text: str) -> Optional[str]:
    """Return the stream that dnf noted as enabled."""
    fields = dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(\S*)", text, re.MULTILINE))
    return fields.get("stream") or None if fields.get("state") == "enabled" else None


def repository(url: str) -> str:
    """Return the file that makes the repository one of dnf's."""
    return (
        f"# {_driver.HEADER}\n[gpufleet-nvidia-driver]\nname=NVIDIA driver\nbaseurl={url.rstrip('/')}/\nenabled=1\n"
        f"gpgcheck=1\ngpgkey=file://{KEY}\n"
    )


def owners(url: str, files: Dict[str, str]) -> List[str]:
    """Return the other files that have the repository too."""
    sources = [
        {"file": name, "uri": uri}
        for name, text in files.items()
        for uri in re.findall(r"^baseurl[ \t]*=[ \t]*(\S+)", text, re.MULTILINE)
    ]
    return _driver.owners(url, sources)


def installed_driver(packages: Dict[str, str]) -> Optional[Tuple[str, str]]:
    """Return version and flavour of the installed driver, or None."""
    for name, version in sorted(packages.items()):
        if CARRIER.match(name):
            return version.split("-")[0].split(":")[-1], "open" if "open" in name else "proprietary"
    return None


def install_names(version: str, branch: str, exact: str, flavor: str) -> List[str]:
    """Return what dnf is asked for. Where no stream chooses the branch, its number does."""
    name = "nvidia-open" if flavor == "open" else "cuda-drivers"
    if exact:
        return [f"{name}-{exact}"]
    return [name] if stream(version, branch, flavor) else [f"{name}-{branch}.*"]


class DnfDriver:
    """The driver's packages on a host with dnf."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.wanted = run.wanted
        self.packages = {}  # type: Dict[str, str]

    def settle(self) -> None:
        """Read what is installed."""
        form = "%{NAME}\\t%{VERSION}-%{RELEASE}\\n"
        answer = self.run.host.run(["rpm", "--query", "--all", "--queryformat", form], QUERY_SECONDS)
        if answer.rc != 0:
            raise Failed(f"rpm does not say what is installed: {complaints(answer)}")
        self.packages = dict(line.split("\t", 1) for line in answer.stdout.splitlines() if "\t" in line)

    def drivers(self) -> Dict[str, str]:
        """Return the driver's packages that are installed, with their versions."""
        return {name: self.packages[name] for name in _driver.family(self.packages)}

    def driver(self) -> Optional[_driver.Driver]:
        """Return the driver that is installed."""
        found = installed_driver(self.packages)
        return _driver.Driver(found[0], found[1], []) if found else None

    def _dnf(self, *argv: str) -> Result:
        """Run dnf. It waits for another one by itself; who waits too long is given up, and nothing is broken."""
        return self.run.host.run(["dnf", "--assumeyes", *argv], self.wanted.timeout + self.wanted.lock_timeout)

    def _must(self, *argv: str) -> None:
        answer = self._dnf(*argv)
        if answer.rc != 0:
            raise Failed(f"dnf {argv[0]} failed: {complaints(answer)}. No package was changed")

    def _files(self) -> Dict[str, str]:
        folder = os.path.dirname(REPOSITORY)
        names = [f"{folder}/{name}" for name in self.run.host.listdir(folder, quiet=True) if name.endswith(".repo")]
        return {name: self.run.host.read_text(name, quiet=True) for name in names if name != REPOSITORY}

    def present(self) -> Tuple[Optional[str], str]:
        """Make the driver be installed; return version and flavour."""
        run, wanted, system = self.run, self.wanted, self.run.system
        if wanted.source != "nvidia":
            raise Failed("Enterprise Linux has no driver of its own: set nvidia_driver_source=nvidia")
        branch = wanted.branch or wanted.version.split(".")[0]
        if not branch:
            raise Failed("which driver is wanted is not said: set nvidia_driver_branch")
        self.settle()
        key = repository_key(run, KEY)
        doubles = owners(wanted.repository_url, self._files())
        if doubles and wanted.duplicates == "report":
            raise Failed(
                f"{', '.join(doubles)} has {wanted.repository_url} already; remove it, or set "
                "nvidia_driver_duplicates=remove, which keeps a copy. Nothing was changed"
            )
        due = self._due(branch)
        missing = self._headers()
        lacking = [] if due else run.lacking()
        if due:
            run.refuse_busy(due[0])
        if due or lacking:
            run.refuse_unsigned(False)
            run.refuse_full()
        run.reasons += due + [f"kernel {name} has no module of it" for name in lacking] + missing
        run.take_over(doubles)
        run.file(KEY, key)
        run.file(REPOSITORY, repository(wanted.repository_url))
        run.file(_driver.MODPROBE, _driver.modprobe_conf())
        run.sign()
        if (due or lacking or missing) and not run.check_mode:
            self._install(branch, missing, lacking, bool(due))
        if run.check_mode and due:
            return wanted.version or branch, wanted.flavor
        run.file(_driver.MODULES_LOAD, _driver.modules_load(wanted.peermem))
        run.initramfs()
        self._lock()
        driver = installed_driver(self.packages)
        if not driver:
            raise Failed(
                f"the packages of driver {branch} brought no kernel modules; does release {system.version} have it?"
            )
        return driver

    def _headers(self) -> List[str]:
        """Return the headers of kernels that lack theirs."""
        kernels = [] if self.run.machine.container else self.run.machine.kernels
        bare = [name for name in kernels if not self.run.host.leads_somewhere(f"/lib/modules/{name}/build")]
        return [f"kernel-devel-{name}" for name in bare]

    def _due(self, branch: str) -> List[str]:
        driver, wanted = installed_driver(self.packages), self.wanted
        if not driver:
            return [f"driver {wanted.version or branch} ({wanted.flavor}) is not installed"]
        version, flavor = driver
        if (wanted.version and version != wanted.version) or version.split(".")[0] != branch:
            return [f"driver {version} is installed, {wanted.version or branch} is wanted"]
        if flavor != wanted.flavor:
            return [f"the {flavor} modules are installed, {wanted.flavor} ones are wanted"]
        return []

    def _install(self, branch: str, missing: List[str], lacking: List[str], due: bool) -> None:
        run, wanted = self.run, self.wanted
        before = self.drivers()
        choice = stream(run.system.version, branch, wanted.flavor)
        there = enabled_stream(run.host.read_text(STREAM, quiet=True))
        rival = run.rival.there if run.rival else None
        self._release()
        try:
            if choice and choice != there:
                self._must("module", "reset", "nvidia-driver")
                self._must("module", "enable", f"nvidia-driver:{choice}")
            names = install_names(run.system.version, branch, wanted.version, wanted.flavor) if due else []
            names += missing + list(wanted.packages) + ([LOCK_PLUGIN] if wanted.hold else [])
            if run.rival:
                run.rival.make_way(f"branch {branch}")
            answer = self._dnf("install", "--allowerasing", *names)
            run.machine = run.machine._replace(kernels=_driver_load.required_kernels(run.host, run.machine.release))
            self.settle()
            for name in lacking or run.lacking():
                run.host.run(["dkms", "autoinstall", "-k", name], wanted.timeout)
            if answer.rc != 0:
                log = _driver_load.build_log(run.host)
                raise Failed(f"the installation of driver {branch} failed: {complaints(answer)}{log}")
            driver = installed_driver(self.packages)
            run.prove_modules(driver[0] if driver else branch, wanted.flavor)
        except Failed as failure:
            words = self._undo(before, there, str(failure))
            problem = run.rival.come_back(rival) if rival else None
            raise Failed(words + (f" But {problem}" if problem else "")) from failure
        finally:
            self.settle()
            self._lock(again=True)

    def _undo(self, before: Dict[str, str], there: Optional[str], words: str) -> str:
        """Take the last transaction back, if it was ours, and return the whole sentence."""
        self.settle()
        now = self.drivers()
        if now != before:
            self._dnf("history", "undo", "last")
            if there:
                self._dnf("module", "reset", "nvidia-driver")
                self._dnf("module", "enable", f"nvidia-driver:{there}")
            self.settle()
            now = self.drivers()
        head, _newline, tail = words.partition("\n")
        state = (
            "the packages are as before" if now == before else "but the packages are not as before; see `dnf history`"
        )
        return f"{head}. It was taken back: {state}" + ("\n" + tail if tail else "")

    def _ours(self) -> List[str]:
        return self.run.host.read_text(_driver.HOLDS, quiet=True).split()

    def _release(self) -> None:
        if self._ours():
            self._dnf("versionlock", "delete", *self._ours())

    def _lock(self, again: bool = False) -> None:
        """Lock the versions of the driver's packages, or take our own locks away."""
        there = _driver.family(self.packages) if self.wanted.hold else []
        locks = _system.parse_version_locks(self.run.host.read_text(LOCKS, quiet=True))
        locked = {
            name for name in {*there, *self._ours()} if any(re.match(re.escape(name) + r"-\d", one) for one in locks)
        }
        late = [name for name in there if name not in locked]
        gone = [name for name in self._ours() if name not in there and name in locked]
        if (late or gone) and not again:
            self.run.reasons.append("the driver's versions are locked" if late else "locks are lifted")
        if self.run.check_mode or not (late or gone):
            return
        if late:
            write_file(self.run.host.path(_driver.HOLDS), "\n".join(sorted({*late, *self._ours()} & {*there})) + "\n")
            answer = self._dnf("versionlock", "add", *late)
            if answer.rc != 0:
                raise Failed(f"the driver is installed and its versions cannot be locked: {complaints(answer)}")
        if gone:
            self._dnf("versionlock", "delete", *gone)

    # ---- what a runfile needs of the packages ----

    def missing_to_build(self) -> List[str]:
        """Return what a build of the modules by DKMS needs and the host does not have."""
        return [name for name in ("dkms", "gcc", "make") if name not in self.packages] + self._headers()

    def require_to_build(self) -> None:
        """Install what a build of the modules needs. DKMS is in EPEL, which is not ours to add."""
        names = self.missing_to_build()
        if names:
            self._must("install", *names)
            self.settle()
            kernels = _driver_load.required_kernels(self.run.host, self.run.machine.release)
            self.run.machine = self.run.machine._replace(kernels=kernels)

    def keep_drivers(self, change: str) -> None:
        """Refuse where packages would have to give way: there is no way back to them from a runfile yet."""
        if self.drivers():
            raise Failed(
                f"{', '.join(self.drivers())} is installed and has to go before {change} from a runfile; remove it "
                "with nvidia_driver_state=absent first. No package was changed"
            )

    def refuse_held(self) -> None:
        """Do nothing: dnf changes nothing that somebody locked, and says so."""

    def put_aside(self) -> None:
        """Do nothing: keep_drivers() has refused."""

    def bring_back(self, before: Dict[str, str]) -> Optional[str]:
        """Do nothing: there were none."""

    def leave(self) -> None:
        """Remove what makes the driver's packages available."""
        self.run.file(REPOSITORY, "")
        self.run.file(KEY, "")
        self._lock(again=True)

    def tidy(self) -> None:
        """Keep the runfiles of this driver and of the one before it."""
        self.run.tidy([])

    # ---- going back, and going away ----

    def previous(self) -> Any:
        """Going back by kept files is for hosts with apt; here an ordinary run with the earlier branch does it."""
        raise Failed(
            "on Enterprise Linux, go back by a run with the earlier nvidia_driver_branch or nvidia_driver_version"
        )

    def absent(self) -> None:
        """Remove the driver and everything that this role put beside it."""
        run = self.run
        self.settle()
        names = _driver.family(self.packages)
        if names:
            run.refuse_busy("its removal")
            run.reasons.append(f"{', '.join(names)} is removed")
            if not run.check_mode:
                self._release()
                self._must("remove", *names)
                if enabled_stream(run.host.read_text(STREAM, quiet=True)):
                    self._must("module", "reset", "nvidia-driver")
        for path in (REPOSITORY, KEY, _driver.MODPROBE, _driver.MODULES_LOAD):
            run.file(path, "")
        run.initramfs()
        if not run.check_mode:
            run.forget()
