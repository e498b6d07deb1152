#!/usr/bin/env python3
"""Write the SMBIOS tables of the two stand-ins, so that the bytes in the repository can be read and made again."""

from __future__ import annotations

import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARRAY_HANDLE = 0x1000
TABLE_ADDRESS = 0xEC000
GIB = 1 << 30
HOSTS = {
    # folder: SMBIOS version, slots, DIMMs, size in MiB, speed in MT/s, manufacturer, part number
    "v100": ((2, 8), 12, 8, 32768, 2666, "Samsung", "M393A4K40CB2-CTD"),
    "a100": ((3, 3), 16, 8, 65536, 3200, "Micron", "36ASF8G72PZ-3G2E1"),
}


def structure(kind: int, handle: int, body: bytes, strings: list[str]) -> bytes:
    """Return one SMBIOS structure."""
    tail = b"".join(text.encode() + b"\0" for text in strings) + b"\0" if strings else b"\0\0"
    return struct.pack("<BBH", kind, len(body) + 4, handle) + body + tail


def array(slots: int) -> bytes:
    """Return a memory array on the system board with multi-bit ECC that takes 64 GiB in each slot."""
    body = struct.pack("<BBBIHHQ", 3, 3, 6, 0x80000000, 0xFFFE, slots, slots * 64 * GIB)
    return structure(16, ARRAY_HANDLE, body, [])


def device(slot: int, size: int, speed: int, manufacturer: str, part: str, version: tuple[int, int]) -> bytes:
    """Return one slot as SMBIOS 2.8 or 3.3 describes it; size 0 is an empty one."""
    names = [f"DIMM_{chr(ord('A') + slot)}1", f"NODE {slot // 8}"]
    strings = [*names, manufacturer, f"1000{slot:04d}", part] if size else names
    short, extended = (0x7FFF, size) if size >= 0x7FFF else (size, 0)
    body = struct.pack("<HHHHHBBBBBHH", ARRAY_HANDLE, 0xFFFE, 72, 64, short, 9, 0, 1, 2, 0x1A, 0x2080, speed)
    body += struct.pack("<BBBBBIHHHH", *((3, 4, 0, 5) if size else (0, 0, 0, 0)), 2, extended, speed, 1200, 1200, 1200)
    if version >= (3, 3):
        body += struct.pack("<BHBHHHHQQQQII", 3, 0x0008, 0, 0, 0, 0, 0, 0, size << 20, 0, 0, 0, 0)
    return structure(17, 0x1100 + slot, body, strings)


def entry_point(version: tuple[int, int], table: bytes, structures: int) -> bytes:
    """Return the entry point of SMBIOS 2.x, with the older one in it, or of 3.x."""
    if version >= (3, 0):
        return summed(struct.pack("<5sBBBBBBBIQ", b"_SM3_", 0, 24, *version, 0, 1, 0, len(table), TABLE_ADDRESS), 5)
    bcd = version[0] << 4 | version[1]
    older = struct.pack("<5sBHIHB", b"_DMI_", 0, len(table), TABLE_ADDRESS, structures, bcd)
    newer = struct.pack("<4sBBBBHB5s", b"_SM_", 0, 31, *version, 128, 0, b"")
    return summed(newer + summed(older, 5), 4)


def summed(data: bytes, at: int) -> bytes:
    """Return an entry point with the checksum that makes its bytes add up to 0."""
    return data[:at] + bytes([-sum(data) & 0xFF]) + data[at + 1 :]


def main() -> None:
    """Write each host's table and entry point."""
    for folder, (version, slots, dimms, size, speed, manufacturer, part) in HOSTS.items():
        table = array(slots)
        for slot in range(slots):
            table += device(slot, size if slot < dimms else 0, speed, manufacturer, part, version)
        # A flash chip in an array of its own, as real boards have; it is no DIMM.
        table += structure(16, 0x2000, struct.pack("<BBBIHH", 3, 5, 3, 32768, 0xFFFE, 1), [])
        flash = struct.pack("<HHHHHBBBBBH", 0x2000, 0xFFFE, 8, 8, 0x8000 | 32256, 5, 0, 1, 2, 9, 0x1000)
        table += structure(17, 0x2100, flash, ["SYSTEM ROM", "Not Specified"])
        table += structure(127, 0xFEFF, b"", [])
        target = HERE / folder / "sys" / "firmware" / "dmi" / "tables"
        target.mkdir(parents=True, exist_ok=True)
        (target / "DMI").write_bytes(table)
        (target / "smbios_entry_point").write_bytes(entry_point(version, table, slots + 4))


if __name__ == "__main__":
    main()
