# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What memory_facts knows of SMBIOS tables. Private to the collection.

The parsers are pure, bounded by the length of their input, and no input makes them raise. The layout is that of
DMTF DSP0134 up to SMBIOS 3.9: structure types 16 (memory array) and 17 (memory device). A record says its version by
its length; a field that lies beyond it is unknown.
"""

import re
import struct
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
# Beyond these a number is not believed.
MODULE_LIMIT_BYTES = 4 * TIB
ARRAY_LIMIT_BYTES = 1024 * TIB
SPEED_LIMIT_MTS = 100000
VOLTAGE_LIMIT_MILLIVOLTS = 10000
MODULES_LIMIT = 1024
STRING_LIMIT = 256

MEMORY_ARRAY, MEMORY_DEVICE, END_OF_TABLE = 16, 17, 127
LOCATIONS = {
    0x03: "system board",
    0x04: "ISA card",
    0x05: "EISA card",
    0x06: "PCI card",
    0x09: "proprietary card",
    0xA4: "CXL card",
}
USES = {1: "other", 3: "system", 4: "video", 5: "flash", 6: "non-volatile", 7: "cache"}
ERROR_CORRECTIONS = {3: "none", 4: "parity", 5: "single-bit", 6: "multi-bit", 7: "CRC"}
CORRECTING = ("single-bit", "multi-bit")  # parity and CRC notice an error and cannot correct it
FORM_FACTORS = {
    0x03: "SIMM",
    0x05: "chip",
    0x08: "proprietary card",
    0x09: "DIMM",
    0x0B: "row of chips",
    0x0C: "RIMM",
    0x0D: "SODIMM",
    0x0F: "FB-DIMM",
    0x10: "die",
    0x11: "CAMM",
    0x12: "CUDIMM",
    0x13: "CSODIMM",
}
TYPES = {
    0x03: "DRAM",
    0x07: "RAM",  # QEMU's modules are nothing more precise
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
    0x25: "MRDIMM",
    0x26: "LPDDR6",
}
BUFFERINGS = ((0x8000, "load-reduced"), (0x2000, "registered"), (0x4000, "unbuffered"))
# What stands in a slot, or in the table, and is no main memory: by type, by technology, by a bit of the detail.
NOT_MEMORY_TYPES = {0x08: "ROM", 0x09: "flash", 0x0A: "EEPROM", 0x0B: "flash", 0x0C: "EPROM", 0x1F: "persistent memory"}
DRAM_TECHNOLOGIES = (3, 8)  # the latter was MRDIMM for one version of the standard
PERSISTENT_TECHNOLOGIES = {4: "NVDIMM-N", 5: "NVDIMM-F", 6: "NVDIMM-P", 7: "persistent memory"}
NON_VOLATILE, EVERY_BIT = 0x1000, 0xFFFF

# What firmware writes where it has nothing to say: words, digits that are all alike, and the names of AMI's own fields.
NOTHING = re.compile(
    r"(unknown|undefined|none|null|n/?a|empty|\[empty\]|not (specified|available|provided|present|installed)"
    r"|no (dimm|module|module installed)|(module|dimm) not installed|default string|(to be )?fill(ed)? by o\.?e\.?m\.?"
    r"|(0x)?[0 .-]+|(0x)?f{4,}"
    r"|((array|a|dimm|channel)?[0-9]*_)?(manufacturer|(module)?part_?num(ber)?|ser(ial)?_?num(ber)?|assettag(num)?)[0-9]*"
    r")?",
    re.IGNORECASE,
)


class EntryPoint(NamedTuple):
    """Where a table begins. ``problem`` says why the rest is not to be believed, and is None where it is."""

    version: Optional[str] = None
    table_bytes: Optional[int] = None
    problem: Optional[str] = None


class Structure(NamedTuple):
    """One SMBIOS structure: its formatted area with the header, and its strings."""

    kind: int
    handle: int
    data: bytes
    strings: List[bytes]

    def number(self, offset: int, size: int) -> Optional[int]:
        """Return a little-endian number, or None where this record, of an older version, ends before it."""
        field = self.data[offset : offset + size]
        return int.from_bytes(field, "little") if len(field) == size else None

    def quantity(self, offset: int, size: int, limit: int) -> Optional[int]:
        """Return a number for which 0 and what is over the limit mean that it is unknown."""
        value = self.number(offset, size)
        return value if value and value <= limit else None

    def string(self, offset: int) -> Optional[str]:
        """Return a string by the number that stands at an offset, or None where it says nothing."""
        index = self.number(offset, 1)
        if not index or index > len(self.strings):
            return None
        decoded = self.strings[index - 1][:STRING_LIMIT].decode("utf-8", "ignore")  # some pad with 0xFF
        text = "".join(character for character in decoded if character.isprintable()).strip()
        return None if NOTHING.fullmatch(text) else text


def parse_entry_point(data: bytes) -> EntryPoint:
    """Return what the entry point of SMBIOS 3.x (_SM3_), 2.x (_SM_) or of before (_DMI_) says."""
    if data.startswith(b"_SM3_"):
        if len(data) < 24 or not _sums_up(data, data[6], 24):
            return EntryPoint(problem="the checksum of _SM3_ is wrong")
        return EntryPoint(version=f"{data[7]}.{data[8]}")  # its size is only the most that it may be
    if data.startswith(b"_SM_"):
        # SMBIOS 2.1 gave its own length as 30, and some firmware still does; it is 31.
        if len(data) < 31 or not _sums_up(data, data[5], 30):
            return EntryPoint(problem="the checksum of _SM_ is wrong")
        version = f"{data[6]}.{data[7]}"
        data = data[16:]
    else:
        version = None
    if not data.startswith(b"_DMI_"):
        return EntryPoint(problem="no SMBIOS entry point")
    if not _sums_up(data, 15, 15):
        return EntryPoint(problem="the checksum of _DMI_ is wrong")
    if version is None:
        version = f"{data[14] >> 4}.{data[14] & 0x0F}"
    return EntryPoint(version, struct.unpack_from("<H", data, 6)[0])


def _sums_up(data: bytes, length: int, least: int) -> bool:
    return least <= length <= len(data) and sum(data[:length]) & 0xFF == 0


def parse_structures(table: bytes) -> Tuple[List[Structure], Optional[str]]:
    """Return the structures of a table up to its end marker or its end, and what is wrong with it, if anything.

    Boards without an end marker, or with zeros behind the last structure, are common and no problem.
    """
    found = []  # type: List[Structure]
    position = 0
    while position + 4 <= len(table):
        kind, length, handle = struct.unpack_from("<BBH", table, position)
        if length < 4 or position + length > len(table):
            break
        end = table.find(b"\0\0", position + length)
        area = table[position + length : end if end >= 0 else len(table)]
        found.append(Structure(kind, handle, table[position : position + length], area.split(b"\0") if area else []))
        if kind == END_OF_TABLE:
            return found, None
        if end < 0:
            return found, f"cut off at byte {len(table)}, in structure {len(found)}"
        position = end + 2
    if table[position:].strip(b"\0"):
        return found, f"broken at byte {position} of {len(table)}, after {len(found)} structures"
    return found, None


def module_size(device: Structure) -> Optional[int]:
    """Return a memory device's size in bytes: 0 for an empty slot, None where it is unknown."""
    size = device.number(0x0C, 2)
    if size is None or size == 0xFFFF:
        return None
    if size == 0x7FFF:
        mebibytes = (device.number(0x1C, 4) or 0) & 0x7FFFFFFF
        return mebibytes * MIB if 0 < mebibytes * MIB <= MODULE_LIMIT_BYTES else None
    return (size & 0x7FFF) * KIB if size & 0x8000 else size * MIB


