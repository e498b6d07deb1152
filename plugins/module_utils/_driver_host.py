# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of nvidia_driver on one host: what is known, refusals, files, proof, loading. Private to the collection."""

import hashlib
import json
import os
import shutil
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils import (
    _driver,
    _driver_load,
    _driver_sign,
    _gpu_kernel,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import (
    Files,
    mode_of,
    owners,
    repository_key,
    without_source,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import put_file, write_file

MB = 1000 * 1000
INITRAMFS_SECONDS = 900
SERVICE_SECONDS = 60
KEPT = (".deb", ".rpm", ".run", ".run.part")


class Wanted(NamedTuple):
    """The options of the module."""

    state: str = "present"
    source: str = "distribution"
    branch: str = ""
    version: str = ""
    flavor: str = "proprietary"
    headless: bool = True
    modules: str = "auto"
    repository_url: str = ""
    repository_key: str = ""
    repository_fingerprint: str = ""
    ca_file: Optional[str] = None
    runfile_url: str = ""
    runfile_checksum: str = ""
    signing_key: str = ""
    signing_certificate: str = ""
    duplicates: str = "report"
    upgrade: bool = False
    hold: bool = True
    persistence: bool = True
    fabric_manager: str = ""
    peermem: bool = False
    packages: Sequence[str] = ()
    dcgm: bool = False
    container_toolkit: bool = False
    container_toolkit_url: str = ""
    container_toolkit_key: str = ""
    container_toolkit_fingerprint: str = ""
    reboot: str = "never"
    minimum_free_mb: Optional[Dict[str, int]] = None
    lock_timeout: float = 600
    timeout: float = 3600


class Run:
    """One run of the module: the host, what is wanted, and what was found and done."""

    def __init__(self, host: Host, wanted: Wanted, check_mode: bool) -> None:
        self.host = host
        self.wanted = wanted
        self.check_mode = check_mode
        self.machine = _driver_load.look(host)
        self.system = _driver.parse_os_release(host.read_text("/etc/os-release"))
        self.state = self._read_state()
        self.reasons = []  # type: List[str]
        self.warnings = []  # type: List[str]
        self.diff = []  # type: List[Dict[str, str]]
        self.rival = None  # type: Any  # a driver that a runfile installed, where packages are to come
        self.stopped = []  # type: List[str]

    # ---- the host's memory of this module ----

    def _read_state(self) -> Dict[str, Any]:
        try:
            state = json.loads(self.host.read_text(_driver.STATE, quiet=True) or "{}")
        except ValueError:
            state = {}
        return state if isinstance(state, dict) else {}

    def remember(self, **news: Any) -> None:
        """Write down what a later run has to know."""
        if {**self.state, **news} == self.state and self.host.exists(_driver.STATE):
            return
        self.state.update(news)
        if not self.check_mode:
            write_file(self.host.path(_driver.STATE), json.dumps(self.state, indent=1, sort_keys=True) + "\n")

    def records(self) -> List[Dict[str, Any]]:
        """Return what is remembered of the driver that is installed and of the one before it."""
        return [record for record in (self.state.get("current"), self.state.get("previous")) if record]

    def tidy(self, files: Iterable[Optional[str]]) -> None:
        """Keep the files of this driver and of the one before it, and no others; ``files`` are those of packages."""
        kept = {*files, *[record.get("runfile") for record in self.records()]}
        for name in self.host.listdir(_driver.ARCHIVES, quiet=True):
            path = os.path.join(self.host.path(_driver.ARCHIVES), name)
            if name.endswith(KEPT) and path not in kept:
                os.unlink(path)

    def forget(self) -> None:
        """Remove all that is remembered and kept of drivers."""
        for path in (_driver.STATE, _driver.HOLDS):
            if self.host.exists(path):
                os.unlink(self.host.path(path))
        self.state = {}
        self.tidy([])

    # ---- files ----

    def file(self, path: str, text: str, why: str = "") -> bool:
        """Make a file be so, or not be if the text is empty; say whether that was a change."""
        diff = put_file(self.host.path(path), path, text, self.check_mode, mode_of(text))
        if diff is None:
            return False
        self.reasons.append(why or (f"{path} is written" if text else f"{path} is removed"))
        self.diff.append(diff)
        return True

    def key(self, path: str, whose: str = "repository") -> str:
        """Return the text of a repository's key, if it is the trusted one; C(path) is where the host has it."""
        option = whose + "_fingerprint"
        return repository_key(
            self.host,
            path,
            getattr(self.wanted, whose + "_key"),
            getattr(self.wanted, option),
            "nvidia_driver_" + option,
            self.wanted.ca_file,
            self.check_mode,
        )

    def container_url(self, owned: Callable[[str], List[str]]) -> str:
        """Return the address of the container toolkit's repository if it is ours to add: no other file has it."""
        url = self.wanted.container_toolkit_url if self.wanted.container_toolkit else ""
        driver = [{"file": "", "uri": self.wanted.repository_url}]
        return "" if not url or owners(url, driver) or owned(url) else url

    def take_from_cuda(self, files: Files, left: str) -> None:
        """Take the repository over from role cuda; of its entry stays what is ``left``."""
        for path in filter(None, files):
            self.file(path, left if path == files.entry else "", f"{path} leaves the repository to this role")

    def take_over(self, files: Sequence[str]) -> None:
        """Take the repository out of other files of a package manager, and keep a copy: it has one owner."""
        for file in files:
            self.reasons.append(f"{file}, which has the repository too, is kept as {file}.gpufleet-backup")
            if not self.check_mode:
                place = self.host.path(file)
                text = self.host.read_bytes(file).decode("utf-8", "surrogateescape")
                left = without_source(file, text, self.wanted.repository_url)
                if left:
                    shutil.copy2(place, place + ".gpufleet-backup")
                    write_file(place, left.encode("utf-8", "surrogateescape"), os.stat(place).st_mode & 0o7777)
                else:
                    os.replace(place, place + ".gpufleet-backup")

    # ---- refusals, all before the first change ----

    def refuse_container(self) -> None:
        """Refuse a container on a GPU host: the driver there is the host's."""
        if self.machine.container and self.machine.loaded:
            raise Failed(
                f"this is a container ({self.machine.container}) on a host whose driver {self.machine.loaded} is "
                "loaded; the driver belongs to that host, so run the role there"
            )

    def refuse_busy(self, change: str) -> None:
        """Refuse to change a driver below a program that runs now, unless the policy is to reboot whatever runs."""
        self.machine = self.machine._replace(processes=_driver_load.look(self.host).processes)
        if self.machine.processes and self.wanted.reboot != "always":
            raise Failed(
                f"{_driver.processes_words(self.machine.processes)} use the GPU, so the driver {self.machine.loaded} "
                f"is left as it is (due: {change}). Run this again when they have ended; nvidia_driver_reboot=always "
                "ends them with a reboot. No driver was changed"
            )

    def fabric_manager(self) -> List[str]:
        """Return the fabric manager's package where an NVSwitch is; nothing elsewhere, where it would only fail."""
        if not self.machine.nvswitches:
            return []
        if not self.wanted.fabric_manager:
            raise Failed(
                f"this host has {self.machine.nvswitches} NVSwitch, so CUDA needs the fabric manager of exactly the "
                f"driver's version, and the source {self.wanted.source} has none; take the driver from NVIDIA's "
                "repository or a mirror of it"
            )
        return [self.wanted.fabric_manager]

    def companions(self, branch: str) -> List[str]:
        """Return the packages that are wanted beside the driver."""
        names = [*self.wanted.packages, *([_driver.CONTAINER_TOOLKIT] if self.wanted.container_toolkit else [])]
        if not self.wanted.dcgm:
            return names
        if self.wanted.source != "nvidia":
            raise Failed(
                f"DCGM is in NVIDIA's repository only, and the source is {self.wanted.source}; choose nvidia, or set "
                "nvidia_driver_dcgm to false. Nothing was changed"
            )
        return [*names, _driver.dcgm_package(branch)]

    def refuse_unsigned(self, prebuilt: bool) -> None:
        """Refuse to build what the kernel would not load."""
        if prebuilt or self.wanted.signing_key:
            return  # the site's own key was looked at before
        certificate = _driver_sign.certificate_of_dkms(self.host) if self.machine.enforced else None
        trusted = _driver_sign.enrolled(self.host, certificate) if certificate else None
        verdict = _driver.secure_boot_verdict(self.machine.enforced, prebuilt, trusted)
        if verdict:
            raise Failed(verdict)

    def refuse_full(self) -> None:
        """Refuse where a filesystem is too full for the packages, the modules or the initramfs."""
        for path, least in (self.wanted.minimum_free_mb or {}).items():
            if path == "/boot" and not any(
                name.startswith("vmlinu") for name in self.host.listdir("/boot", quiet=True)
            ):
                continue  # no kernel, no initramfs
            answer = self.host.space(path, 10)
            free = answer[1].f_bavail * answer[1].f_frsize / MB if answer else None
            if free is not None and free < least:
                raise Failed(
                    f"{path} has {free:.0f} MB free and the driver needs {least} MB there "
                    "(nvidia_driver_minimum_free_mb). Make room, old kernels first, and run this again; nothing was "
                    "changed"
                )

    # ---- proof ----

    def prove_modules(self, version: str, flavor: str) -> None:
        """Fail where a kernel has no module of the version and flavour that were installed."""
        for release in self.machine.kernels:
            info = _driver_load.module_info(self.host, release)
            if not info["path"]:
                raise Failed(
                    f"kernel {release} has no nvidia module after the installation" + _driver_load.build_log(self.host)
                )
            if info["version"] and info["version"] != version:
                raise Failed(
                    f"kernel {release} would load nvidia {info['version']} and not {version}, from {info['path']}"
                )
            if info["flavor"] and info["flavor"] != flavor:
                raise Failed(
                    f"kernel {release} would load {info['flavor']} modules from {info['path']}, not {flavor} ones"
                )
            if self.machine.enforced and info["signed"] is False:
                raise Failed(f"{info['path']} is not signed, and Secure Boot is on: the kernel would refuse it")

    def lacking(self) -> List[str]:
        """Return the kernels without the driver's module."""
        return [name for name in self.machine.kernels if not _driver_load.module_info(self.host, name)["path"]]

    def build(self, releases: Sequence[str]) -> None:
        """Have DKMS build the driver for kernels; what came of it, prove_modules() says."""
        for release in releases:
            self.host.run(["dkms", "autoinstall", "-k", release], self.wanted.timeout)

    def see_kernels(self) -> None:
        """See anew which kernels must have the driver, after packages came."""
        self.machine = self.machine._replace(kernels=_driver_load.required_kernels(self.host, self.machine.release))

    # ---- who signs the modules ----

    def refuse_key(self) -> None:
        """Refuse a key of the site that cannot be signed with, or that the firmware does not trust."""
        wanted = self.wanted
        if wanted.signing_key or wanted.signing_certificate:
            _driver_sign.check(self.host, wanted.signing_key, wanted.signing_certificate, self.machine.enforced)

    def sign(self) -> None:
        """Have DKMS sign with the site's key, where it has one."""
        self.file(_driver_sign.CONF, _driver_sign.conf(self.wanted.signing_key, self.wanted.signing_certificate))

    def signed_by_others(self) -> List[str]:
        """Return the kernels whose module DKMS built and signed with another key than the site's."""
        if not self.wanted.signing_key or not _driver_sign.trees(self.host):
            return []
        wanted = _driver_sign.serial(
            self.host.read_bytes(self.wanted.signing_certificate, _driver_sign.CERTIFICATE_LIMIT, quiet=True)
        )
        return [
            release
            for release in self.machine.kernels
            for path in _gpu_kernel.module_files(self.host, release)[:1]
            if _driver_sign.module_serial(self.host.run(["modinfo", path], SERVICE_SECONDS).stdout) != wanted
        ]

    def sign_again(self) -> None:
        """Have DKMS build again what it signed with another key."""
        due = self.signed_by_others()
        for release in due:
            self.reasons.append(f"the modules of kernel {release} are signed with another key than the site's")
            if not self.check_mode:
                _driver_sign.build_again(self.host, release, self.wanted.timeout)
        left = self.signed_by_others() if due and not self.check_mode else []
        if left:
            raise Failed(
                f"DKMS does not sign the modules of kernel {', '.join(left)} with {self.wanted.signing_key}"
                + _driver_load.build_log(self.host)
            )

    # ---- after the packages ----

    def initramfs(self) -> None:
        """Rebuild the initramfs where it does not know what keeps nouveau off the GPU; once, and again if cut off."""
        text = self.host.read_text(_driver.MODPROBE, quiet=True)
        digest = hashlib.sha256(text.encode()).hexdigest() if text else ""
        if self.state.get("initramfs", "") == digest:
            return
        command = None
        if self.host.exists("/usr/sbin/update-initramfs"):
            command = ["update-initramfs", "-u", "-k", "all"]
        elif self.host.exists("/usr/bin/dracut"):
            command = ["dracut", "--regenerate-all", "--force"]
        if command and not self.check_mode:
            answer = self.host.run(command, INITRAMFS_SECONDS)
            if answer.rc != 0:
                said = answer.error or " ".join(answer.stderr.split("\n")[-4:]).strip()
                raise Failed(f"the initramfs cannot be rebuilt ({' '.join(command)}): {said}")
        if command:
            self.reasons.append("the initramfs is rebuilt")
        self.remember(initramfs=digest)

    def services(self, version: Optional[str]) -> None:
        """Enable what keeps the driver loaded and NVSwitches joined; started is only what has its own driver loaded."""
        if not self.host.exists("/run/systemd/system"):
            return
        folders = ("/etc/systemd/system/", "/lib/systemd/system/", "/usr/lib/systemd/system/")
        units = [self.host.read_text(folder + _driver.PERSISTENCE_UNIT, quiet=True) for folder in folders]
        if self.wanted.persistence and any(units):
            renewed = self.file(_driver.PERSISTENCE, _driver.persistence_conf(next(filter(None, units))))
            if renewed and not self.check_mode:
                self.host.run(["systemctl", "daemon-reload"], SERVICE_SECONDS)
            self._service(_driver.PERSISTENCE_UNIT, self.machine.loaded == version, renewed)
        if self.machine.nvswitches:
            self._service("nvidia-fabricmanager.service", self.machine.loaded == version)
        if self.wanted.dcgm and any(self.host.exists(folder + _driver.DCGM_UNIT) for folder in folders):
            self._service(_driver.DCGM_UNIT, self.machine.loaded == version)

    def _service(self, name: str, start: bool, renewed: bool = False) -> None:
        """Enable a unit, and start it; what runs already by another unit file, which was ``renewed``, starts anew."""
        enabled = self.host.run(["systemctl", "is-enabled", "--quiet", name], SERVICE_SECONDS).rc == 0
        start = start and not self.machine.container
        active = not renewed and self.host.run(["systemctl", "is-active", "--quiet", name], SERVICE_SECONDS).rc == 0
        active = active or not start
        if enabled and active:
            return
        self.reasons.append(f"{name} is {'started' if enabled else 'enabled'}")
        if self.check_mode:
            return
        for command in ([] if enabled else ["enable"]) + ([] if active else ["restart"]):
            answer = self.host.run(["systemctl", command, name], SERVICE_SECONDS)
            if answer.rc != 0:
                said = answer.error or answer.stderr.strip()
                raise Failed(f"`systemctl {command} {name}` failed: {said}; see `journalctl -u {name}`")

    def stop_services(self) -> None:
        """Stop the driver's own services for a change of it; restart() starts again what then still is there."""
        for name in _driver_load.running_services(self.host):
            self.host.run(["systemctl", "stop", name], SERVICE_SECONDS)
            self.stopped.append(name)

    def restart(self) -> None:
        """Start what stop_services() stopped."""
        for name in reversed(self.stopped):
            self.host.run(["systemctl", "start", name], SERVICE_SECONDS)
        self.stopped = []

    def bring_up(self, version: str, flavor: Optional[str]) -> Dict[str, Any]:
        """Make the installed driver the loaded one without a reboot; else say that a reboot is needed, and why."""
        if not self.machine.gpus or self.machine.container:
            return {"needed": False, "reason": "", "processes": []}
        why = _driver.mismatch(self.machine.loaded, self.machine.loaded_flavor, version, flavor)
        if self.machine.loaded and not why:
            return {"needed": False, "reason": "", "processes": self.machine.processes}
        self.machine = _driver_load.look(self.host)  # the installation took its time, and somebody may work now
        nothing = {"needed": False, "reason": "", "processes": self.machine.processes}
        why = why or f"driver {version} is installed and none is loaded"
        if self.machine.release not in self.machine.kernels:
            return {
                **nothing,
                "needed": True,
                "reason": f"{why}; it is not built for the kernel {self.machine.release} that runs",
            }
        self.reasons.append(why)
        if self.machine.processes:
            return {**nothing, "needed": True, "reason": why}
        if self.check_mode:
            return nothing
        obstacle = _driver_load.swap(self.host, self.machine.modules)
        after = _driver_load.look(self.host)
        if obstacle is None and after.loaded != version:
            obstacle = f"after a reload {after.loaded or 'no driver'} is loaded"
        self.machine = after
        return {
            **nothing,
            "needed": bool(obstacle),
            "reason": f"{why}; {obstacle}" if obstacle else "",
            "processes": after.processes,
        }
