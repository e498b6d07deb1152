# -*- coding: utf-8 -*-
"""What is read of SMBIOS tables and of the kernel's memory files; good, bad and missing."""

import os
import random
import struct

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _memory as memory
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

EMULATION = os.path.join(os.path.dirname(__file__), "..", "..", "..", "emulation")
GIB = 2**30
SYSTEM, FLASH = 3, 5


def table(name="v100"):
    with open(os.path.join(EMULATION, name, "sys", "firmware", "dmi", "tables", "DMI"), "rb") as file:
        return file.read()


def structure(kind, handle, body, *strings):
    tail = b"".join(text.encode("latin-1") + b"\0" for text in strings) + b"\0" if strings else b"\0\0"
    return struct.pack("<BBH", kind, len(body) + 4, handle) + body + tail


def array(handle=1, use=SYSTEM, ecc=6, kib=0x1000000):
    return structure(16, handle, struct.pack("<BBBIHH", 3, use, ecc, kib, 0xFFFE, 4))


def dimm(size=16384, kind=0x1A, of=1, widths=(72, 64), extended=None, length=None, *strings):
    """Return a memory device; the version of the standard shows in its length."""
    body = struct.pack("<HHHHHBBBBBHH", of, 0xFFFE, widths[0], widths[1], size, 9, 0, 1, 2, kind, 0, 3200)
    body += struct.pack("<BBBBBIH", 3, 4, 0, 5, 2, extended or 0, 2933)
    return structure(17, 99, body[: (length or 99) - 4], *(strings or ("DIMM_A1", "BANK 0", "Samsung", "S1", "PART")))


def test_the_stand_ins_have_the_dimms_that_they_were_given():
    v100, a100 = memory.parse_dmi(table("v100")), memory.parse_dmi(table("a100"))
    assert (len(v100["dimms"]), v100["slots"], v100["max_capacity_bytes"]) == (8, 12, 12 * 64 * GIB)
    assert v100["dimms"][0] == {
        "slot": "DIMM_A1",
        "bank": "NODE 0",
        "size_bytes": 32 * GIB,
        "type": "DDR4",
        "speed_mts": 2666,
        "configured_speed_mts": 2666,
        "manufacturer": "Samsung",
        "part_number": "M393A4K40CB2-CTD",
        "serial": "10000000",
        "ecc": True,
        "rank": 2,
    }
    assert {module["size_bytes"] for module in a100["dimms"]} == {64 * GIB}


@pytest.mark.parametrize(
    ("size", "extended", "expected"),
    [
        (16384, None, 16 * GIB),
        (0x7FFF, 131072, 128 * GIB),
        (0x7FFF, 0x80000000 | 65536, 64 * GIB),
        (0x8000 | 512, None, 512 * 1024),
        (0xFFFF, None, None),
    ],
)
def test_sizes_of_every_form_are_read(size, extended, expected):
    (module,) = memory.parse_dmi(array() + dimm(size, extended=extended))["dimms"]
    assert module["size_bytes"] == expected


def test_an_empty_slot_is_a_slot_and_no_dimm():
    read = memory.parse_dmi(array() + dimm() + dimm(0))
    assert (len(read["dimms"]), read["slots"]) == (1, 2)


@pytest.mark.parametrize("length", [0x15, 0x17, 0x1B, 0x1C, 0x22])
def test_records_of_older_versions_are_read_as_far_as_they_go(length):
    (module,) = memory.parse_dmi(array() + dimm(length=length))["dimms"]
    assert module["size_bytes"] == 16 * GIB
    assert (module["speed_mts"] is None) == (length < 0x17)
    assert (module["part_number"] is None) == (length < 0x1B)


@pytest.mark.parametrize("kind", [0x08, 0x09, 0x0B, 0x1F])
def test_flash_rom_and_persistent_memory_are_no_dimms(kind):
    assert memory.parse_dmi(array() + dimm(kind=kind))["dimms"] == []


def test_modules_of_another_array_are_no_main_memory():
    read = memory.parse_dmi(array(1) + array(2, use=FLASH) + dimm(of=1) + dimm(of=2))
    assert len(read["dimms"]) == 1


@pytest.mark.parametrize(("ecc", "expected"), [(3, False), (5, True), (6, True), (2, True)])
def test_error_correction_comes_from_the_array_or_else_from_the_widths(ecc, expected):
    (module,) = memory.parse_dmi(array(ecc=ecc) + dimm())["dimms"]
    assert module["ecc"] is expected


def test_words_that_say_nothing_are_unknown():
    (module,) = memory.parse_dmi(
        array() + dimm(16384, 0x1A, 1, (72, 64), None, None, "A", "B", "Unknown", "00000000", " NO DIMM ")
    )["dimms"]
    assert (module["manufacturer"], module["serial"], module["part_number"]) == (None, None, None)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\0" * 65536,
        b"\x11",
        b"\x11\x00\x00\x00" * 10,
        b"\xff" * 4096,
        b"\x11\x1b\x01\x00",
        dimm()[:20],
        array()[:-2],
    ],
)
def test_a_table_that_cannot_be_is_read_as_nothing(bad):
    assert memory.parse_dmi(bad)["dimms"] == []


def test_what_follows_the_end_marker_is_not_read():
    assert memory.parse_dmi(array() + structure(127, 5, b"") + dimm())["dimms"] == []


def test_a_table_without_an_end_marker_is_read_to_its_end():
    assert len(memory.parse_dmi(array() + dimm() + b"\0" * 512)["dimms"]) == 1


def test_no_bytes_make_the_parser_raise_or_count_absurdly():
    chance = random.Random(2)
    good = table()
    for _ in range(1500):
        damaged = bytearray(good)
        for _change in range(chance.randint(1, 30)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        read = memory.parse_dmi(bytes(damaged[: chance.randint(0, len(damaged))]))
        assert len(read["dimms"]) <= len(good) // 4


def test_meminfo_is_read_in_bytes():
    read = memory.parse_meminfo("MemTotal:       131787200 kB\nHugePages_Total:       4\nNode 0 MemFree:  1 kB\n")
    assert read == {"MemTotal": 131787200 * 1024, "HugePages_Total": 4, "MemFree": 1024}


@pytest.mark.parametrize("text", ["", "\n", "MemTotal:", "MemTotal: lots kB", "no colon here", "MemTotal: -5 kB"])
def test_a_line_that_cannot_be_read_is_skipped(text):
    assert memory.parse_meminfo(text) == {}


def test_a_container_without_tables_names_the_gap(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 1024 kB\n")
    fact = memory.collect(Host(str(tmp_path)))
    assert (fact["total_bytes"], fact["dimms"], fact["slots"]) == (2**20, [], None)
    assert fact["gaps"] == ["/sys/firmware/dmi/tables/DMI: No such file or directory"]


def test_error_counters_of_each_controller_are_read(tmp_path):
    for name, counts in (("mc0", ("3", "0")), ("mc1", ("nonsense", "1"))):
        folder = tmp_path / "sys" / "devices" / "system" / "edac" / "mc" / name
        folder.mkdir(parents=True)
        (folder / "ce_count").write_text(counts[0])
        (folder / "ue_count").write_text(counts[1])
    assert memory.edac(Host(str(tmp_path))) == [
        {"controller": "mc0", "corrected": 3, "uncorrected": 0},
        {"controller": "mc1", "corrected": None, "uncorrected": 1},
    ]
