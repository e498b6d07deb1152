# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What memory_facts knows of SMBIOS tables and of the kernel's memory files. Private to the collection.

The parsers are pure, bounded by the length of their input, and no input makes them raise. The layout is that of
DMTF DSP0134 (SMBIOS 3.x): structure types 16 (memory array) and 17 (memory device).
"""

import re
import struct
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

KIB = 1 << 10
MIB = 1 << 20
TABLE = "/sys/firmware/dmi/tables/DMI"
TABLE_LIMIT = 1 << 20
MEMORY_ARRAY, MEMORY_DEVICE, END_OF_TABLE = 16, 17, 127
SYSTEM_MEMORY = 3  # use of an array, as against video memory, flash or cache
ECC_KINDS = {3: False, 4: True, 5: True, 6: True, 7: True}  # none, parity, single-bit, multi-bit, CRC
TYPES = {
    0x0F: "SDRAM",
    0x12: "DDR",
    0x13: "DDR2",
    0x14: "DDR2 FB-DIMM",
    0x18: "DDR3",
    0x19: "FBD2",
    0x1A: "DDR4",
    0x1B: "LPDDR",
    0x1C: "LPDDR2",
    0x1D: "LPDDR3",
    0x1E: "LPDDR4",
    0x20: "HBM",
    0x21: "HBM2",
    0x22: "DDR5",
    0x23: "LPDDR5",
    0x24: "HBM3",
}
# Modules in a DIMM slot that are no main memory: ROM, flash and their kin, and non-volatile DIMMs.
NOT_MEMORY = set(range(0x08, 0x0E)) | {0x1F}
TECHNOLOGY_DRAM = 3
# What firmware writes where it has nothing to say.
EMPTY_WORDS = ("", "unknown", "not specified", "none", "n/a", "no dimm", "undefined", "to be filled by o.e.m.")


class Structure(NamedTuple):
    """One SMBIOS structure: its formatted area with the header, and its strings."""

    kind: int
    handle: int
    data: bytes
    strings: List[str]

    def number(self, offset: int, size: int) -> Optional[int]:
        """Return a little-endian number, or None where this record, of an older version, ends before it."""
        field = self.data[offset : offset + size]
        return int.from_bytes(field, "little") if len(field) == size else None

    def string(self, offset: int) -> Optional[str]:
        """Return a string by the number that stands at an offset, or None where it says nothing."""
        index = self.number(offset, 1)
        if not index or index > len(self.strings):
            return None
        text = self.strings[index - 1].strip()
        return None if text.lower() in EMPTY_WORDS or not text.strip("0 .-") else text


def structures(table: bytes) -> Iterator[Structure]:
    """Yield the structures of a table, up to its end marker, its end, or a header that cannot be."""
    position = 0
    while position + 4 <= len(table):
        kind, length, handle = struct.unpack_from("<BBH", table, position)
        if length < 4 or position + length > len(table):
            return
        end = table.find(b"\0\0", position + length)
        end = len(table) if end < 0 else end
        area = table[position + length : end]
        strings = [part.decode("utf-8", "replace") for part in area.split(b"\0")] if area else []
        yield Structure(kind, handle, table[position : position + length], strings)
        if kind == END_OF_TABLE:
            return
        position = end + 2


def module_size(device: Structure) -> Optional[int]:
    """Return a memory device's size in bytes: 0 for an empty slot, None where it is unknown."""
    size = device.number(0x0C, 2)
    if size is None or size == 0xFFFF:
        return None
    if size == 0x7FFF:
        extended = device.number(0x1C, 4)
        return None if extended is None else (extended & 0x7FFFFFFF) * MIB
    return (size & 0x7FFF) * KIB if size & 0x8000 else size * MIB


def _speed(device: Structure, offset: int, extended_offset: int) -> Optional[int]:
    speed = device.number(offset, 2)
    if speed == 0xFFFF:
        speed = device.number(extended_offset, 4)
    return speed or None


