# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What memory_facts knows of the kernel's memory files, and what it makes of them and of the SMBIOS tables.

Private to the collection. The parsers are pure, and no input makes them raise.
"""

import re
from typing import Any, Dict, List, Optional

from ansible_collections.gpufleet.workstation.plugins.module_utils._smbios import (
    KIB,
    MIB,
    parse_entry_point,
    parse_memory,
)

TABLE = "/sys/firmware/dmi/tables/DMI"
ENTRY_POINT = "/sys/firmware/dmi/tables/smbios_entry_point"
TABLE_LIMIT = 1 << 20
LINE_LIMIT = 4 * KIB
ZONEINFO_LIMIT = 16 << 20  # a few hundred bytes for each CPU in each zone
PAGE_SIZES = (4 * KIB, 16 * KIB, 64 * KIB)
CPUS_LIMIT = 1 << 16
TRANSPARENT = "/sys/kernel/mm/transparent_hugepage/enabled"
NODE_PAGE_COUNTS = {"total": "nr", "free": "free", "surplus": "surplus"}
HUGE_PAGE_COUNTS = {"total": "nr", "free": "free", "surplus": "surplus", "reserved": "resv"}
MEMINFO = {
    "total_bytes": "MemTotal",
    "free_bytes": "MemFree",
    "available_bytes": "MemAvailable",
    "buffers_bytes": "Buffers",
    "cached_bytes": "Cached",
    "shared_bytes": "Shmem",
    "slab_bytes": "Slab",
    "slab_unreclaimable_bytes": "SUnreclaim",
    "page_tables_bytes": "PageTables",
    "unevictable_bytes": "Unevictable",
    "committed_bytes": "Committed_AS",
    "commit_limit_bytes": "CommitLimit",
    "hardware_corrupted_bytes": "HardwareCorrupted",
    "swap_total_bytes": "SwapTotal",
    "swap_free_bytes": "SwapFree",
}
POPULATION = {
    "sizes_bytes": "size_bytes",
    "types": "type",
    "speeds_mts": "speed_mts",
    "configured_speeds_mts": "configured_speed_mts",
    "manufacturers": "manufacturer",
    "part_numbers": "part_number",
    "ranks": "rank",
}


def parse_number(text: str) -> Optional[int]:
    """Return a count as sysfs writes it, or None for anything else."""
    return int(text) if re.match(r"[0-9]{1,18}\Z", text) else None


def parse_meminfo(text: str) -> Dict[str, int]:
    """Return C(/proc/meminfo), or a node's, as bytes by field name.

    Counters without a unit (HugePages_Total) keep their value. A line that is not ``name: number [kB]`` is
    skipped: newer kernels add fields that nobody has met yet.
    """
    fields = {}
    for line in text.splitlines():
        match = re.match(r"(?:Node [0-9]+ )?([A-Za-z0-9_()]+):\s+([0-9]{1,15})(?: (kB))?\s*$", line)
        if match:
            fields[match.group(1)] = int(match.group(2)) * (KIB if match.group(3) else 1)
    return fields


def parse_zoneinfo(text: str, total_bytes: Optional[int]) -> Optional[int]:
    """Return how much memory the kernel was given at boot, from C(/proc/zoneinfo), or None.

    It counts in pages of a size that it does not say. The pages that the kernel manages are MemTotal, which tells
    the size; where no size fits, the file was cut off or one of the two is not this machine's.
    """
    pages = {"present": 0, "managed": 0}
    for name, count in re.findall(r"^ *(present|managed) +([0-9]{1,15})$", text, re.MULTILINE):
        pages[name] += int(count)
    for size in PAGE_SIZES:
        if total_bytes and abs(pages["managed"] * size - total_bytes) <= total_bytes // 64:
            return pages["present"] * size
    return None


def parse_swaps(text: str) -> List[Dict[str, Any]]:
    """Return what C(/proc/swaps) lists."""
    devices = []
    for line in text.splitlines():
        match = re.match(r"(\S+)\s+(partition|file)\s+([0-9]{1,15})\s+([0-9]{1,15})\s+(-?[0-9]{1,5})\s*$", line)
        if match:
            path, kind, size, used, priority = match.groups()
            devices.append(
                {
                    "path": re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape.group(1), 8)), path),
                    "type": kind,
                    "size_bytes": int(size) * KIB,
                    "used_bytes": int(used) * KIB,
                    "priority": int(priority),
                }
            )
    return devices


def parse_cpulist(text: str) -> Optional[int]:
    """Return how many CPUs a list such as C(0-15,32-47) names; None where it is no such list."""
    count = 0
    for part in text.split(",") if text else []:
        match = re.match(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z", part)
        if not match:
            return None
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        if last < first:
            return None
        count += last - first + 1
    return count if count <= CPUS_LIMIT else None


def _text(host, path: str) -> Optional[str]:
    return host.read_text(path, LINE_LIMIT, quiet=True) or None


def _number(host, path: str, factor: int = 1) -> Optional[int]:
    value = parse_number(host.read_text(path, LINE_LIMIT, quiet=True))
    return None if value is None else value * factor


def _numbered(host, folder: str, pattern: str) -> List[str]:
    """Return the names in a folder that are a word and a number, in the order of the numbers."""
    names = [name for name in host.listdir(folder, quiet=True) if re.match(pattern + r"[0-9]{1,9}\Z", name)]
    return sorted(names, key=lambda name: (len(name), name))


def huge_pages(host, folder: str, counts: Dict[str, str]) -> List[Dict[str, Any]]:
    """Return the huge pages of each size below a folder, with the counts by the names of their files."""
    pools = []
    for name in host.listdir(folder, quiet=True):
        match = re.match(r"hugepages-([0-9]{1,12})kB\Z", name)
        if match:
            pool = {key: _number(host, f"{folder}/{name}/{file}_hugepages") for key, file in counts.items()}
            pool["size_bytes"] = int(match.group(1)) * KIB
            pools.append(pool)
    return sorted(pools, key=lambda pool: pool["size_bytes"])


def numa_nodes(host) -> List[Dict[str, Any]]:
    """Return each NUMA node."""
    nodes = []
    for name in _numbered(host, "/sys/devices/system/node", "node"):
        folder = "/sys/devices/system/node/" + name
        memory = parse_meminfo(host.read_text(folder + "/meminfo", quiet=True))
        cpus = host.read_text(folder + "/cpulist", quiet=True) if host.exists(folder + "/cpulist") else None
        count = None if cpus is None else parse_cpulist(cpus)
        distances = [parse_number(word) for word in host.read_text(folder + "/distance", quiet=True).split()]
        nodes.append(
            {
                "node": int(name[4:]),
                "total_bytes": memory.get("MemTotal"),
                "free_bytes": memory.get("MemFree"),
                "cpus": None if count is None else cpus,
                "cpu_count": count,
                "distances": [distance if distance and distance <= 255 else None for distance in distances] or None,
                "huge_pages": huge_pages(host, folder + "/hugepages", NODE_PAGE_COUNTS),
            }
        )
    return nodes


def edac(host) -> List[Dict[str, Any]]:
    """Return the error counts of each memory controller that the kernel watches, and of what is below it."""
    controllers = []
    for controller in _numbered(host, "/sys/devices/system/edac/mc", "mc"):
        folder = "/sys/devices/system/edac/mc/" + controller
        controllers.append(
            {
                "controller": controller,
                "name": _text(host, folder + "/mc_name"),
                "size_bytes": _number(host, folder + "/size_mb", MIB),
                "corrected": _number(host, folder + "/ce_count"),
                "uncorrected": _number(host, folder + "/ue_count"),
                "corrected_unplaced": _number(host, folder + "/ce_noinfo_count"),
                "uncorrected_unplaced": _number(host, folder + "/ue_noinfo_count"),
                "seconds_since_reset": _number(host, folder + "/seconds_since_reset"),
                "modules": [
                    _edac_module(host, folder + "/" + name, name) for name in _numbered(host, folder, "(?:dimm|rank)")
                ],
                "csrows": [_edac_csrow(host, folder + "/" + name, name) for name in _numbered(host, folder, "csrow")],
            }
        )
    return controllers


def _edac_module(host, folder: str, name: str) -> Dict[str, Any]:
    return {
        "name": name,
        "label": _text(host, folder + "/dimm_label"),
        "location": _text(host, folder + "/dimm_location"),
        "size_bytes": _number(host, folder + "/size", MIB),
        "corrected": _number(host, folder + "/dimm_ce_count"),
        "uncorrected": _number(host, folder + "/dimm_ue_count"),
    }


def _edac_csrow(host, folder: str, name: str) -> Dict[str, Any]:
    files = [file for file in host.listdir(folder, quiet=True) if re.match(r"ch[0-9]{1,3}_dimm_label\Z", file)]
    labels = [_text(host, folder + "/" + file) for file in sorted(files)]
    return {
        "name": name,
        "labels": [label for label in labels if label],
        "size_bytes": _number(host, folder + "/size_mb", MIB),
        "corrected": _number(host, folder + "/ce_count"),
        "uncorrected": _number(host, folder + "/ue_count"),
    }


def visible_bytes(host, total_bytes: Optional[int]) -> Optional[int]:
    """Return how much memory the kernel was given at boot; where only blocks tell, rounded up to whole ones."""
    present = parse_zoneinfo(host.read_text("/proc/zoneinfo", ZONEINFO_LIMIT, quiet=True), total_bytes)
    if present is not None:
        return present
    folder = "/sys/devices/system/memory"
    size = host.read_text(folder + "/block_size_bytes", quiet=True)
    if not re.match(r"[0-9a-f]{1,12}\Z", size):
        return None
    return int(size, 16) * len(_numbered(host, folder, "memory")) or None


def missing_bytes(dimms: List[Dict[str, Any]], visible: Optional[int]) -> Optional[int]:
    """Return what the DIMMs have beyond what the kernel was given, if that is as much as a DIMM, not only a share.

    What firmware keeps for itself, hundreds of MiB or a few GiB, is less than half of the smallest DIMM.
    """
    sizes = [dimm["size_bytes"] for dimm in dimms]
    if visible is None or not sizes or None in sizes:
        return None
    difference = sum(sizes) - visible
    return difference if 2 * difference >= min(sizes) else 0


def population(dimms: List[Dict[str, Any]]) -> Dict[str, List[Any]]:
    """Return the values in which DIMMs should agree, each once and in order."""
    return {
        name: sorted({dimm[key] for dimm in dimms if dimm[key] is not None}) for name, key in sorted(POPULATION.items())
    }


def smbios(host) -> Dict[str, Any]:
    """Return what the SMBIOS tables say; what is wrong with them becomes a gap."""
    table = host.read_bytes(TABLE, TABLE_LIMIT)
    fact, problems = parse_memory(table)
    host.gaps.extend(f"{TABLE}: {problem}" for problem in problems)
    fact["smbios_version"] = None
    if table:
        entry = parse_entry_point(host.read_bytes(ENTRY_POINT, TABLE_LIMIT))
        fact["smbios_version"] = entry.version
        if entry.problem:
            host.gaps.append(f"{ENTRY_POINT}: {entry.problem}")
        elif entry.table_bytes not in (None, len(table)):
            host.gaps.append(f"{TABLE}: {len(table)} bytes, and {entry.table_bytes} were announced")
    return fact


def collect(host) -> Dict[str, Any]:
    """Return the C(memory) fact."""
    meminfo = parse_meminfo(host.read_text("/proc/meminfo"))
    fact = {key: meminfo.get(field) for key, field in MEMINFO.items()}  # type: Dict[str, Any]
    fact.update(smbios(host))
    sizes = [dimm["size_bytes"] for dimm in fact["dimms"]]
    transparent = re.search(r"\[(always|madvise|never)\]", host.read_text(TRANSPARENT, quiet=True))
    fact.update(
        {
            "root": host.root,
            "gaps": host.gaps,
            "installed_bytes": sum(sizes) if sizes and None not in sizes else None,
            "visible_bytes": visible_bytes(host, fact["total_bytes"]),
            "population": population(fact["dimms"]),
            "swap_devices": parse_swaps(host.read_text("/proc/swaps", quiet=True)),
            "huge_pages": {
                "size_bytes": meminfo.get("Hugepagesize"),
                "total": meminfo.get("HugePages_Total"),
                "free": meminfo.get("HugePages_Free"),
                "transparent": transparent.group(1) if transparent else None,
                "sizes": huge_pages(host, "/sys/kernel/mm/hugepages", HUGE_PAGE_COUNTS),
            },
            "numa_nodes": numa_nodes(host),
            "edac": edac(host),
        }
    )
    fact["missing_bytes"] = missing_bytes(fact["dimms"], fact["visible_bytes"])
    return fact