def _speed(device: Structure, offset: int, extended_offset: int) -> Optional[int]:
    if device.number(offset, 2) == 0xFFFF:
        return device.quantity(extended_offset, 4, SPEED_LIMIT_MTS)
    return device.quantity(offset, 2, SPEED_LIMIT_MTS)


def _capacity(array: Structure) -> Optional[int]:
    kibibytes = array.quantity(0x07, 4, 0xFFFFFFFF)
    if kibibytes == 0x80000000:
        return array.quantity(0x0F, 8, ARRAY_LIMIT_BYTES)
    return kibibytes * KIB if kibibytes else None


def _handle(number: Optional[int]) -> Optional[str]:
    return None if number is None else f"0x{number:04X}"


def _use(array: Optional[Structure]) -> Optional[str]:
    return None if array is None else USES.get(array.number(0x05, 1) or 0)


def _no_memory(device: Structure, array: Optional[Structure]) -> Optional[str]:
    """Return what a device is if it is no main memory, or None if it is."""
    technology = device.number(0x28, 1) or 0
    detail = device.number(0x13, 2) or 0
    what = PERSISTENT_TECHNOLOGIES.get(technology) or NOT_MEMORY_TYPES.get(device.number(0x12, 1) or 0)
    if what is None and technology not in DRAM_TECHNOLOGIES and detail & NON_VOLATILE and detail != EVERY_BIT:
        what = "persistent memory"
    if what is None and array is not None and _use(array) != "system":
        what = _use(array) or "unknown"
    return what