def parse_dmi(table: bytes) -> Dict[str, Any]:
    """Return DIMMs, number of slots and the most that the board takes, from an SMBIOS table."""
    arrays, dimms, slots = {}, [], 0  # type: Dict[int, Structure], List[Dict[str, Any]], int
    capacity = 0
    for structure in structures(table):
        if structure.kind == MEMORY_ARRAY and structure.number(0x05, 1) == SYSTEM_MEMORY:
            arrays[structure.handle] = structure
            kib = structure.number(0x07, 4) or 0
            capacity += (structure.number(0x0F, 8) or 0) if kib == 0x80000000 else kib * KIB
        elif structure.kind == MEMORY_DEVICE:
            array = arrays.get(structure.number(0x04, 2) or 0)
            if array is None and arrays:
                continue  # a device of another array: flash for the firmware, memory of a display
            kind, size = structure.number(0x12, 1), module_size(structure)
            technology = structure.number(0x28, 1)
            if kind in NOT_MEMORY or (technology is not None and technology > TECHNOLOGY_DRAM):
                continue
            slots += 1
            if size == 0:
                continue
            rank = (structure.number(0x1B, 1) or 0) & 0x0F
            dimms.append(
                {
                    "slot": structure.string(0x10),
                    "bank": structure.string(0x11),
                    "size_bytes": size,
                    "type": TYPES.get(kind or 0),
                    "speed_mts": _speed(structure, 0x15, 0x54),
                    "configured_speed_mts": _speed(structure, 0x20, 0x58),
                    "manufacturer": structure.string(0x17),
                    "part_number": structure.string(0x1A),
                    "serial": structure.string(0x18),
                    "ecc": _ecc(structure, array),
                    "rank": rank or None,
                }
            )
    return {"dimms": dimms, "slots": slots or None, "max_capacity_bytes": capacity or None}


def _ecc(device: Structure, array: Optional[Structure]) -> Optional[bool]:
    """Return whether a module corrects errors: what its array says, else whether it is wider than its data."""
    if array is not None:
        known = ECC_KINDS.get(array.number(0x06, 1) or 0)
        if known is not None:
            return known
    total, data = device.number(0x08, 2), device.number(0x0A, 2)
    if not total or not data or 0xFFFF in (total, data):
        return None
    return total > data


def parse_meminfo(text: str) -> Dict[str, int]:
    """Return C(/proc/meminfo), or a node's, as bytes by field name.

    Counters without a unit (HugePages_Total) keep their value. A line that is not ``name: number [kB]`` is
    skipped: newer kernels add fields that nobody has met yet.
    """
    fields = {}
    for line in text.splitlines():
        match = re.match(r"(?:Node \d+ )?([A-Za-z0-9_()]+):\s+(\d{1,15})(?: (kB))?\s*$", line)
        if match:
            fields[match.group(1)] = int(match.group(2)) * (KIB if match.group(3) else 1)
    return fields


def numa_nodes(host) -> List[Dict[str, Any]]:
    """Return each NUMA node with its memory."""
    folder = "/sys/devices/system/node"
    nodes = []
    for name in host.listdir(folder, quiet=True):
        if re.match(r"node\d+$", name):
            memory = parse_meminfo(host.read_text(folder + "/" + name + "/meminfo", quiet=True))
            nodes.append({"node": int(name[4:]), "total_bytes": memory.get("MemTotal")})
    return sorted(nodes, key=lambda node: node["node"])


def edac(host) -> List[Dict[str, Any]]:
    """Return the error counts of each memory controller that the kernel watches."""
    folder = "/sys/devices/system/edac/mc"
    counts = []
    for name in host.listdir(folder, quiet=True):
        if re.match(r"mc\d+$", name):
            errors = [host.read_text(folder + "/" + name + "/" + file, quiet=True) for file in ("ce_count", "ue_count")]
            values = [int(text) if text.isdigit() else None for text in errors]
            counts.append({"controller": name, "corrected": values[0], "uncorrected": values[1]})
    return counts


def collect(host) -> Dict[str, Any]:
    """Return the C(memory) fact."""
    meminfo = parse_meminfo(host.read_text("/proc/meminfo"))
    table = host.read_bytes(TABLE, TABLE_LIMIT)
    if table and not any(structure.kind == MEMORY_DEVICE for structure in structures(table)):
        host.gaps.append(TABLE + ": no memory device is described there")
    fact = {
        "root": host.root,
        "gaps": host.gaps,
        "total_bytes": meminfo.get("MemTotal"),
        "available_bytes": meminfo.get("MemAvailable"),
        "swap_total_bytes": meminfo.get("SwapTotal"),
        "huge_pages": {
            "size_bytes": meminfo.get("Hugepagesize"),
            "total": meminfo.get("HugePages_Total"),
            "free": meminfo.get("HugePages_Free"),
        },
        "numa_nodes": numa_nodes(host),
        "edac": edac(host),
    }
    fact.update(parse_dmi(table))
    return fact
