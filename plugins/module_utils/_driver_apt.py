# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver on Debian and Ubuntu. Private to the collection.

What can be refused is refused before the first change; whatever fails after it, the previous driver comes back.
"""

import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver, _driver_load, _system
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import (
    Apt,
    Failed,
    Package,
    complaints,
    parse_simulation,
    upstream,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver import Choice, Driver
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import (
    CONTAINER_APT,
    CUDA_APT,
    apt_login,
    as_before,
    owners,
    repository_entry,
    without_login,
    without_repository,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import write_file

Policy = Dict[str, Tuple[Optional[str], List[str]]]


class Job(NamedTuple):
    """An installation that apt has resolved: what to ask for, what comes, what goes, and the driver's version."""

    names: List[str]
    remove: List[str]
    comes: Dict[str, str]
    version: str


class AptDriver:
    """The driver's packages on a host with apt."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.wanted = run.wanted
        self.apt = Apt(run.host, run.host.path(_driver.ARCHIVES), run.wanted.lock_timeout, run.wanted.timeout)
        self.apt.warnings = run.warnings
        self.packages = {}  # type: Dict[str, Package]
        self.broken = None  # type: Optional[Failed]  # why the driver that is there cannot be finished
        self.replaced = None  # type: Optional[Dict[str, Any]]  # the driver of a runfile that gave way

    # ---- looking ----

    def settle(self) -> None:
        """Read what is installed, and first repair what a dpkg that was cut off left half done."""
        self.packages = self.apt.packages()
        half = [name for name, package in self.packages.items() if package.status != "installed"]
        if half or self.apt._journal():
            if self._repair(half):
                self.run.reasons.append("dpkg was cut off" + (f" at {', '.join(sorted(half))}" if half else ""))
            self.packages = self.apt.packages()
        cut = self.run.state.get("changing")
        if not cut or self.run.check_mode:
            return
        there = self.drivers()
        if there == cut["packages"]:
            self.run.remember(changing=None)
        elif self.driver() and cut["comes"] and set(cut["comes"].items()) <= set(there.items()):
            self._record(cut["comes"], *self._before())

    def _repair(self, half: List[str]) -> bool:
        """Finish what is half done; where that fails, and a change of ours was cut off, take it back.

        A driver that does not compile is no obstacle for another one, nor are kernels, whose installation compiles it.
        """
        try:
            return self.apt.repair(self.run.check_mode)
        except Failed as failure:
            cut = self.run.state.get("changing")
            if cut and not self.apt.restore(cut["packages"], list(cut["comes"])):
                return True
            others = [name for name in half if not re.match("linux-(image|headers)-", name)]
            if not others or _driver.family(others) != sorted(others):
                raise
            self.broken = failure
        return False

    def _before(self) -> Tuple[Dict[str, str], Optional[Driver]]:
        """Return the driver's packages and the driver that a change begins with, also one that was cut off."""
        cut = self.run.state.get("changing")
        if not cut:
            return self.drivers(), self.driver()
        return cut["packages"], Driver(cut["version"], cut["flavor"], []) if cut["version"] else None

    def drivers(self) -> Dict[str, str]:
        """Return the driver's packages that are installed, with their versions."""
        return {name: self.packages[name].version for name in _driver.family(self.packages)}

    def driver(self) -> Optional[Driver]:
        """Return the driver that is installed."""
        return _driver.installed_driver(self.packages)

    def branch(self) -> str:
        """Return the branch that is wanted; without a wish the one that is there, and else the distribution's.

        Empty where that is not known yet: Debian's lists have no driver before its component is among the sources.
        """
        if self.wanted.version or self.wanted.branch:
            return self.wanted.branch or self.wanted.version.split(".")[0]
        driver = self.driver()
        if driver:
            return driver.version.split(".")[0]
        candidate = self.apt.policy(["nvidia-kernel-dkms"]).get("nvidia-kernel-dkms", (None, []))[0]
        if self.run.system.name == "debian" and candidate:
            return upstream(candidate).split(".")[0]
        return ""

    def choose(self, branch: str, ask: bool) -> Optional[Choice]:
        """Return the packages; None where the host alone does not say which, and apt may not be asked."""
        wanted, system = self.wanted, self.run.system
        if not branch:
            return None
        if wanted.source != "distribution":
            return _driver.nvidia_packages(branch, wanted.version, wanted.flavor)
        if system.name == "debian":
            candidates = self.apt.policy(_driver.debian_candidates(branch)) if ask else {}
            try:
                stem = _driver.debian_stem(branch, self.packages, candidates)
            except Failed:
                if ask:
                    raise
                return None
            return _driver.debian_packages(stem, wanted.flavor, wanted.headless, wanted.persistence)
        prebuilt = self._prebuilt(branch, ask)
        if prebuilt is None:
            return None
        kernels = self.run.machine.kernels
        return _driver.ubuntu_packages(branch, wanted.flavor, wanted.headless, kernels, prebuilt, self.packages)

    def open_version(self, ask: bool = False) -> str:
        """Return the version that Debian's open modules are or would be of; empty where they are not wanted.

        They are a source package of their own, and security updates bring a newer driver without them: all else has to
        be of their version.
        """
        wanted, name = self.wanted, _driver.DEBIAN_OPEN
        if wanted.source != "distribution" or wanted.flavor != "open" or self.run.system.name != "debian":
            return ""
        there = [self.packages[name].version] if name in self.packages and not (ask and wanted.upgrade) else []
        versions, branch = map(upstream, there + (self.apt.offered(name) if ask else [])), self.branch()
        return next((version for version in versions if version.split(".")[0] == branch), "")

    def _prebuilt(self, branch: str, ask: bool) -> Optional[bool]:
        """Say whether Ubuntu's own modules are taken: where every kernel has them, unless DKMS is wanted."""
        if self.wanted.modules != "auto":
            return self.wanted.modules == "prebuilt"
        names = _driver.prebuilt_names(branch, self.wanted.flavor, self.run.machine.kernels, self.packages)
        there = [name in self.packages for name in names]
        if all(there) or (any(there) and not ask):
            return True
        if ask:
            policy = self.apt.policy(names)
            return bool(names) and all(policy.get(name, (None, []))[0] for name in names)
        dkms = _driver.ubuntu_packages(branch, self.wanted.flavor, True, [], False).kernel
        return False if dkms[0] in self.packages else None

    def headers(self, choice: Choice) -> Tuple[List[str], List[str]]:
        """Return the headers of the kernels that need them; none where modules come built."""
        if choice.kernel and all(_driver.PREBUILT.match(name) for name in choice.kernel):
            return [], []
        machine = self.run.machine
        return _driver.headers(
            self.run.system, self.packages, [] if machine.container else machine.kernels, machine.arch
        )

    def compilers(self) -> List[str]:
        """Return the compilers that the kernels were built with, where they say so."""
        texts = [self.run.host.read_text(f"/boot/config-{name}", quiet=True) for name in self.run.machine.kernels]
        return sorted({name for name in map(_driver.compiler, texts) if name})

    # ---- sources ----

    def sources(self) -> List[Dict[str, Any]]:
        """Return apt's sources from all files but our own."""
        return [source for source in _system.apt_sources(self.run.host) if source["file"] != _driver.SOURCES]

    def source_files(self) -> Dict[str, str]:
        """Return the files that make the driver's packages available, an empty text for one that must not be."""
        wanted = self.wanted
        files = {_driver.SOURCES: "", _driver.KEYRING: "", _driver.PREFERENCES: "", _driver.LOGIN: ""}
        files.update(self._container_files())
        if wanted.source == "distribution":
            files[_driver.PREFERENCES] = _driver.pin("", "", wanted.version or self.open_version())
            if self.run.system.name == "debian":
                files[_driver.SOURCES] = _driver.non_free_sources(self.run.system, self.sources())
            return files
        files[_driver.SOURCES] = _driver.repository_sources(wanted.repository_url, self.run.machine.arch)
        files[_driver.PREFERENCES] = _driver.pin(wanted.repository_url, self.branch(), wanted.version)
        files[_driver.KEYRING] = self.run.key(_driver.KEYRING)
        files[_driver.LOGIN] = apt_login(wanted.repository_url)
        return files

    def _container_files(self) -> Dict[str, str]:
        files = dict.fromkeys(filter(None, CONTAINER_APT), "")
        others = [source for source in self.sources() if source["file"] != CONTAINER_APT.entry]
        url = self.run.container_url(lambda url: owners(url, others))
        if url:
            entry = repository_entry(url, self.run.machine.arch, CONTAINER_APT.key)
            files[CONTAINER_APT.entry] = f"# {_driver.HEADER}\n{entry}"
            files[CONTAINER_APT.key] = self.run.key(CONTAINER_APT.key, "container_toolkit")
            files[CONTAINER_APT.login] = apt_login(url)
        return files

    def duplicates(self) -> List[str]:
        """Return the other files that have the repository too; one owner, or apt refuses to work at all."""
        if self.wanted.source == "distribution":
            return []
        files = [name for name in owners(self.wanted.repository_url, self.sources()) if name != CUDA_APT.entry]
        if files and self.wanted.duplicates == "report":
            raise Failed(
                f"{', '.join(files)} has {without_login(self.wanted.repository_url)} already. Two entries for one "
                "repository stop apt as soon as their keys differ: remove it, or set nvidia_driver_duplicates=remove, "
                "which keeps a copy. No package was changed"
            )
        return files

    def take_from_cuda(self) -> None:
        """Take the repository over from role cuda, where that brought it first."""
        if self.wanted.source != "distribution":
            text = self.run.host.read_text(CUDA_APT.entry, quiet=True)
            left = without_repository(text, self.wanted.repository_url)
            if text and left != text + "\n":
                self.run.take_from_cuda(CUDA_APT, left)

    # ---- deciding ----

    def due(self, branch: str, choice: Optional[Choice]) -> List[str]:
        """Return why packages have to be changed, without asking apt."""
        driver, wanted = self.driver(), self.wanted
        if driver is None:
            name = wanted.version or branch or "of the distribution"
            return [f"driver {name} ({wanted.flavor}) is not installed"]
        if choice is None:
            return [f"driver {driver.version} is installed, {wanted.version or branch} is wanted"]
        found = []
        if (wanted.version and driver.version != wanted.version) or driver.version.split(".")[0] != branch:
            found.append(f"driver {driver.version} is installed, {wanted.version or branch} is wanted")
        if driver.flavor != wanted.flavor:
            found.append(f"the {driver.flavor} modules are installed, {wanted.flavor} ones are wanted")
        fabric = self.run.fabric_manager()
        missing = [name for name in [*choice.kernel, *choice.user, *fabric] if name not in self.packages]
        for name in fabric:
            version = upstream(self.packages[name].version) if name in self.packages else driver.version
            if version != driver.version and not found:
                found.append(f"{name} is {version} and the driver {driver.version}")
        if missing and not found:
            found.append(f"{', '.join(missing)} is not installed")
        gone = _driver.leftovers(self.packages, [*choice.kernel, *choice.user], branch, wanted.flavor)
        if gone and not found:
            found.append(f"{', '.join(gone)} belongs to another driver")
        return found

    def resolve(self, branch: str, keep: bool) -> Job:
        """Let apt resolve what is wanted, and refuse what would touch anything else."""
        choice = self.choose(branch, ask=True)
        exact, meta = self.headers(choice)
        compilers = self.compilers() if exact or meta else []
        drivers = [*choice.kernel, *choice.user]
        fabric, beside = self.run.fabric_manager(), self.run.companions(branch)
        policy = self.apt.policy([*drivers, *exact, *meta, *compilers, *beside, *fabric])
        absent = [name for name in [*drivers, *beside] if not policy.get(name, (None, []))[0]]
        if absent:
            raise Failed(f"the source {self.wanted.source} does not have {', '.join(absent)}. No package was changed")
        for name in drivers:
            self._check_version(name, policy)
        there = self.packages if keep else {}
        names = [f"{name}={there[name].version}" if name in there else name for name in [*drivers, *beside]]
        names += self._headers(exact, meta, policy)
        names += [name for name in compilers if policy.get(name, (None, []))[0]]
        try:
            comes, _goes = self.apt.simulate(names)
        except Failed:  # apt may want to keep what conflicts: the other driver, which is to go anyway
            comes, _goes = self.apt.simulate(
                names, _driver.leftovers(self.packages, drivers, branch, self.wanted.flavor)
            )
        version = self._version(comes, choice, branch)
        for name in fabric:
            exactly = [one for one in policy.get(name, (None, []))[1] if upstream(one) == version]
            if not exactly:
                raise Failed(
                    f"{name} is not to be had in exactly the driver's version {version}. No package was changed"
                )
            names.append(f"{name}={exactly[0]}")
        remove = _driver.leftovers(self.packages, self._staying(comes, choice), branch, self.wanted.flavor)
        comes, goes = self.apt.simulate(names, remove)
        self._refuse_harm(goes)
        return Job(names, remove, comes, version)

    @staticmethod
    def _refuse_harm(goes: List[str]) -> None:
        """Refuse where apt would remove anything but a driver."""
        harmed = [name for name in goes if not _driver.FAMILY.match(name)]
        if harmed:
            raise Failed(
                f"apt would remove {', '.join(harmed)} to install the driver; remove it yourself if that is meant. "
                "No package was changed"
            )

    def _check_version(self, name: str, policy: Policy) -> None:
        """Refuse where a package that carries the driver's version is not to be had in the one that is wanted."""
        candidate, versions = policy[name]
        wanted, offered = self.wanted.version, upstream(candidate or "")
        if wanted and _driver.DRIVER_VERSION.match(offered) and offered != wanted and name != "nvidia-persistenced":
            raise Failed(
                f"{name} {wanted} is not to be had from the source {self.wanted.source}; there is "
                f"{', '.join(upstream(one) for one in versions)}. No package was changed"
            )

    def _headers(self, exact: List[str], meta: List[str], policy: Policy) -> List[str]:
        machine, found = self.run.machine, []
        for name in exact:
            release = name.replace("linux-headers-", "", 1)
            if name in self.packages or policy.get(name, (None, []))[0]:
                found.append(name)
            elif not self.run.host.leads_somewhere(f"/lib/modules/{release}/build"):
                newer = [kernel for kernel in machine.kernels if release == machine.release != kernel]
                raise Failed(
                    f"the headers of kernel {release} are not to be had any more, so no driver can be built for it; "
                    + ("reboot into " + newer[0] if newer else "install a current kernel")
                    + ", then run this again. No package was changed"
                )
        for name in meta:
            image = self.packages.get(name.replace("-headers-", "-image-", 1))
            candidate, versions = policy.get(name, (None, []))
            if image and image.version in versions and name not in self.packages:
                found.append(f"{name}={image.version}")  # backports have a newer kernel, and apt takes it only so
            elif candidate:
                found.append(name)
        return found

    def _staying(self, comes: Dict[str, str], choice: Choice) -> Set[str]:
        """Return what comes to stay: apt may bring the other flavour's modules, which go, to the version too."""
        flavors = (None, self.wanted.flavor)
        staying = {name for name in comes if name not in self.packages or _driver.flavor_of(name) in flavors}
        return {*staying, *choice.kernel, *choice.user}

    def _version(self, comes: Dict[str, str], choice: Choice, branch: str) -> str:
        there = {name: package.version for name, package in self.packages.items()}
        after = {name: Package(name, version, "installed", False) for name, version in {**there, **comes}.items()}
        for name in _driver.leftovers(after, self._staying(comes, choice), branch, self.wanted.flavor):
            after.pop(name, None)
        driver = _driver.installed_driver(after)
        if driver is None or driver.version.split(".")[0] != branch or driver.flavor != self.wanted.flavor:
            got = f"{driver.version} ({driver.flavor})" if driver else "no kernel modules"
            raise Failed(
                f"the packages {', '.join([*choice.kernel, *choice.user])} bring {got}, and driver {branch} "
                f"({self.wanted.flavor}) is wanted. No package was changed"
            )
        return driver.version

    # ---- doing ----

    def present(self) -> Tuple[Optional[str], str]:
        """Make the driver be installed; return version and flavour."""
        run = self.run
        self.settle()
        files, doubles = self.source_files(), self.duplicates()
        branch = self.branch()
        choice = self.choose(branch, ask=False)
        beside = self.run.companions(branch) if branch else []
        due = self.due(branch, choice)
        if self.broken and not due:
            raise self.broken
        if due:
            run.refuse_busy(due[0])
            self.refuse_held()
        lacking = run.lacking() if choice else []
        parts = self.headers(choice) if choice else ()
        missing = [name for part in [*parts, beside] for name in part if name not in self.packages]
        if due or lacking or self.wanted.upgrade:
            prebuilt = bool(choice and choice.kernel and all(_driver.PREBUILT.match(name) for name in choice.kernel))
            run.refuse_unsigned(prebuilt or self.wanted.modules == "prebuilt")
            run.refuse_full()
        run.reasons += due + [f"kernel {release} has no module of it" for release in lacking if not due]
        run.reasons += [f"{name} is not installed" for name in missing if not due and not lacking]
        install = due or lacking or missing or self.wanted.upgrade
        with as_before(run.host, [*files, *doubles, *CUDA_APT]):
            run.take_over(doubles)
            self.take_from_cuda()
            changed = [run.file(path, text) for path, text in files.items()]
            if (install or any(changed)) and not run.check_mode:
                self.apt.update(self._needed())
        run.file(_driver.MODPROBE, _driver.modprobe_conf())
        run.sign()
        if install and run.check_mode:
            self._predict(branch, due)
            return (self.wanted.version or branch or None), self.wanted.flavor
        if install:
            self._install(lacking, keep=not due and not self.wanted.upgrade)
        self._finish()
        driver = self.driver()
        return driver.version, driver.flavor

    def _needed(self) -> List[str]:
        if self.wanted.source != "distribution":
            urls = [self.wanted.repository_url]
            urls += [self.wanted.container_toolkit_url] if self.wanted.container_toolkit else []
            return [without_login(url) for url in urls if url]
        return [source["uri"] for source in _system.apt_sources(self.run.host) if source["type"] == "deb"]

    def _predict(self, branch: str, due: List[str]) -> None:
        if due:
            driver = self.driver()
            self.run.diff.append(
                {
                    "before_header": "driver",
                    "after_header": "driver",
                    "before": f"{driver.version} {driver.flavor}\n" if driver else "",
                    "after": f"{self.wanted.version or branch or 'of the distribution'} {self.wanted.flavor}\n",
                }
            )

    def _install(self, lacking: List[str], keep: bool) -> None:
        """Install what is missing; ``keep``: not the driver, which stays what it is though there may be a newer one."""
        run, apt = self.run, self.apt
        self.packages = apt.packages()
        branch = self.branch()
        if not branch:
            raise Failed("which driver is wanted is not said: set nvidia_driver_branch")
        if not self.wanted.version:
            self.wanted = self.wanted._replace(version=self.open_version(ask=True))
            if self.wanted.version:
                run.file(_driver.PREFERENCES, _driver.pin("", "", self.wanted.version))
        before, old = self._before()
        self.release()
        try:
            job = self.resolve(branch, keep)
            due = bool(_driver.family(job.comes) or job.remove)
            if due:
                self._keep(job, before, old)
            if job.comes or job.remove:
                apt.download(job.names, job.remove)
                apt.keep({name: job.comes[name] for name in _driver.family(job.comes)})
            if job.comes or job.remove or lacking:
                self._change(job, before, old)
        finally:
            self.packages = apt.packages()
            self.hold(again=True)
        if due:
            if old and not run.reasons:
                run.reasons.append(f"driver {old.version} is replaced by {job.version}")
            self._record(job.comes, before, old)

    def _keep(self, job: Job, before: Dict[str, str], old: Optional[Driver]) -> None:
        """Keep the files of what is installed now, or say that there is no way back."""
        gone = self.apt.keep(before)
        if gone:
            self.run.warnings.append(
                f"the files of {', '.join(gone)} are not to be had any more, so there is no way back from driver "
                f"{job.version} to {old.version if old else 'what was installed'}"
            )

    def _change(self, job: Job, before: Dict[str, str], old: Optional[Driver]) -> None:
        run, apt = self.run, self.apt
        if _driver.family(job.comes) or job.remove:
            run.refuse_busy(f"driver {job.version}")  # somebody may have begun to work since the run began
            was = {"version": old and old.version, "flavor": old and old.flavor, "packages": before}
            comes = {name: job.comes[name] for name in _driver.family(job.comes)}
            run.remember(changing={**was, "comes": comes})  # a later run goes on from here if this one is cut off
        self.replaced = run.rival.there if run.rival else None
        try:
            if run.rival:
                run.rival.make_way(job.version)
            result = apt.install(job.names, job.remove)
            if result.rc != 0:
                log = _driver_load.build_log(run.host)
                raise Failed(f"the installation of driver {job.version} failed: {complaints(result)}{log}")
            run.see_kernels()
            run.build(run.lacking())  # its headers came after the driver, or its last build was cut off
            run.prove_modules(job.version, self.wanted.flavor)
        except Failed as failure:
            if not _driver.family(job.comes) and not job.remove:
                raise
            problem = apt.restore(before, [*_driver.family(job.comes), *self.drivers()])
            if not problem:
                run.remember(changing=None)
            if self.replaced:
                problem = run.rival.come_back(self.replaced) or problem
            version = self.replaced["version"] if self.replaced else old and old.version
            back = f"driver {version} is installed as before" if version else "no driver is installed, as before"
            words = f"but {problem}" if problem else f"apt is healthy and {back}"
            head, _newline, tail = str(failure).partition("\n")
            raise Failed(f"{head}. It was taken back: {words}" + ("\n" + tail if tail else "")) from failure

    def _record(self, comes: Dict[str, str], before: Dict[str, str], old: Optional[Driver]) -> None:
        now = self.driver()
        current = {
            "version": now.version,
            "flavor": now.flavor,
            "packages": self.drivers(),
        }
        added = sorted({*self.run.state.get("added", []), *[name for name in comes if name not in before]})
        previous = {"version": old.version, "flavor": old.flavor, "packages": before} if old else None
        previous = self.replaced or previous
        self.run.diff.append(
            {
                "before_header": "packages",
                "after_header": "packages",
                "before": "".join(f"{name} {version}\n" for name, version in sorted(before.items())),
                "after": "".join(f"{name} {version}\n" for name, version in sorted(current["packages"].items())),
            }
        )
        previous = previous or self.run.state.get("previous")
        self.run.remember(current=current, previous=previous, added=added, changing=None)
        self.tidy()

    def tidy(self) -> None:
        """Keep the files of this driver and of the one before it, and no others."""
        self.run.tidy(
            self.apt.file(name, version)
            for record in self.run.records()
            for name, version in record["packages"].items()
        )

    def _finish(self) -> None:
        """Do what stands beside the packages: files, holds, initramfs."""
        run, wanted = self.run, self.wanted
        run.file(_driver.MODULES_LOAD, _driver.modules_load(wanted.peermem))
        run.file(_driver.UNATTENDED, _driver.unattended_conf() if wanted.hold else "")
        run.initramfs()
        self.hold()

    # ---- holds ----

    def holds(self) -> List[str]:
        """Return what this role put on hold."""
        return self.run.host.read_text(_driver.HOLDS, quiet=True).split()

    def refuse_held(self) -> None:
        """Refuse where somebody else put packages of the driver on hold."""
        ours = self.holds()
        held = [name for name in _driver.family(self.packages) if self.packages[name].held and name not in ours]
        if held:
            raise Failed(
                f"{', '.join(held)} is on hold, and not by this role; `apt-mark unhold` it if it may be changed. "
                "No package was changed"
            )

    def release(self) -> None:
        """Lift our own holds, for as long as something has to change."""
        self.apt.unhold([name for name in self.holds() if name in self.packages and self.packages[name].held])

    def hold(self, again: bool = False) -> None:
        """Put the driver's packages on hold, or take our own holds away; those of others stay.

        ``again``: it ends what release() began, and is no news.
        """
        ours = self.holds()
        there = _driver.to_hold(self.packages) if self.wanted.hold else []
        late = [name for name in there if not self.packages[name].held]
        gone = [name for name in ours if name not in there and name in self.packages and self.packages[name].held]
        mine = sorted({*late, *[name for name in ours if name in there]})
        if (late or gone) and not again:
            self.run.reasons.append("the driver's packages are put on hold" if late else "holds are lifted")
        if not self.run.check_mode:
            if mine and sorted(ours) != mine:
                write_file(self.run.host.path(_driver.HOLDS), "\n".join(mine) + "\n")
            self.apt.hold(late)
            self.apt.unhold(gone)
            if not mine and ours:
                os.unlink(self.run.host.path(_driver.HOLDS))
            if late or gone:
                self.packages = self.apt.packages()

    # ---- what a runfile needs of the packages ----

    def missing_to_build(self) -> List[str]:
        """Return what a build of the modules by DKMS needs and the host does not have."""
        exact, meta = self.headers(Choice([], []))
        return [name for name in ["dkms", *exact, *meta] if name not in self.packages]

    def require_to_build(self) -> None:
        """Install what a build of the modules needs: DKMS, the headers of each kernel and its compiler."""
        if not self.missing_to_build():
            return
        self.apt.update(self._needed())
        exact, meta = self.headers(Choice([], []))
        beside = ["make", *self.compilers()]
        policy = self.apt.policy(["dkms", *exact, *meta, *beside])
        names = ["dkms", *self._headers(exact, meta, policy)]
        names += [name for name in beside if policy.get(name, (None, []))[0]]
        comes, goes = self.apt.simulate(names)
        if goes:
            raise Failed(f"apt would remove {', '.join(goes)} to install {', '.join(names)}. No package was changed")
        result = self.apt.install(names)
        if result.rc != 0:
            raise Failed(f"what the driver's build needs cannot be installed: {complaints(result)}")
        added = sorted({*self.run.state.get("added", []), *[name for name in comes if name not in self.packages]})
        self.packages = self.apt.packages()
        self.run.remember(added=added)
        self.run.see_kernels()

    def keep_drivers(self, change: str) -> None:
        """Keep the files of the driver's packages before they are removed, and refuse if others would go with them."""
        before = self.drivers()
        if not before:
            return
        self._refuse_needed(before)
        gone = self.apt.keep(before)
        if gone:
            self.run.warnings.append(
                f"the files of {', '.join(gone)} are not to be had any more, so there is no way back from {change}"
            )

    def _refuse_needed(self, drivers: Dict[str, str]) -> None:
        """Refuse to remove the driver's packages where others would go with them."""
        result = self.apt.get(["--simulate", "--allow-change-held-packages", "purge", *drivers])
        if result.rc != 0:
            raise Failed(f"the driver's packages cannot be removed: {complaints(result)}. No package was changed")
        harmed = [name for name in parse_simulation(result.stdout)[1] if name not in drivers]
        if harmed:
            raise Failed(
                f"{', '.join(harmed)} needs the driver's packages, which are to go; remove it yourself if that is "
                "meant. No package was changed"
            )

    def put_aside(self) -> None:
        """Remove the driver's packages, for another driver to come."""
        self.release()
        result = self.apt.purge(list(self.drivers()))
        self.packages = self.apt.packages()
        if result.rc != 0:
            raise Failed(f"the driver's packages cannot be removed: {complaints(result)}")

    def bring_back(self, before: Dict[str, str]) -> Optional[str]:
        """Install the driver's packages again; return what is still wrong, or None."""
        problem = self.apt.restore(before, [])
        self.packages = self.apt.packages()
        self.hold(again=True)
        return problem

    def leave(self) -> None:
        """Remove what makes the driver's packages available, and keep those of others out."""
        for path in (_driver.SOURCES, _driver.KEYRING, _driver.LOGIN, _driver.UNATTENDED):
            self.run.file(path, "")
        self.run.file(_driver.PREFERENCES, _driver.no_packages() if self.wanted.hold else "")
        self.hold(again=True)

    # ---- going back, and going away ----

    def previous(self) -> Tuple[str, str]:
        """Install the driver that was there before, from the files that were kept; no network."""
        self.settle()
        record = self.run.state.get("previous")
        driver = self.driver()
        if not record:
            raise Failed("there is no earlier driver to go back to: this role has changed none on this host")
        wish = _driver.described(record)
        files = {name: self.apt.file(name, version) for name, version in record["packages"].items()}
        absent = sorted(name for name, file in files.items() if not file)
        if absent:
            raise Failed(
                f"{wish} cannot come back: the files of {', '.join(absent)} are not in {_driver.ARCHIVES}. "
                "No package was changed"
            )
        self.run.refuse_busy(wish)
        self.refuse_held()
        self.run.refuse_full()
        self.run.reasons.append(
            f"{wish} comes back" + (f" in place of {driver.version} ({driver.flavor})" if driver else "")
        )
        if self.run.check_mode:
            return record["version"], record["flavor"]
        before = self.drivers()
        remove = [name for name in before if name not in record["packages"]]
        names = [file for _name, file in sorted(files.items()) if file]
        self.wanted = self.wanted._replace(flavor=record["flavor"], branch=record["version"].split(".")[0], version="")
        self.release()
        try:
            comes, goes = self.apt.simulate(names, remove)
            self._refuse_harm(goes)
            job = Job(names, remove, comes, record["version"])
            self._change(job, before, driver)
        finally:
            self.packages = self.apt.packages()
            self.hold(again=True)
        self._record(job.comes, before, driver)
        if self.run.host.read_text(_driver.PREFERENCES, quiet=True) == _driver.no_packages().strip():
            self.run.file(_driver.PREFERENCES, "")
        self._finish()
        return record["version"], record["flavor"]

    def absent(self) -> None:
        """Remove the driver and everything that this role put beside it."""
        run = self.run
        self.settle()
        names, left = _driver.family(self.packages), _driver.family(self.apt.removed())
        if left:
            run.reasons.append(f"the configuration of {', '.join(left)}, which is gone, is removed")
        if names:
            run.refuse_busy("its removal")
            self.refuse_held()
            run.reasons.append(f"{', '.join(names)} is removed")
        if names and not run.check_mode:
            self._refuse_needed(self.drivers())
            obstacle = _driver_load.unload(run.host, run.machine.modules) if run.machine.loaded else None
            if obstacle:
                run.warnings.append(f"the driver stays loaded until the next start: {obstacle}")
            self.release()
        if (names or left) and not run.check_mode:
            result = self.apt.purge([*names, *left])
            if result.rc != 0:
                raise Failed(f"the driver cannot be removed: {complaints(result)}")
        if not run.check_mode:
            self._remove_added()
        for path in (_driver.SOURCES, _driver.KEYRING, _driver.LOGIN, _driver.PREFERENCES, _driver.UNATTENDED):
            run.file(path, "")
        for path in (_driver.PERSISTENCE, _driver.MODPROBE, _driver.MODULES_LOAD, *filter(None, CONTAINER_APT)):
            run.file(path, "")
        run.initramfs()
        if run.check_mode:
            return
        run.forget()

    def _remove_added(self) -> None:
        """Remove what came with the driver and that nothing needs now: compilers, headers, DKMS."""
        self.packages = self.apt.packages()
        added = [name for name in self.run.state.get("added", []) if name in self.packages]
        if not added:
            return
        self.apt._must(["apt-mark", "auto", *added], 120, locked=True)
        result = self.apt.get(["--simulate", "autoremove"])
        free = [name for name in parse_simulation(result.stdout)[1] if name in added]
        if free:
            self.apt.purge(free)
