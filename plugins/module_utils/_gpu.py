# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gpu_facts knows of PCI, of the kernel driver and of nvidia-smi's XML. Private to the collection.

The parsers are pure: text in, data out, and no input makes them raise. What a device does not say is None.
"""

import re
from typing import Any, Dict, List, Optional, Tuple
from xml.etree import ElementTree

PCI_DEVICES = "/sys/bus/pci/devices"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
VENDORS = {"10de": "nvidia", "1002": "amd"}
# PCI base class and subclass: VGA, XGA, 3D, other display, AMD accelerators; and, for NVSwitch, other bridge.
GPU_CLASSES = ("0300", "0301", "0302", "0380", "1200")
SWITCH_CLASS = "0680"
MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem", "nouveau", "amdgpu")
MIB = 1 << 20
XML_LIMIT = 16 << 20
VERSION_LIMIT = 4096
QUOTE_LIMIT = 300
# What nvidia-smi writes instead of a value, with or without brackets; of these, the second kind is said of a sick GPU.
NO_VALUE = (
    "n/a",
    "not supported",
    "not found",
    "function not found",
    "insufficient permissions",
    "requested functionality has been deprecated",
    "unknown error",
    "err!",
)
SICK = ("gpu is lost", "gpu requires reset")


def normal_address(text: str) -> str:
    """Return a PCI address as the kernel writes it: C(0000:3b:00.0), also from C(00000000:3B:00.0)."""
    match = re.match(r"\s*(?:([0-9a-fA-F]{4,16}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])\s*$", text or "")
    if not match:
        return (text or "").strip().lower()
    domain, bus, slot, function = match.groups()
    return "{:04x}:{}:{}.{}".format(int(domain or "0", 16), bus.lower(), slot.lower(), function)


def first_number(text: Optional[str]) -> Optional[float]:
    """Return the number that a text such as C(250.00 W), C(16.0 GT/s PCIe) or C(32768 MiB) begins with, or None."""
    match = re.match(r"\s*(-?\d{1,15}(?:\.\d{1,9})?)\b", text or "")
    return float(match.group(1)) if match else None


def first_integer(text: Optional[str]) -> Optional[int]:
    """Return the whole number that a text begins with, or None."""
    value = first_number(text)
    return None if value is None else int(value)


def tri_state(text: Optional[str]) -> Optional[bool]:
    """Return True for yes, False for no, None for N/A and everything else that is neither."""
    return {"yes": True, "enabled": True, "no": False, "disabled": False}.get((text or "").strip().lower())


def link(speed: str, width: str, max_speed: str, max_width: str) -> Dict[str, Any]:
    """Return a PCIe link from the four sysfs texts; 0 lanes and 255 lanes are how the kernel writes "unknown"."""
    lanes = [first_integer(text) for text in (width, max_width)]
    lanes = [None if value in (None, 0, 255) else value for value in lanes]
    return {
        "speed_gts": first_number(speed),
        "width": lanes[0],
        "max_speed_gts": first_number(max_speed),
        "max_width": lanes[1],
    }


def read_link(host, folder: str) -> Dict[str, Any]:
    """Return the PCIe link of the device whose sysfs folder this is."""
    names = ("current_link_speed", "current_link_width", "max_link_speed", "max_link_width")
    return link(*[host.read_text(folder + "/" + name, quiet=True) for name in names])


def read_numa_node(host, folder: str) -> Optional[int]:
    """Return a device's NUMA node; the kernel's -1 means that the firmware did not say."""
    node = first_integer(host.read_text(folder + "/numa_node", quiet=True))
    return None if node is None or node < 0 else node


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
        if ids[0] not in VENDORS:
            continue
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


def parse_driver_version(text: str) -> Tuple[Optional[str], Optional[str]]:
    """Return version and flavour of the loaded driver from C(/proc/driver/nvidia/version).

    The open modules call themselves "NVIDIA UNIX Open Kernel Module"; the others do not say what they are.
    """
    match = re.search(
        r"^NVRM version:.*?\b(Open )?Kernel Module\b.*?\s(\d{2,4}\.\d{1,4}(?:\.\d{1,4})?)\b",
        text[:VERSION_LIMIT],
        re.MULTILINE,
    )
    if not match:
        return None, None
    return match.group(2), "open" if match.group(1) else "proprietary"


def parse_modules(text: str) -> List[str]:
    """Return those of the modules that matter here which C(/proc/modules) lists."""
    loaded = {line.split(" ", 1)[0] for line in text.splitlines()}
    return [name for name in MODULES if name in loaded]


def parse_secure_boot(variable: bytes) -> Optional[bool]:
    """Return whether Secure Boot is on, from the EFI variable: four bytes of attributes, then the value."""
    return bool(variable[4]) if len(variable) == 5 else None


def kernel_side(host) -> Dict[str, Any]:
    """Return what the kernel says about the GPU drivers."""
    version, flavor = parse_driver_version(host.read_text("/proc/driver/nvidia/version", quiet=True))
    nodes = [name for name in host.listdir("/dev", quiet=True) if re.match(r"nvidia(\d+|ctl|-uvm|-modeset)$", name)]
    return {
        "driver_version": version,
        "flavor": flavor,
        "modules": parse_modules(host.read_text("/proc/modules", quiet=True)),
        "device_nodes": nodes,
        "secure_boot": parse_secure_boot(host.read_bytes(SECURE_BOOT, quiet=True)),
    }


def split_answer(answer: str) -> Tuple[str, str]:
    """Return the XML in what nvidia-smi printed, and the words around it on one line.

    It warns before the XML of a GPU that it cannot reach, and after it of a corrupted infoROM.
    """
    root = answer.find("<nvidia_smi_log")
    if root < 0:
        return "", " ".join(answer[:QUOTE_LIMIT].split())
    starts = [answer.find(text, 0, root) for text in ("<?xml", "<!DOCTYPE")]
    start = min([place for place in starts if place >= 0] + [root])
    end = answer.rfind("</nvidia_smi_log>")
    end = len(answer) if end < 0 else end + len("</nvidia_smi_log>")
    around = answer[:start][-QUOTE_LIMIT:] + " " + answer[end:][:QUOTE_LIMIT]
    return answer[start:end], " ".join(around.split())


def parse_smi(answer: str) -> Tuple[Optional[Dict[str, Any]], List[str]]:
    """Return what C(nvidia-smi -q -x) says, and what was wrong with it.

    All schemas since driver 375 have the same skeleton; what was renamed is looked for under each name. A text
    that is cut off still gives the GPUs that are whole. A document that declares entities is refused.
    """
    xml, words = split_answer(answer[:XML_LIMIT].encode("utf-8", "replace").decode("utf-8"))
    if not xml:
        return None, ["nvidia-smi answered with something that is not its XML" + (words and ": " + words)]
    if "<!ENTITY" in xml:
        return None, ["nvidia-smi's XML declares entities, which the real one never does"]
    parser = ElementTree.XMLPullParser(["end"])
    gaps, gpus, head = [], [], {}  # type: Tuple[List[str], List[Dict[str, Any]], Dict[str, str]]
    if words:
        gaps.append("nvidia-smi says: " + words)
    try:
        parser.feed(xml)
        parser.close()
    except ElementTree.ParseError as error:
        gaps.append(f"nvidia-smi's XML is cut off or broken: {error}")
    try:
        for _event, element in parser.read_events():
            if element.tag == "gpu" and element.get("id"):
                device, complaint = _gpu(element)
                gpus.append(device)
                if complaint:
                    gaps.append("nvidia-smi says of the GPU at {}: {}".format(device["address"], complaint))
            elif element.tag in ("driver_version", "cuda_version", "attached_gpus"):
                head.setdefault(element.tag, (element.text or "").strip())
    except ElementTree.ParseError:
        pass  # the same complaint again, now at the end of the events that were whole
    attached = first_integer(head.get("attached_gpus"))
    if attached is not None and attached != len(gpus):
        gaps.append(f"nvidia-smi counts {attached} GPUs and describes {len(gpus)}")
    smi = {
        "driver_version": head.get("driver_version") or None,
        "cuda_version": head.get("cuda_version") or None,
        "attached_gpus": attached,
        "gpus": gpus,
    }
    return smi, gaps


def _gpu(element) -> Tuple[Dict[str, Any], Optional[str]]:
    """Return one GPU, and what nvidia-smi says in place of its values if the GPU is lost."""
    complaints = []  # type: List[str]

    def text(*paths: str) -> Optional[str]:
        """Return the first of these fields that says anything."""
        for path in paths:
            value = (element.findtext(path) or "").strip()
            words = value.strip("[]").strip()
            if words.lower() in SICK:
                complaints.append(words)
            elif value and words.lower() not in NO_VALUE:
                return value
        return None

    memory = first_integer(text("fb_memory_usage/total"))
    processes = element.find("processes")
    if processes is not None and (processes.text or "").strip():
        processes = None  # N/A: unknown, and not none
    device = {
        "address": normal_address(element.get("id")),
        "name": text("product_name"),
        "uuid": text("uuid"),
        "serial": text("serial"),
        "vbios": text("vbios_version"),
        "memory_total_bytes": None if memory is None else memory * MIB,
        "ecc_mode": tri_state(text("ecc_mode/current_ecc")),
        "persistence": tri_state(text("persistence_mode")),
        "mig_mode": tri_state(text("mig_mode/current_mig")),
        "compute_mode": text("compute_mode"),
        "power_draw_watts": first_number(
            text(
                "gpu_power_readings/instant_power_draw",
                "gpu_power_readings/power_draw",
                "gpu_power_readings/average_power_draw",
                "power_readings/power_draw",
            )
        ),
        "power_limit_watts": first_number(
            text(
                "gpu_power_readings/current_power_limit", "gpu_power_readings/power_limit", "power_readings/power_limit"
            )
        ),
        "temperature_celsius": first_integer(text("temperature/gpu_temp")),
        "retired_pages_pending": tri_state(text("retired_pages/pending_retirement", "retired_pages/pending_blacklist")),
        "row_remap_pending": tri_state(text("remapped_rows/remapped_row_pending")),
        "row_remap_failure": tri_state(text("remapped_rows/remapped_row_failure")),
        "processes": None if processes is None else len(processes.findall("process_info")),
    }
    return device, complaints[0] if complaints else None


def disagreements(pci: List[Dict[str, Any]], kernel: Dict[str, Any], smi: Optional[Dict[str, Any]]) -> List[str]:
    """Return what one layer says and another denies."""
    if not smi:
        return []
    found = []
    if kernel["driver_version"] and smi["driver_version"] and kernel["driver_version"] != smi["driver_version"]:
        found.append(
            "the loaded driver is {}, nvidia-smi says {}".format(kernel["driver_version"], smi["driver_version"])
        )
    bus = {device["address"] for device in pci if device["kind"] == "gpu" and device["vendor"] == "nvidia"}
    for gpu in smi["gpus"]:
        if gpu["address"] not in bus:
            found.append("nvidia-smi shows a GPU at {} that is not on the PCI bus".format(gpu["address"]))
    return found


def collect(host, models: List[Dict[str, Any]], nvidia_smi: str = "nvidia-smi", timeout: float = 30) -> Dict[str, Any]:
    """Return the C(gpu) fact."""
    pci = pci_devices(host, models)
    kernel = kernel_side(host)
    smi = None
    answer = host.run([nvidia_smi, "-q", "-x"], timeout)
    if answer.error:
        if answer.error != "not found" or kernel["driver_version"]:  # no driver, no tool: nothing is missing
            host.gaps.append(f"{nvidia_smi}: {answer.error}")
    elif answer.rc:
        # It may have described every GPU, and fail because it has to warn of one.
        smi, gaps = parse_smi(answer.stdout)
        lines = (answer.stderr if smi else answer.stdout + answer.stderr).strip().splitlines()
        said = lines[-1][:QUOTE_LIMIT] if lines else f"ended with status {answer.rc}"
        host.gaps.append(f"{nvidia_smi}: {said}")
        host.gaps.extend(gaps if smi else [])
    else:
        smi, gaps = parse_smi(answer.stdout)
        host.gaps.extend(gaps)
    return {
        "root": host.root,
        "gaps": host.gaps,
        "disagreements": disagreements(pci, kernel, smi),
        "pci": pci,
        "kernel": kernel,
        "smi": smi,
    }