def _ecc(device: Structure, array: Optional[Structure]) -> Optional[bool]:
    known = array and ERROR_CORRECTIONS.get(array.number(0x06, 1) or 0)
    if known:
        return known in CORRECTING
    total, data = device.quantity(0x08, 2, 0xFFFE), device.quantity(0x0A, 2, 0xFFFE)
    return total > data if total and data else None


def _identity(device: Structure) -> Dict[str, Any]:
    return {
        "handle": _handle(device.handle),
        "array": _handle(device.number(0x04, 2)),
        "slot": device.string(0x10),
        "size_bytes": module_size(device),
        "manufacturer": device.string(0x17),
        "part_number": device.string(0x1A),
        "serial": device.string(0x18),
    }


def _dimm(device: Structure, array: Optional[Structure]) -> Dict[str, Any]:
    detail = device.number(0x13, 2) or 0
    fact = _identity(device)
    fact.update(
        {
            "bank": device.string(0x11),
            "form_factor": FORM_FACTORS.get(device.number(0x0E, 1) or 0),
            "type": TYPES.get(device.number(0x12, 1) or 0),
            "buffering": next((name for bit, name in BUFFERINGS if detail & bit and detail != EVERY_BIT), None),
            "speed_mts": _speed(device, 0x15, 0x54),
            "configured_speed_mts": _speed(device, 0x20, 0x58),
            "configured_millivolts": device.quantity(0x26, 2, VOLTAGE_LIMIT_MILLIVOLTS),
            "ecc": _ecc(device, array),
            "rank": (device.number(0x1B, 1) or 0) & 0x0F or None,
            "data_width_bits": device.quantity(0x0A, 2, 0xFFFE),
            "total_width_bits": device.quantity(0x08, 2, 0xFFFE),
        }
    )
    return fact


def parse_memory(table: bytes) -> Tuple[Dict[str, Any], List[str]]:
    """Return the arrays, modules and slots of an SMBIOS table, and what is wrong with it."""
    found, problem = parse_structures(table)
    problems = [problem] if problem else []
    devices = [structure for structure in found if structure.kind == MEMORY_DEVICE]
    arrays = [structure for structure in found if structure.kind == MEMORY_ARRAY][:MODULES_LIMIT]
    if table and not devices:
        problems.append("no memory device is described there")
    if len(devices) > MODULES_LIMIT:
        problems.append(f"{len(devices)} memory devices, of which {MODULES_LIMIT} are read")
    by_handle = {array.handle: array for array in arrays}
    dimms, others, empty = [], [], 0  # type: List[Dict[str, Any]], List[Dict[str, Any]], int
    for device in devices[:MODULES_LIMIT]:
        array = by_handle.get(device.number(0x04, 2) or 0)
        what = _no_memory(device, array)
        if what is not None:
            if module_size(device) != 0:
                others.append(dict(_identity(device), kind=what))
        elif module_size(device) == 0:
            empty += 1
        else:
            dimms.append(_dimm(device, array))
    counted = bool(dimms or empty)
    fact = {
        "dimms": dimms,
        "other_modules": others,
        "slots": len(dimms) + empty if counted else None,
        "slots_used": len(dimms) if counted else None,
        "slots_empty": empty if counted else None,
        "max_capacity_bytes": sum(_capacity(array) or 0 for array in arrays if _use(array) == "system") or None,
        "arrays": [
            {
                "handle": _handle(array.handle),
                "location": LOCATIONS.get(array.number(0x04, 1) or 0),
                "use": _use(array),
                "error_correction": ERROR_CORRECTIONS.get(array.number(0x06, 1) or 0),
                "max_capacity_bytes": _capacity(array),
                "slots": array.quantity(0x0D, 2, MODULES_LIMIT),
            }
            for array in arrays
        ],
    }
    return fact, problems
