# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gpu_facts finds on the PCI bus, and its three layers put together. Private to the collection."""

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._gpu_kernel import kernel_side
from ansible_collections.gpufleet.workstation.plugins.module_utils._gpu_smi import (
    QUOTE_LIMIT,
    add_nvlinks,
    parse_nvlinks,
    parse_smi,
    parse_topology,
    place_pairs,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._pci import (
    first_integer,
    normal_address,
    read_link,
    read_numa_node,
)

PCI_DEVICES = "/sys/bus/pci/devices"
VENDORS = {"10de": "nvidia", "1002": "amd"}
# PCI base class and subclass: VGA, XGA, 3D, other display, AMD accelerators; and, for NVSwitch, other bridge.
GPU_CLASSES = ("0300", "0301", "0302", "0380", "1200")
SWITCH_CLASS = "0680"


def pci_devices(host, models: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return every NVIDIA and AMD GPU and every NVSwitch on the bus, bound to a driver or not."""
    table = {(row["vendor_id"], row["device_id"]): row for row in models}
    found = []
    for name in host.listdir(PCI_DEVICES):
        folder = PCI_DEVICES + "/" + name
        ids = [
            host.read_text(folder + "/" + file, quiet=True).lower().replace("0x", "", 1)
            for file in ("vendor", "device")
        ]
        if ids[0] not in VENDORS or host.readlink(folder + "/physfn"):
            continue  # a virtual function (vGPU) is a share of a GPU that has a folder of its own
        code = host.read_text(folder + "/class", quiet=True).lower().replace("0x", "", 1)[:4]
        row = table.get((ids[0], ids[1]), {})
        if code in GPU_CLASSES:
            kind = "gpu"
        elif code == SWITCH_CLASS and VENDORS[ids[0]] == "nvidia" and row.get("kind") == "nvswitch":
            kind = "nvswitch"
        else:
            continue
        subsystem = [
            host.read_text(folder + "/subsystem_" + file, quiet=True).lower().replace("0x", "", 1) or None
            for file in ("vendor", "device")
        ]
        found.append(
            {
                "address": normal_address(name),
                "kind": kind,
                "vendor": VENDORS[ids[0]],
                "vendor_id": ids[0],
                "device_id": ids[1],
                "subsystem_vendor_id": subsystem[0],
                "subsystem_device_id": subsystem[1],
                "class_code": code,
                "model": row.get("name"),
                "model_key": row.get("key"),
                "architecture": row.get("architecture"),
                "compute_capability": row.get("compute_capability"),
                "kernel_driver": host.readlink_name(folder + "/driver"),
                "numa_node": read_numa_node(host, folder),
                "iommu_group": first_integer(host.readlink_name(folder + "/iommu_group")),
                "link": read_link(host, folder),
            }
        )
    return found


def disagreements(pci: List[Dict[str, Any]], kernel: Dict[str, Any], smi: Optional[Dict[str, Any]]) -> List[str]:
    """Return what one layer says and another denies."""
    loaded = kernel.get("driver_version")
    module = kernel.get("installed_module") or {}
    told = [
        ("nvidia-smi says {}", (smi or {}).get("driver_version")),
        ("the installed libraries are {}", kernel.get("userspace_version")),
        ("the module installed for this kernel is {}", module.get("version")),
    ]
    found = [
        f"the loaded driver is {loaded}, " + words.format(version)
        for words, version in told
        if loaded and version and version != loaded
    ]
    flavors = kernel.get("flavor"), module.get("flavor")
    if None not in flavors and flavors[0] != flavors[1]:
        found.append("the loaded modules are {}, the module installed for this kernel is {}".format(*flavors))
    versions = sorted({row["version"] for row in kernel.get("libraries") or []})
    if len(versions) > 1:
        found.append("the installed libraries are of several versions: " + ", ".join(versions))
    if not smi:
        return found
    bus = {device["address"]: device for device in pci if device["kind"] == "gpu" and device["vendor"] == "nvidia"}
    described = {gpu["address"] for gpu in smi["gpus"]}
    for gpu in smi["gpus"]:
        device = bus.get(gpu["address"])
        if not device:
            found.append("nvidia-smi shows a GPU at {} that is not on the PCI bus".format(gpu["address"]))
            continue
        # Only now: at most, sysfs tells what the GPU can, and nvidia-smi what the GPU can in its slot.
        lanes = device["link"]["width"], gpu["link"]["width"]
        if None not in lanes and lanes[0] != lanes[1]:
            found.append("the GPU at {} has {} PCIe lanes, nvidia-smi says {}".format(gpu["address"], *lanes))
    cut_off = (smi["attached_gpus"] or 0) > len(smi["gpus"])  # it would have gone on
    for address in sorted(bus):
        if bus[address]["kernel_driver"] == "nvidia" and address not in described and not cut_off:
            found.append(f"the GPU at {address} is bound to the nvidia driver, but nvidia-smi does not show it")
    return found


def smi_side(host, nvidia_smi: str, timeout: float, expected: bool) -> Tuple[str, Optional[Dict[str, Any]]]:
    """Return how C(nvidia-smi -q -x) fared and what it says; ``expected`` tells whether it is missed if absent."""
    answer = host.run([nvidia_smi, "-q", "-x"], timeout)
    smi, gaps = parse_smi(answer.stdout)
    if answer.error:
        status = {"not found": "missing"}.get(answer.error, "timed_out" if "timed out" in answer.error else "failed")
        if expected or status != "missing":  # no driver, no tool: nothing is missing
            host.gaps.append(f"{nvidia_smi}: {answer.error}")
        host.gaps.extend(gaps if smi else [])
        return status, smi
    if answer.rc:
        # It may have described every GPU, and fail because it has to warn of one.
        lines = (answer.stderr if smi else answer.stdout + answer.stderr).strip().splitlines()
        said = lines[-1][:QUOTE_LIMIT] if lines else f"ended with status {answer.rc}"
        host.gaps.append(f"{nvidia_smi}: {said}")
    host.gaps.extend(gaps if smi or not answer.rc else [])
    return "answered" if smi else "failed", smi


def ask_more(host, smi: Dict[str, Any], nvidia_smi: str, timeout: float, nvlink: bool, topology: bool) -> None:
    """Ask nvidia-smi what its XML leaves out; that it does not answer is a gap."""
    for wanted, words in ((nvlink, ["nvlink", "-s"]), (topology, ["topo", "-m"])):
        if not wanted:
            continue
        answer = host.run([nvidia_smi, *words], timeout)
        nvlinks = parse_nvlinks(answer.stdout) if words[0] == "nvlink" else {}
        if nvlinks or not (answer.error or answer.rc):
            if words[0] == "nvlink":
                add_nvlinks(smi, nvlinks)
            else:
                smi["topology"] = place_pairs(smi, parse_topology(answer.stdout))
        if answer.error or (answer.rc and not nvlinks):  # a GPU without NVLink may be cause enough for a status
            said = answer.error or " ".join((answer.stdout + answer.stderr).split())[:QUOTE_LIMIT]
            host.gaps.append("{} {}: {}".format(nvidia_smi, " ".join(words), said or f"ended with status {answer.rc}"))


def collect(
    host,
    models: List[Dict[str, Any]],
    nvidia_smi: str = "nvidia-smi",
    timeout: float = 30,
    nvlink: bool = True,
    topology: bool = False,
    **commands: str,
) -> Dict[str, Any]:
    """Return the C(gpu) fact; ``commands`` are those that the kernel's side asks."""
    pci = pci_devices(host, models)
    nvidia = any(device["vendor"] == "nvidia" for device in pci)
    kernel = kernel_side(host, nvidia, timeout, **commands)
    status, smi = smi_side(host, nvidia_smi, timeout, kernel["driver_version"] is not None)
    if smi and status == "answered" and smi["gpus"]:
        ask_more(host, smi, nvidia_smi, timeout, nvlink, topology)
    return {
        "root": host.root,
        "gaps": host.gaps,
        "smi_status": status,
        # Half an answer denies nothing.
        "disagreements": disagreements(pci, kernel, smi if status == "answered" else None),
        "pci": pci,
        "kernel": kernel,
        "smi": smi,
    }
