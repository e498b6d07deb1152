# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvidia_driver sees and does on the kernel's side: who uses the GPU, what is loaded, unload and load.

Private to the collection.
"""

import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver, _gpu_kernel, _system
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

PCI = "/sys/bus/pci/devices"
NVIDIA = "0x10de"
GPU_CLASSES = ("0x0300", "0x0302")
SWITCH_CLASS = "0x0680"
COMMAND_SECONDS = 60
LOAD_SECONDS = 180  # an 8-GPU board takes its time


class Machine(NamedTuple):
    """The host as far as the driver is concerned."""

    arch: str
    release: str
    container: Optional[str]
    gpus: int
    nvswitches: int
    loaded: Optional[str]
    loaded_flavor: Optional[str]
    modules: List[str]
    kernels: List[str]
    enforced: bool
    processes: List[Dict[str, Any]]


def look(host: Host) -> Machine:
    """Return what this host is. The kernels are those that must have the driver."""
    loaded, flavor = _gpu_kernel.parse_driver_version(host.read_text("/proc/driver/nvidia/version", quiet=True))
    release = host.read_text("/proc/sys/kernel/osrelease", quiet=True)
    container = _system._container(host)
    gpus, switches = devices(host)
    kernels = required_kernels(host, release)
    # In a container the kernel is another's, and what it refuses is no matter of ours.
    here = not container and bool(gpus) and release in kernels
    return Machine(
        os.uname().machine,
        release,
        container,
        gpus,
        switches,
        loaded,
        flavor,
        _gpu_kernel.parse_modules(host.read_text("/proc/modules", quiet=True)),
        kernels,
        here and enforced(host),
        users(host) if loaded else [],
    )


def devices(host: Host) -> List[int]:
    """Return how many NVIDIA GPUs and NVSwitches are on the PCI bus."""
    counts = [0, 0]
    for name in host.listdir(PCI, quiet=True):
        folder = PCI + "/" + name
        if host.read_text(folder + "/vendor", quiet=True).lower() == NVIDIA:
            code = host.read_text(folder + "/class", quiet=True)[:6]
            counts[0] += code in GPU_CLASSES
            counts[1] += code == SWITCH_CLASS
    return counts


def enforced(host: Host) -> bool:
    """Say whether the running kernel takes signed modules only."""
    if _gpu_kernel.parse_secure_boot(host.read_bytes(_gpu_kernel.SECURE_BOOT, quiet=True)):
        return True
    policy = [
        host.read_text(path, quiet=True)
        for path in ("/sys/module/module/parameters/sig_enforce", "/sys/kernel/security/lockdown")
    ]
    return bool(_gpu_kernel.parse_signature_policy(*policy))


def required_kernels(host: Host, release: str) -> List[str]:
    """Return the kernels that must have the driver: the running and the newest; in a container, all with headers."""
    kernel = _system.kernel(host)
    installed = [row["release"] for row in kernel["installed"]]
    if installed:
        running = [release] if host.exists(f"/lib/modules/{release}/kernel") else []
        return sorted({*running, kernel["newest_installed"] or installed[-1]})
    return [
        name for name in host.listdir("/lib/modules", quiet=True) if host.leads_somewhere(f"/lib/modules/{name}/build")
    ]


def users(host: Host, minor: Optional[int] = None) -> List[Dict[str, Any]]:
    """Return the processes that have a GPU open, or the one of a minor number, without the driver's own services."""
    device = r"/dev/nvidia(\d|ctl|-uvm|-modeset|-caps)" if minor is None else rf"/dev/nvidia{minor}$"
    found = []
    for pid in host.listdir("/proc", quiet=True):
        if not pid.isdigit():
            continue
        for descriptor in host.listdir(f"/proc/{pid}/fd", quiet=True):
            target = host.readlink(f"/proc/{pid}/fd/{descriptor}") or ""
            if re.match(device, target):
                name = host.read_text(f"/proc/{pid}/comm", quiet=True) or "unknown"
                if name not in _driver.KEEPERS:
                    found.append({"pid": int(pid), "name": name})
                break
    return found


def module_info(host: Host, release: str) -> Dict[str, Any]:
    """Return file, version, flavour and signer of the nvidia module of a kernel; no file where it has none."""
    for path in _gpu_kernel.module_files(host, release)[:1]:
        answer = host.run(["modinfo", path], COMMAND_SECONDS)
        return {"path": path, **_gpu_kernel.parse_modinfo(answer.stdout if answer.rc == 0 else "")}
    return {"path": None, "version": None, "flavor": None, "signed": None, "signer": None}


def build_log(host: Host) -> str:
    """Return the end of the newest log of a DKMS build of NVIDIA's modules."""
    logs = []
    for name in host.listdir(_gpu_kernel.DKMS, quiet=True):
        for version in host.listdir(f"{_gpu_kernel.DKMS}/{name}", quiet=True) if "nvidia" in name else []:
            path = f"{_gpu_kernel.DKMS}/{name}/{version}/build/make.log"
            if host.exists(path):
                logs.append((os.stat(host.path(path)).st_mtime, path))
    if not logs:
        return ""
    path = max(logs)[1]
    return f"\n{path} ends with:\n" + _driver.log_tail(host.read_text(path, quiet=True))


def unload(host: Host, modules: List[str]) -> Optional[str]:
    """Unload the driver, its own services stopped before; return why that is not possible, or None."""
    for name in _driver.MODULES:
        if name in modules:
            answer = host.run(["modprobe", "--remove", name], LOAD_SECONDS)
            if answer.rc != 0:
                return (answer.error or answer.stderr.strip() or f"status {answer.rc}").splitlines()[-1]
    return None


def running_services(host: Host) -> List[str]:
    """Return the driver's own services that run now."""
    if not host.exists("/run/systemd/system"):
        return []
    return [
        name
        for name in _driver.SERVICES
        if host.run(["systemctl", "is-active", "--quiet", name], COMMAND_SECONDS).rc == 0
    ]


def load(host: Host) -> None:
    """Load the driver; Failed with what the kernel says."""
    for name in ("nvidia", "nvidia_uvm"):
        answer = host.run(["modprobe", name], LOAD_SECONDS)
        if answer.rc != 0:
            said = (answer.error or answer.stderr.strip() or f"status {answer.rc}").splitlines()[-1]
            if re.search(r"Key was rejected|Required key not available|Operation not permitted", said):
                said += (
                    ". The kernel takes modules only from signers that it trusts (Secure Boot); see the role's README"
                )
            raise Failed(f"the driver is installed and cannot be loaded: {said}")


def swap(host: Host, modules: List[str]) -> Optional[str]:
    """Replace what is loaded by what is installed, without a reboot; return why that is not possible, or None."""
    if "nouveau" in modules:
        answer = host.run(["modprobe", "--remove", "nouveau"], LOAD_SECONDS)
        if answer.rc != 0:
            return "nouveau drives the GPU and cannot be unloaded"
    services = running_services(host)
    try:
        for name in services:
            host.run(["systemctl", "stop", name], COMMAND_SECONDS)
        obstacle = unload(host, modules)
        if obstacle is None:
            load(host)
        return obstacle
    finally:
        for name in reversed(services):
            host.run(["systemctl", "start", name], COMMAND_SECONDS)
