# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvme_facts knows of sysfs, of mounts and of the NVMe health log. Private to the collection.

The parsers are pure, and no input makes them raise. What a drive does not say, or says absurdly, is None.
"""

import ctypes
import os
import re
import struct
from typing import Any, Dict, List, Optional

from ansible_collections.gpufleet.workstation.plugins.module_utils._gpu import (
    normal_address,
    read_link,
    read_numa_node,
)

CLASS = "/sys/class/nvme"
SECTOR = 512  # sysfs counts sizes in these, whatever the drive's block is
ADMIN_COMMAND = 0xC0484E41  # NVME_IOCTL_ADMIN_CMD, _IOWR('N', 0x41, struct nvme_admin_cmd)
GET_LOG_PAGE, HEALTH_LOG, HEALTH_BYTES, ALL_NAMESPACES = 0x02, 0x02, 512, 0xFFFFFFFF
COMMAND_TIMEOUT_MS = 5000
WARNINGS = ("spare_below_threshold", "temperature", "reliability_degraded", "read_only", "volatile_backup_failed")
ZERO_CELSIUS = 273
ABSURD = 1 << 63


def parse_health(log: bytes) -> Optional[Dict[str, Any]]:
    """Return the health log (NVM Express base specification, log page 02h), or None where it is not one.

    An all-zero log is what some drives and emulators give for "not supported".
    """
    if len(log) < HEALTH_BYTES or not any(log[:HEALTH_BYTES]):
        return None
    warning, kelvin, spare, threshold, used = struct.unpack_from("<BHBBB", log)
    celsius = kelvin - ZERO_CELSIUS

    def counter(offset: int) -> Optional[int]:
        value = int.from_bytes(log[offset : offset + 16], "little")
        return value if value < ABSURD else None

    return {
        "critical_warning": {name: bool(warning >> bit & 1) for bit, name in enumerate(WARNINGS)},
        "temperature_celsius": celsius if -60 <= celsius <= 200 else None,
        "available_spare_percent": spare if spare <= 100 else None,
        "spare_threshold_percent": threshold if threshold <= 100 else None,
        "percentage_used": used,
        "power_on_hours": counter(128),
        "unsafe_shutdowns": counter(144),
        "media_errors": counter(160),
    }


def read_health_log(device: str) -> bytes:
    """Ask a drive for its health log by ioctl. OSError says why it could not be had."""
    import fcntl  # noqa: PLC0415 (only Linux has it, and the parsers above are tested everywhere)

    log = ctypes.create_string_buffer(HEALTH_BYTES)
    command = struct.pack(
        "<BBHIIIQQIIIIIIIIII",
        GET_LOG_PAGE, 0, 0, ALL_NAMESPACES, 0, 0, 0, ctypes.addressof(log), 0, HEALTH_BYTES,
        (HEALTH_BYTES // 4 - 1) << 16 | HEALTH_LOG, 0, 0, 0, 0, 0, COMMAND_TIMEOUT_MS, 0,
    )  # fmt: skip
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, ADMIN_COMMAND, bytearray(command))
    finally:
        os.close(descriptor)
    return log.raw


def parse_mounts(text: str) -> List[Dict[str, str]]:
    """Return the mounts of block devices, from C(/proc/self/mounts)."""
    mounts = []
    for line in text.splitlines():
        words = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), word) for word in line.split(" ")]
        if len(words) >= 3 and words[0].startswith("/dev/"):
            mounts.append({"device": words[0], "mountpoint": words[1], "fstype": words[2]})
    return mounts


def is_part_of(device: str, namespace: str) -> bool:
    """Say whether a device file is a namespace or one of its partitions."""
    return re.match(re.escape("/dev/" + namespace) + r"(p\d+)?$", device) is not None


def namespace_names(controller: str, entries: List[str]) -> List[str]:
    """Return a controller's namespaces by the names of their block devices.

    With native multipath the controller's folder holds the path C(nvme0c1n1), and the block device is C(nvme0n1).
    """
    names = []
    for entry in entries:
        match = re.match(r"(nvme\d+)(?:c\d+)?(n\d+)$", entry)
        if match and (match.group(1) == controller or "c" in entry[4:]):
            names.append(match.group(1) + match.group(2))
    return names


def _number(text: str) -> Optional[int]:
    return int(text) if re.match(r"\d{1,18}$", text) else None


def controller(host, name: str, mounts: List[Dict[str, str]]) -> Dict[str, Any]:
    """Return one controller with its namespaces."""
    folder = CLASS + "/" + name

    def say(file: str) -> Optional[str]:
        return host.read_text(folder + "/" + file, quiet=True).strip("\0 ") or None

    transport, address = say("transport"), say("address")
    device = folder + "/device"
    local = transport in (None, "pcie")
    namespaces = []
    for namespace in namespace_names(name, host.listdir(folder, quiet=True)):
        block = "/sys/block/" + namespace
        if not host.exists(block):
            block = folder + "/" + namespace
        sectors = _number(host.read_text(block + "/size", quiet=True))
        namespaces.append(
            {
                "name": namespace,
                "size_bytes": None if sectors is None else sectors * SECTOR,
                "lba_bytes": _number(host.read_text(block + "/queue/logical_block_size", quiet=True)),
                "mounts": [mount for mount in mounts if is_part_of(mount["device"], namespace)],
            }
        )
    return {
        "name": name,
        "model": say("model"),
        "serial": say("serial"),
        "firmware": say("firmware_rev"),
        "transport": transport,
        "state": say("state"),
        "pci_address": normal_address(address) if local and address else None,
        "numa_node": read_numa_node(host, device) if local else None,
        "link": read_link(host, device),
        "namespaces": namespaces,
        "health": _health(host, name) if local else None,
    }


def _health(host, name: str) -> Optional[Dict[str, Any]]:
    if host.root != "/":
        host.gaps.append(f"{name}: a recording has no health log")
        return None
    try:
        health = parse_health(read_health_log("/dev/" + name))
    except OSError as error:
        host.gaps.append(f"{name}: the health log could not be read: {error.strerror}")
        return None
    if health is None:
        host.gaps.append(f"{name}: the drive's health log is empty")
    return health


def collect(host) -> Dict[str, Any]:
    """Return the C(nvme) fact."""
    names = [name for name in host.listdir(CLASS, quiet=True) if re.match(r"nvme\d+$", name)]
    mounts = parse_mounts(host.read_text("/proc/self/mounts", quiet=True))
    controllers = [controller(host, name, mounts) for name in sorted(names, key=lambda name: int(name[4:]))]
    return {"root": host.root, "gaps": host.gaps, "controllers": controllers}
