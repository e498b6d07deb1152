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
from ansible_collections.gpufleet.workstation.plugins.module_utils._dnf import QUERY_SECONDS, Dnf
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import (
    CONTAINER_DNF,
    CUDA_DNF,
    as_before,
    dnf_entry,
    dnf_files,
    dnf_owners,
    without_login,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import write_file

REPOSITORY = "/etc/yum.repos.d/gpufleet-nvidia-driver.repo"
KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-gpufleet-nvidia-driver"
STREAM = "/etc/dnf/modules.d/nvidia-driver.module"
LOCKS = "/etc/dnf/plugins/versionlock.list"
LOCK_PLUGIN = "python3-dnf-plugin-versionlock"
NAME = "gpufleet-nvidia-driver"
CONTAINER_NAME = "gpufleet-nvidia-container-toolkit"
# Without a network, and without the driver's removal taking along what came with it: DKMS, the headers, the plugin.
OFFLINE = ("--disablerepo=*", "--setopt=clean_requirements_on_remove=False")
NOTHING = Result(0, "", "", None)
CARRIER = re.compile(r"kmod-nvidia-(?P<open>open-)?(?:latest-)?dkms$|kmod-nvidia-(?P<branch>\d+)")


def stream(version: str, branch: str, flavor: str) -> Optional[str]:
    """Return the module stream of Enterprise Linux 8 and 9; later releases have none."""
    return branch + ("-open" if flavor == "open" else "-dkms") if version in ("8", "9") else None


def enabled_stream(text: str) -> Optional[str]:
    """Return the stream that dnf noted as enabled."""
    fields = dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(\S*)", text, re.MULTILINE))
    return fields.get("stream") or None if fields.get("state") == "enabled" else None


def installed_driver(packages: Dict[str, str]) -> Optional[Tuple[str, str]]:
    """Return version and flavour of the installed driver, or None."""
    for name, version in sorted(packages.items()):
        if CARRIER.match(name):
            return version.split("-")[0].split(":")[-1], "open" if "open" in name else "proprietary"
    return None


def install_names(branch: str, exact: str, flavor: str) -> List[str]:
    """Return what dnf is asked for; by its number the branch, for a name alone would be content with what is there."""
    name = "nvidia-open" if flavor == "open" else "cuda-drivers"
    return [f"{name}-{exact or branch + '.*'}"]


class DnfDriver:
    """The driver's packages on a host with dnf."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.wanted = run.wanted
        self.packages = {}  # type: Dict[str, str]
        self.archives = run.host.path(_driver.ARCHIVES)
        self.dnf = Dnf(run.host, self.archives, run.wanted.lock_timeout, run.wanted.timeout)
        self.aside = None  # type: Optional[Dict[str, Any]]  # what gave way to a runfile

    def settle(self) -> None:
        """Read what is installed."""
        self.packages = self.dnf.packages()

    def drivers(self) -> Dict[str, str]:
        """Return the driver's packages that are installed, with their versions."""
        return {name: self.packages[name] for name in _driver.family(self.packages)}

    def driver(self) -> Optional[_driver.Driver]:
        """Return the driver that is installed."""
        found = installed_driver(self.packages)
        return _driver.Driver(found[0], found[1], []) if found else None

    # ---- files that are kept for going back ----

    def _keep(self, packages: Dict[str, str]) -> List[str]:
        """Keep the files of packages; return those that cannot be had any more."""
        return self.dnf.keep(packages, "download", "--destdir")

    def _put(self, packages: Dict[str, str], module: str) -> Result:
        """Make exactly these packages of a driver be installed, from files that are kept; no network.

        ``module`` is what dnf had noted of the module stream.
        """
        self._set_module(module)
        files = sorted(self.dnf.kept(packages).values())
        answer = self.dnf.run(*OFFLINE, "install", "--allowerasing", *files) if files else NOTHING
        self.settle()
        late = [name for name in self.drivers() if name not in packages]
        if late and answer.rc == 0:
            answer = self.dnf.run(*OFFLINE, "remove", *late)
            self.settle()
        return answer

    def _module(self) -> str:
        """Return what dnf has noted of the driver's module stream."""
        text = self.run.host.read_text(STREAM, quiet=True)
        return text + "\n" if text else ""

    def _set_module(self, text: str) -> None:
        place = self.run.host.path(STREAM)
        if text:
            write_file(place, text)
        elif os.path.exists(place):
            os.unlink(place)

    def _record(self) -> Optional[Dict[str, Any]]:
        """Return what going back to the driver that is installed now needs to know."""
        driver = self.driver()
        if not driver:
            return None
        return {
            "version": driver.version,
            "flavor": driver.flavor,
            "packages": self.drivers(),
            "module": self._module(),
        }

    def _remember(self, before: Optional[Dict[str, Any]]) -> None:
        now = self._record()
        if now and (not before or now["packages"] != before["packages"]):
            self.run.remember(current=now, previous=before or self.run.state.get("previous"), changing=None)
            self.tidy()

    # ---- making it be there ----

    def present(self) -> Tuple[Optional[str], str]:
        """Make the driver be installed; return version and flavour."""
        run, wanted, system = self.run, self.wanted, self.run.system
        if wanted.source != "nvidia":
            raise Failed("Enterprise Linux has no driver of its own: set nvidia_driver_source=nvidia")
        branch = wanted.branch or wanted.version.split(".")[0]
        if not branch:
            raise Failed("which driver is wanted is not said: set nvidia_driver_branch")
        self.settle()
        key, container = run.key(KEY), self._container_files()
        others = dnf_owners(wanted.repository_url, dnf_files(run.host, REPOSITORY))
        doubles = [name for name in others if name != CUDA_DNF.entry]
        if doubles and wanted.duplicates == "report":
            raise Failed(
                f"{', '.join(doubles)} has {without_login(wanted.repository_url)} already; remove it, or set "
                "nvidia_driver_duplicates=remove, which keeps a copy. Nothing was changed"
            )
        due = self._due(branch)
        if not due and not run.check_mode and run.state.get("changing"):
            self._remember(run.state["changing"])
        missing = self._headers() + [name for name in run.companions(branch) if not self._has(name)]
        lacking = [] if due else run.lacking()
        if due:
            run.refuse_busy(due[0])
        if due or lacking:
            run.refuse_unsigned(False)
            run.refuse_full()
        run.reasons += due + [f"kernel {name} has no module of it" for name in lacking]
        run.reasons += [f"{name} is not installed" for name in missing]
        files = {KEY: key, **container}
        files[REPOSITORY] = dnf_entry(NAME, "NVIDIA driver", wanted.repository_url, KEY, _driver.HEADER)
        with as_before(run.host, [*files, *doubles, *CUDA_DNF]):
            run.take_over(doubles)
            if CUDA_DNF.entry in others:
                run.take_from_cuda(CUDA_DNF, "")
            old = run.host.read_text(KEY, quiet=True)
            for path, text in files.items():
                if run.file(path, text) and path == KEY and not run.check_mode:
                    self.dnf.retire(old, os.path.dirname(KEY))
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

    def _container_files(self) -> Dict[str, str]:
        """Return the files of the container toolkit's repository, empty where it is not ours to add."""
        others = dnf_files(self.run.host, CONTAINER_DNF.entry)
        url = self.run.container_url(lambda url: dnf_owners(url, others))
        if not url:
            return {CONTAINER_DNF.entry: "", CONTAINER_DNF.key: ""}
        entry = dnf_entry(CONTAINER_NAME, "NVIDIA container toolkit", url, CONTAINER_DNF.key, _driver.HEADER)
        return {CONTAINER_DNF.key: self.run.key(CONTAINER_DNF.key, "container_toolkit"), CONTAINER_DNF.entry: entry}

    def _has(self, wanted: str) -> bool:
        """Say whether a package is installed that was asked for by its name, or by name and version."""
        return wanted in self.packages or any(
            (f"{name}-{version}" + "-").startswith(wanted + "-")
            for name, version in self.packages.items()
            if wanted.startswith(name + "-")
        )

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
        for name in self.run.fabric_manager():
            there = self.packages.get(name, "").split("-")[0]
            if there != version:
                return [f"{name} is {there or 'not installed'} and the driver {version}"]
        return []

    def _fabric_manager(self, asked: List[str]) -> List[str]:
        """Return the fabric manager in exactly the version of the driver that dnf will install."""
        names = self.run.fabric_manager()
        version = self.wanted.version
        if names and not version:
            answer = self.dnf.run("repoquery", "--quiet", "--latest-limit=1", "--queryformat", "%{version}", *asked)
            version = answer.stdout.strip().split("\n")[-1]
            if answer.rc != 0 or not version:
                raise Failed(f"dnf does not say which version of {', '.join(asked)} there is: {complaints(answer)}")
        return [f"{name}-{version}" for name in names]

    def _install(self, branch: str, missing: List[str], lacking: List[str], due: bool) -> None:
        run, wanted = self.run, self.wanted
        cut = run.state.get("changing") or {}  # a change that was cut off began with it
        old = cut if cut.get("packages") else self._record()
        choice = stream(run.system.version, branch, wanted.flavor)
        there = enabled_stream(self._module())
        module = cut.get("module", self._module())
        rival = run.rival.there if run.rival else None
        gone = self._keep(old["packages"]) if old and due else []
        if gone:
            run.warnings.append(
                f"the files of {', '.join(gone)} are not to be had any more, so there is no way back to "
                f"{old['version']} without its repository"
            )
        self._release()
        try:
            if choice and choice != there:
                self.dnf.must("module", "reset", "nvidia-driver")
                self.dnf.must("module", "enable", f"nvidia-driver:{choice}")
            names = install_names(branch, wanted.version, wanted.flavor) if due else []
            names += self._fabric_manager(names) if due else []
            names += missing + ([LOCK_PLUGIN] if wanted.hold else [])
            os.makedirs(self.archives, mode=0o755, exist_ok=True)
            if names:
                self.dnf.must("install", "--allowerasing", "--downloadonly", "--downloaddir", self.archives, *names)
            if due:
                run.refuse_busy(f"driver {branch}")  # somebody may have begun to work since the run began
                run.remember(changing=rival or cut or old)  # a later run goes on from here if this one is cut off
            if run.rival:
                run.rival.make_way(f"branch {branch}")
            answer = self.dnf.run("install", "--allowerasing", *names) if names else NOTHING
            run.see_kernels()
            self.settle()
            run.build(lacking or run.lacking())
            if answer.rc != 0:
                log = _driver_load.build_log(run.host)
                raise Failed(f"the installation of driver {branch} failed: {complaints(answer)}{log}")
            driver = installed_driver(self.packages)
            left = self._due(branch)
            if left:
                raise Failed(f"dnf reported success, and {left[0]}")
            run.prove_modules(driver[0] if driver else branch, wanted.flavor)
        except Failed as failure:
            raise Failed(self._undo(old, module, rival, str(failure))) from failure
        finally:
            self.settle()
            self._lock(again=True)
        if due:
            self._keep(self.drivers())
            self._remember(rival or cut or old)

    def _undo(self, old: Optional[Dict[str, Any]], module: str, rival: Optional[Dict[str, Any]], words: str) -> str:
        """Take back what was changed, by files that are kept or by dnf's history, and return the whole sentence.

        ``module`` is what dnf had noted of the module stream, ``rival`` the driver of a runfile that was there.
        """
        self.settle()
        before = old["packages"] if old else {}
        if self.drivers() != before and len(self.dnf.kept(before)) == len(before):
            self._put(before, module)
        elif self.drivers() != before:
            self.dnf.run("history", "undo", "last")
            self.settle()
        self._set_module(module)
        if self.drivers() == before:
            self.run.remember(changing=None)
        head, _newline, tail = words.partition("\n")
        back = f"driver {old['version']} is installed as before" if old else "no driver is installed, as before"
        state = back if self.drivers() == before else "but the packages are not as before; see `dnf history`"
        problem = self.run.rival.come_back(rival) if rival else None
        whole = f"{head}. It was taken back: {state}" + ("\n" + tail if tail else "")
        return whole + (f" But {problem}" if problem else "")

    def _ours(self) -> List[str]:
        return self.run.host.read_text(_driver.HOLDS, quiet=True).split()

    def _release(self) -> None:
        if self._ours():
            self.dnf.run(*OFFLINE, "versionlock", "delete", *self._ours())

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
            answer = self.dnf.run(*OFFLINE, "versionlock", "add", *late)
            if answer.rc != 0:
                raise Failed(f"the driver is installed and its versions cannot be locked: {complaints(answer)}")
        if gone:
            self.dnf.run(*OFFLINE, "versionlock", "delete", *gone)

    # ---- what a runfile needs of the packages ----

    def missing_to_build(self) -> List[str]:
        """Return what a build of the modules by DKMS needs and the host does not have."""
        return [name for name in ("dkms", "gcc", "make") if name not in self.packages] + self._headers()

    def require_to_build(self) -> None:
        """Install what a build of the modules needs. DKMS is in EPEL, which is not ours to add."""
        names = self.missing_to_build()
        if names:
            self.dnf.must("install", *names)
            self.settle()
            self.run.see_kernels()

    def keep_drivers(self, change: str) -> None:
        """Keep the files of the driver's packages before they are removed, and refuse if others would go with them."""
        before = self.drivers()
        if not before:
            return
        self._refuse_needed(before)
        gone = self._keep(before)
        if gone:
            self.run.warnings.append(
                f"the files of {', '.join(gone)} are not to be had any more, so there is no way back from {change}"
            )

    def _refuse_needed(self, drivers: Dict[str, str]) -> None:
        """Refuse to remove the driver's packages where others would go with them."""
        test = self.run.host.run(["rpm", "--erase", "--test", *drivers], QUERY_SECONDS)
        if test.rc != 0:
            raise Failed(
                f"the driver's packages are to go, and others need them: {complaints(test)}. No package was changed"
            )

    def refuse_held(self) -> None:
        """Do nothing: dnf changes nothing that somebody locked, and says so."""

    def put_aside(self) -> None:
        """Remove the driver's packages, for another driver to come."""
        self.aside = self._record()
        self._release()
        self.dnf.must(*OFFLINE, "remove", *self.drivers())
        self.settle()

    def bring_back(self, before: Dict[str, str]) -> Optional[str]:
        """Install the driver's packages again; return what is still wrong, or None."""
        answer = self._put(before, self.aside["module"] if self.aside else "")
        self._lock(again=True)
        return None if self.drivers() == before else f"the packages are not as before: {complaints(answer)}"

    def leave(self) -> None:
        """Remove what makes the driver's packages available."""
        self.run.file(REPOSITORY, "")
        self.run.file(KEY, "")
        self._lock(again=True)

    def tidy(self) -> None:
        """Keep the files of this driver and of the one before it, and no others."""
        self.run.tidy(file for record in self.run.records() for file in self.dnf.kept(record["packages"]).values())

    # ---- going back, and going away ----

    def previous(self) -> Tuple[str, str]:
        """Install the driver that was there before, from the files that were kept; no network."""
        run = self.run
        self.settle()
        if not run.check_mode and run.state.get("changing"):
            self._remember(run.state["changing"])
        old, record = self._record(), run.state.get("previous")
        if not record:
            raise Failed("there is no earlier driver to go back to: this role has changed none on this host")
        wish = _driver.described(record)
        absent = sorted(name for name in record["packages"] if name not in self.dnf.kept(record["packages"]))
        if absent:
            raise Failed(
                f"{wish} cannot come back: the files of {', '.join(absent)} are not in {_driver.ARCHIVES}. "
                "No package was changed"
            )
        run.refuse_busy(wish)
        run.refuse_full()
        run.reasons.append(f"{wish} comes back" + (f" in place of {old['version']} ({old['flavor']})" if old else ""))
        if run.check_mode:
            return record["version"], record["flavor"]
        if old:
            self._keep(old["packages"])
        rival, module = run.rival.there if run.rival else None, self._module()
        self._release()
        try:
            if run.rival:
                run.rival.make_way(record["version"])
            answer = self._put(record["packages"], record.get("module", ""))
            run.build(run.lacking())
            if answer.rc != 0 or self.drivers() != record["packages"]:
                raise Failed(f"{wish} cannot come back: {complaints(answer)}{_driver_load.build_log(run.host)}")
            run.prove_modules(record["version"], record["flavor"])
        except Failed as failure:
            raise Failed(self._undo(old, module, rival, str(failure))) from failure
        finally:
            self.settle()
            self._lock(again=True)
        self._remember(rival or old)
        run.file(_driver.MODPROBE, _driver.modprobe_conf())
        run.file(_driver.MODULES_LOAD, _driver.modules_load(self.wanted.peermem))
        run.initramfs()
        return record["version"], record["flavor"]

    def absent(self) -> None:
        """Remove the driver and everything that this role put beside it."""
        run = self.run
        self.settle()
        names = _driver.family(self.packages)
        if names:
            run.refuse_busy("its removal")
            run.reasons.append(f"{', '.join(names)} is removed")
            if not run.check_mode:
                self._refuse_needed(self.drivers())
                self._release()
                self.dnf.must("remove", *names)
                if enabled_stream(run.host.read_text(STREAM, quiet=True)):
                    self.dnf.must("module", "reset", "nvidia-driver")
        ours = (REPOSITORY, KEY, CONTAINER_DNF.entry, CONTAINER_DNF.key)
        for path in (*ours, _driver.PERSISTENCE, _driver.MODPROBE, _driver.MODULES_LOAD):
            run.file(path, "")
        run.initramfs()
        if not run.check_mode:
            run.forget()
