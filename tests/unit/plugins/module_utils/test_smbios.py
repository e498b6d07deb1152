# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of SMBIOS tables: every form that the standard allows, what boards make of it, and rubbish."""

import os
import random
import re
import shutil
import struct
import subprocess
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _smbios as smbios

EMULATION = os.path.join(os.path.dirname(__file__), "..", "..", "..", "emulation")
MIB, GIB, TIB = 2**20, 2**30, 2**40
SYSTEM, FLASH = 3, 5
# The length of a memory device in each version that made it longer.
LENGTHS = {"2.1": 0x15, "2.3": 0x1B, "2.6": 0x1C, "2.7": 0x22, "2.8": 0x28, "3.2": 0x54, "3.3": 0x5C, "3.7": 0x64}
STRINGS = ("DIMM_A1", "BANK 0", "Samsung", "S1234567", "M393A4K40")
DMIDECODE = shutil.which("dmidecode", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def emulated(machine, file):
    with open(os.path.join(EMULATION, machine, "sys", "firmware", "dmi", "tables", file), "rb") as stream:
        return stream.read()


def structure(kind, handle, body, strings=()):
    tail = b"".join(text.encode("latin-1") + b"\0" for text in strings) + b"\0" if strings else b"\0\0"
    return struct.pack("<BBH", kind, len(body) + 4, handle) + body + tail


def array(handle=1, use=SYSTEM, ecc=6, kib=0x1000000, extended=None, location=3, slots=4):
    body = struct.pack("<BBBIHH", location, use, ecc, kib, 0xFFFE, slots)
    return structure(16, handle, body + (b"" if extended is None else struct.pack("<Q", extended)))


def dimm(
    size=16384,
    kind=0x1A,
    of=1,
    widths=(72, 64),
    extended=0,
    speeds=(3200, 2933),
    extended_speeds=(0, 0),
    detail=0x2080,
    technology=3,
    rank=2,
    millivolts=1200,
    form=9,
    strings=STRINGS,
    handle=99,
    length=LENGTHS["3.7"],
):
    """Return a memory device; the version of the standard shows in its length."""
    body = struct.pack("<HHHHHBBBBBHH", of, 0xFFFE, widths[0], widths[1], size, form, 0, 1, 2, kind, detail, speeds[0])
    body += struct.pack("<BBBBBIHHHH", 3, 4, 0, 5, rank, extended, speeds[1], 1140, 1260, millivolts)
    body += struct.pack(
        "<BHBHHHHQQQQII", technology, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, extended_speeds[0], extended_speeds[1]
    )
    body += struct.pack("<HHHH", 0, 0, 0, 0)
    assert len(body) == LENGTHS["3.7"] - 4
    return structure(17, handle, body[: length - 4], strings)


def read(table):
    return smbios.parse_memory(table)[0]


def only_dimm(**fields):
    """Return what is read of one DIMM in an array that says nothing of error correction."""
    (module,) = read(array(ecc=2) + dimm(**fields))["dimms"]
    return module


def test_the_stand_ins_have_the_dimms_that_they_were_given():
    v100, a100 = read(emulated("v100", "DMI")), read(emulated("a100", "DMI"))
    assert (len(v100["dimms"]), v100["slots"], v100["max_capacity_bytes"]) == (8, 12, 12 * 64 * GIB)
    assert v100["dimms"][0] == {
        "handle": "0x1100",
        "array": "0x1000",
        "slot": "DIMM_A1",
        "bank": "NODE 0",
        "form_factor": "DIMM",
        "size_bytes": 32 * GIB,
        "type": "DDR4",
        "buffering": "registered",
        "speed_mts": 2666,
        "configured_speed_mts": 2666,
        "configured_millivolts": 1200,
        "manufacturer": "Samsung",
        "part_number": "M393A4K40CB2-CTD",
        "serial": "10000000",
        "ecc": True,
        "rank": 2,
        "data_width_bits": 64,
        "total_width_bits": 72,
    }
    assert {module["size_bytes"] for module in a100["dimms"]} == {64 * GIB}
    assert [(other["kind"], other["slot"]) for other in a100["other_modules"]] == [("flash", "SYSTEM ROM")]


@pytest.mark.parametrize(
    ("size", "extended", "expected"),
    [
        (16384, 0, 16 * GIB),
        (0x7FFE, 0, 0x7FFE * MIB),
        (0x7FFF, 32768, 32 * GIB),
        (0x7FFF, 131072, 128 * GIB),
        (0x7FFF, 0x80000000 | 65536, 64 * GIB),
        (0x7FFF, 4 * 2**20, 4 * TIB),
        (0x7FFF, 4 * 2**20 + 1, None),
        (0x7FFF, 0, None),
        (0x8000 | 512, 0, 512 * 1024),
        (0xFFFF, 65536, None),
    ],
)
def test_sizes_of_every_form_are_read(size, extended, expected):
    assert only_dimm(size=size, extended=extended)["size_bytes"] == expected


def test_an_extended_size_in_a_record_that_ends_before_it_is_unknown():
    assert only_dimm(size=0x7FFF, extended=65536, length=0x1F)["size_bytes"] is None
    assert only_dimm(size=0x7FFF, extended=65536, length=0x20)["size_bytes"] == 64 * GIB


def test_an_empty_slot_is_a_slot_and_no_dimm():
    fact = read(array() + dimm() + dimm(size=0) + dimm(size=0x8000))
    assert (len(fact["dimms"]), fact["slots"], fact["slots_used"], fact["slots_empty"]) == (1, 3, 1, 2)


@pytest.mark.parametrize("length", sorted({*LENGTHS.values(), 0x17, 0x20, 0x5B, 0xFF}))
def test_records_of_every_version_are_read_as_far_as_they_go(length):
    # 0xFF stands for a version to come: more fields behind those that are known.
    table = array() + (
        dimm(length=length) if length < 0xFF else structure(17, 99, dimm()[4:0x64] + b"\1" * 99, STRINGS)
    )
    (module,) = read(table)["dimms"]
    from_length = {
        "size_bytes": (0x0E, 16 * GIB),
        "slot": (0x11, "DIMM_A1"),
        "type": (0x13, "DDR4"),
        "buffering": (0x15, "registered"),
        "speed_mts": (0x17, 3200),
        "manufacturer": (0x18, "Samsung"),
        "serial": (0x19, "S1234567"),
        "part_number": (0x1B, "M393A4K40"),
        "rank": (0x1C, 2),
        "configured_speed_mts": (0x22, 2933),
        "configured_millivolts": (0x28, 1200),
    }
    expected = {key: value if length >= needed else None for key, (needed, value) in from_length.items()}
    assert {key: module[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("speed", "extended", "length", "expected"),
    [
        (3200, 0, 0x5C, 3200),
        (0, 0, 0x5C, None),
        (0xFFFE, 0, 0x5C, 0xFFFE),
        (0xFFFF, 70000, 0x5C, 70000),
        (0xFFFF, 0, 0x5C, None),
        (0xFFFF, 100001, 0x5C, None),
        (0xFFFF, 0x80000000 | 70000, 0x5C, None),
        (0xFFFF, 70000, 0x54, None),
    ],
)
def test_speeds_beyond_16_bits_stand_in_a_later_field(speed, extended, length, expected):
    module = only_dimm(speeds=(speed, speed), extended_speeds=(extended, extended), length=length)
    assert (module["speed_mts"], module["configured_speed_mts"]) == (expected, expected)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (0x18, "DDR3"),
        (0x1A, "DDR4"),
        (0x22, "DDR5"),
        (0x20, "HBM"),
        (0x24, "HBM3"),
        (0x07, "RAM"),
        (2, None),
        (0xEE, None),
    ],
)
def test_the_kinds_of_memory_have_their_names(kind, expected):
    assert only_dimm(kind=kind)["type"] == expected


@pytest.mark.parametrize(
    ("detail", "expected"),
    [(0x2080, "registered"), (0x4080, "unbuffered"), (0xA080, "load-reduced"), (0x0080, None), (0xFFFF, None)],
)
def test_how_a_module_is_buffered_stands_in_the_detail(detail, expected):
    assert only_dimm(detail=detail)["buffering"] == expected


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"kind": 0x08, "technology": 2}, "ROM"),
        ({"kind": 0x09, "technology": 2}, "flash"),
        ({"kind": 0x0B, "technology": 2}, "flash"),
        ({"kind": 0x09, "length": LENGTHS["2.1"]}, "flash"),
        ({"kind": 0x1F, "length": LENGTHS["2.8"]}, "persistent memory"),
        ({"technology": 4}, "NVDIMM-N"),
        ({"technology": 5}, "NVDIMM-F"),
        ({"technology": 6}, "NVDIMM-P"),
        ({"technology": 7}, "persistent memory"),
        ({"detail": 0x3080, "length": LENGTHS["2.8"]}, "persistent memory"),
        ({"detail": 0x3080, "technology": 2}, "persistent memory"),
    ],
)
def test_flash_and_persistent_memory_are_no_dimms_and_no_slots_for_them(fields, kind):
    fact = read(array() + dimm() + dimm(**fields))
    assert (len(fact["dimms"]), fact["slots"]) == (1, 1)
    assert [(other["kind"], other["part_number"]) for other in fact["other_modules"]] == [
        (kind, None if fields.get("length") == LENGTHS["2.1"] else "M393A4K40")
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"technology": 3},
        {"technology": 8},
        {"technology": 2},
        {"technology": 0},
        {"detail": 0x3080},
        {"detail": 0x3080, "technology": 8},
        {"detail": 0xFFFF, "technology": 2},
    ],
)
def test_dram_is_a_dimm_whatever_bits_its_detail_has(fields):
    assert read(array() + dimm(**fields))["other_modules"] == []


def test_modules_of_another_array_are_no_main_memory_wherever_the_array_stands():
    fact = read(array(1) + dimm(of=2) + dimm(of=1) + array(2, use=FLASH) + dimm(of=2, size=0))
    assert (len(fact["dimms"]), fact["slots"]) == (1, 1)
    assert [other["kind"] for other in fact["other_modules"]] == ["flash"]


@pytest.mark.parametrize(
    ("use", "kind"), [(1, "other"), (2, "unknown"), (4, "video"), (5, "flash"), (6, "non-volatile"), (7, "cache")]
)
def test_only_an_array_for_system_memory_has_dimms(use, kind):
    fact = read(array(use=use) + dimm())
    assert (fact["dimms"], fact["slots"], fact["other_modules"][0]["kind"]) == ([], None, kind)


def test_a_dimm_of_an_array_that_is_not_there_is_still_a_dimm():
    assert len(read(array(1) + dimm(of=7))["dimms"]) == 1
    assert len(read(dimm(of=7))["dimms"]) == 1


@pytest.mark.parametrize(
    ("ecc", "widths", "expected"),
    [
        (3, (72, 64), False),
        (4, (72, 64), False),
        (5, (72, 64), True),
        (6, (64, 64), True),
        (7, (72, 64), False),
        (2, (72, 64), True),
        (2, (80, 64), True),
        (1, (64, 64), False),
        (2, (0xFFFF, 64), None),
        (2, (72, 0xFFFF), None),
        (2, (0, 0), None),
    ],
)
def test_error_correction_comes_from_the_array_or_else_from_the_widths(ecc, widths, expected):
    (module,) = read(array(ecc=ecc) + dimm(widths=widths))["dimms"]
    assert module["ecc"] is expected


@pytest.mark.parametrize(("millivolts", "expected"), [(1100, 1100), (0, None), (10000, 10000), (10001, None)])
def test_voltages_that_cannot_be_are_unknown(millivolts, expected):
    assert only_dimm(millivolts=millivolts)["configured_millivolts"] == expected


@pytest.mark.parametrize(("attributes", "expected"), [(1, 1), (0xF8, 8), (0, None), (0xF0, None)])
def test_ranks_stand_in_four_bits(attributes, expected):
    assert only_dimm(rank=attributes)["rank"] == expected


@pytest.mark.parametrize(
    "word",
    [
        " ",
        "Unknown",
        "UNKNOWN ",
        "Not Specified",
        "NOT AVAILABLE",
        " NO DIMM ",
        "No Module Installed",
        "[Empty]",
        "N/A",
        "None",
        "Undefined",
        "00000000",
        "0x0000",
        "0x00000000",
        "FFFFFFFF",
        "0xFFFF",
        "-",
        "To Be Filled By O.E.M.",
        "Fill By OEM",
        "Default string",
        "Manufacturer0",
        "Array1_PartNumber0",
        "A1_SerNum3",
        "ModulePartNumber02",
        "SerialNumber1",
        "\xff\xff\xff\xff",
        "\x01\x02",
    ],
)
def test_words_that_say_nothing_are_unknown(word):
    module = only_dimm(strings=("A", "B", word, word, word))
    assert (module["manufacturer"], module["serial"], module["part_number"]) == (None, None, None)


@pytest.mark.parametrize(
    "word",
    ["M393A4K40CB2-CTD", "10000000", "F1", "FACE0FF", "80CE000080CE", "HMA84GR7 / B", "Nonesuch", "A1", "0x80AD"],
)
def test_words_that_say_something_are_kept(word):
    assert only_dimm(strings=("A", "B", "C", word, word + "   "))["part_number"] == word


def test_bytes_that_are_no_text_are_left_out():
    assert only_dimm(strings=("A", "B", "Mic\x7f\xffron\xff", "S", "P"))["manufacturer"] == "Micron"


def test_a_string_without_end_is_cut():
    module = only_dimm(strings=("A", "B", "C" * 10**6, "0" * 10**6, "D\u00e9"))
    assert (module["manufacturer"], module["serial"], module["part_number"]) == ("C" * 256, None, "D")


def test_a_string_that_is_not_there_is_unknown():
    module = only_dimm(strings=("A", "B"))
    assert (module["slot"], module["bank"], module["part_number"]) == ("A", "B", None)
    assert only_dimm(strings=())["slot"] is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("system board", "system", "multi-bit", 16 * GIB, 4)),
        ({"kib": 0x80000000, "extended": 6 * TIB}, ("system board", "system", "multi-bit", 6 * TIB, 4)),
        ({"kib": 0x80000000}, ("system board", "system", "multi-bit", None, 4)),
        ({"kib": 0x80000000, "extended": 2**62}, ("system board", "system", "multi-bit", None, 4)),
        ({"kib": 0xC0000000, "extended": 1}, ("system board", "system", "multi-bit", 3 * TIB, 4)),
        ({"kib": 0, "slots": 0, "location": 2, "ecc": 1}, (None, "system", None, None, None)),
        ({"slots": 0xFFFF, "location": 0xA4, "ecc": 5}, ("CXL card", "system", "single-bit", 16 * GIB, None)),
        ({"use": 99, "location": 99, "ecc": 99}, (None, None, None, 16 * GIB, 4)),
    ],
)
def test_an_array_says_what_it_takes(fields, expected):
    (fact,) = read(array(**fields))["arrays"]
    keys = ("location", "use", "error_correction", "max_capacity_bytes", "slots")
    assert tuple(fact[key] for key in keys) == expected


def test_the_most_that_the_board_takes_is_the_sum_of_its_arrays_of_system_memory():
    assert read(array(1) + array(2) + array(3, use=FLASH))["max_capacity_bytes"] == 32 * GIB
    assert read(array(3, use=FLASH))["max_capacity_bytes"] is None


def test_what_an_array_claims_and_what_is_listed_may_differ():
    fact = read(array(slots=4) + dimm() + dimm(size=0))
    assert (fact["arrays"][0]["slots"], fact["slots"]) == (4, 2)


@pytest.mark.parametrize(
    ("bad", "problems"),
    [
        (b"", []),
        (b"\0" * 65536, ["no memory device is described there"]),
        (b"\x11", ["broken at byte 0 of 1, after 0 structures", "no memory device is described there"]),
        (
            b"\x11\x00\x00\x00" * 10,
            ["broken at byte 0 of 40, after 0 structures", "no memory device is described there"],
        ),
        (
            b"\x11\x03\x00\x00" * 10,
            ["broken at byte 0 of 40, after 0 structures", "no memory device is described there"],
        ),
        (b"\xff" * 4096, ["cut off at byte 4096, in structure 1", "no memory device is described there"]),
        (b"\x11\x1b\x01\x00", ["broken at byte 0 of 4, after 0 structures", "no memory device is described there"]),
        (dimm()[:0x63], ["broken at byte 0 of 99, after 0 structures", "no memory device is described there"]),
        (dimm()[:20], ["broken at byte 0 of 20, after 0 structures", "no memory device is described there"]),
        (array()[:-1], ["cut off at byte 16, in structure 1", "no memory device is described there"]),
        (array() + b"\0" * 9, ["no memory device is described there"]),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_a_table_that_cannot_be_is_read_as_nothing_and_says_why(bad, problems):
    fact, found = smbios.parse_memory(bad)
    assert (fact["dimms"], fact["slots"], found) == ([], None, problems)


def test_a_table_that_breaks_off_gives_what_stands_before():
    fact, problems = smbios.parse_memory(array() + dimm() + b"\x11\x01" + dimm())
    assert len(fact["dimms"]) == 1
    assert problems == [
        f"broken at byte {len(array() + dimm())} of {len(array() + dimm() * 2) + 2}, after 2 structures"
    ]


def test_a_last_structure_without_its_end_is_read_and_named():
    fact, problems = smbios.parse_memory(array() + dimm()[:-1])
    assert fact["dimms"][0]["part_number"] == "M393A4K40"
    assert problems == [f"cut off at byte {len(array() + dimm()) - 1}, in structure 2"]


def test_what_follows_the_end_marker_is_not_read():
    assert read(array() + dimm() + structure(127, 5, b"") + dimm())["slots"] == 1


def test_a_table_without_an_end_marker_and_with_zeros_behind_it_is_no_problem():
    fact, problems = smbios.parse_memory(array() + dimm() + b"\0" * 512)
    assert (len(fact["dimms"]), problems) == (1, [])


def test_a_table_of_nothing_but_modules_is_bounded():
    table = dimm(length=LENGTHS["2.1"], strings=("A",)) * 50000
    started = time.process_time()
    fact, problems = smbios.parse_memory(table[: 1 << 20])
    assert len(fact["dimms"]) == 1024
    assert "memory devices, of which 1024 are read" in problems[-1]
    assert time.process_time() - started < 5


def test_the_smallest_structures_and_the_longest_strings_take_no_time_to_speak_of():
    for table in (
        b"\x00\x04\x01\x00\0\0" * 170000,
        b"\x11\x04\x01\x00" + b"a\0" * 500000,
        b"\x11\x04\x01\x00" + b"a" * 10**6,
    ):
        started = time.process_time()
        smbios.parse_memory(table)
        assert time.process_time() - started < 5


def absurd(fact):
    """Yield what in a fact no machine can be."""
    for module in fact["dimms"] + fact["other_modules"]:
        size = module["size_bytes"]
        if size is not None and not 0 < size <= 4 * TIB:
            yield "size", size
    for module in fact["dimms"]:
        for key, most in (
            ("speed_mts", 100000),
            ("configured_speed_mts", 100000),
            ("configured_millivolts", 10000),
            ("rank", 15),
        ):
            if module[key] is not None and not 0 < module[key] <= most:
                yield key, module[key]
    for one in fact["arrays"]:
        if one["max_capacity_bytes"] is not None and not 0 < one["max_capacity_bytes"] <= 2**50:
            yield "max_capacity_bytes", one["max_capacity_bytes"]
    if fact["slots"] is not None and fact["slots"] != fact["slots_used"] + fact["slots_empty"]:
        yield "slots", fact["slots"]


@pytest.mark.parametrize("machine", ["v100", "a100"])
def test_no_bytes_make_the_parser_raise_or_say_something_absurd(machine):
    chance = random.Random(2)
    good = emulated(machine, "DMI")
    for _ in range(1500):
        damaged = bytearray(good)
        for _change in range(chance.randint(0, 30)):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 1, 4, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if chance.random() < 0.5:
            place = chance.randrange(len(damaged))
            damaged[place:place] = damaged[chance.randrange(len(damaged)) :][: chance.randrange(64)]
        fact, _problems = smbios.parse_memory(bytes(damaged[: chance.randint(0, len(damaged))]))
        assert list(absurd(fact)) == []
        assert len(fact["dimms"]) <= len(damaged) // 4


def test_what_is_absurd_would_be_noticed():
    fact = read(array() + dimm())
    fact["dimms"][0].update(size_bytes=5 * TIB, rank=16)
    fact["slots"] = 3
    assert [name for name, _value in absurd(fact)] == ["size", "rank", "slots"]


def entry_point_2(length=31, version=(2, 8), table_bytes=512, spoil=None):
    older = bytearray(struct.pack("<5sBHIHB", b"_DMI_", 0, table_bytes, 0xEC000, 12, version[0] << 4 | version[1]))
    older[5] = -sum(older) & 0xFF
    data = bytearray(struct.pack("<4sBBBBHB5s", b"_SM_", 0, length, version[0], version[1], 128, 0, b"") + older)
    data[4] = -sum(data[:length]) & 0xFF
    if spoil is not None:
        data[spoil] ^= 0xFF
    return bytes(data)


def test_the_entry_points_of_the_stand_ins_are_of_both_kinds():
    v100, a100 = (smbios.parse_entry_point(emulated(name, "smbios_entry_point")) for name in ("v100", "a100"))
    assert v100 == ("2.8", len(emulated("v100", "DMI")), None)
    assert a100 == ("3.3", None, None)


def test_an_entry_point_that_gives_its_length_as_smbios_2_1_did_is_believed():
    assert smbios.parse_entry_point(entry_point_2(length=30, version=(2, 1))) == ("2.1", 512, None)


def test_the_entry_point_of_before_smbios_is_believed():
    assert smbios.parse_entry_point(entry_point_2()[16:]) == ("2.8", 512, None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no SMBIOS entry point"),
        (b"\0" * 32, "no SMBIOS entry point"),
        (b"_SM", "no SMBIOS entry point"),
        (b"_SM_", "the checksum of _SM_ is wrong"),
        (b"_SM3_", "the checksum of _SM3_ is wrong"),
        (b"_DMI_", "the checksum of _DMI_ is wrong"),
        (entry_point_2(spoil=7), "the checksum of _SM_ is wrong"),
        (entry_point_2(length=0), "the checksum of _SM_ is wrong"),
        (entry_point_2(length=255), "the checksum of _SM_ is wrong"),
        (entry_point_2()[:30], "the checksum of _SM_ is wrong"),
        (entry_point_2(spoil=7)[16:-1], "the checksum of _DMI_ is wrong"),
        (entry_point_2(spoil=24)[16:], "the checksum of _DMI_ is wrong"),
        (emulated("a100", "smbios_entry_point")[:23], "the checksum of _SM3_ is wrong"),
        (emulated("a100", "smbios_entry_point")[:-1] + b"\1", "the checksum of _SM3_ is wrong"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_an_entry_point_that_is_wrong_is_not_believed_and_says_why(data, problem):
    assert smbios.parse_entry_point(data) == (None, None, problem)


def test_an_entry_point_without_the_older_one_in_it_is_not_believed():
    data = bytearray(entry_point_2())
    data[16:21] = b"_IMD_"  # adds up to the same
    assert smbios.parse_entry_point(bytes(data)).problem == "no SMBIOS entry point"


def test_no_bytes_make_the_reader_of_entry_points_raise():
    chance = random.Random(3)
    for _ in range(3000):
        data = bytearray(chance.choice((entry_point_2(), entry_point_2()[16:], emulated("a100", "smbios_entry_point"))))
        for _change in range(chance.randint(0, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        entry = smbios.parse_entry_point(bytes(data[: chance.randint(0, len(data))]))
        assert (entry.version is None) == (entry.problem is not None)


# dmidecode, where it is installed, reads the same tables: 200 of them with every field drawn by chance.


def drawn(chance):
    fields = {
        "size": chance.choice((0, 0x7FFF, 0xFFFF, 0x8000 | 512, 4096, 16384, chance.randrange(0x7FFF))),
        "extended": chance.choice((32768, 65536, 131072, 262144)),
        "kind": chance.choice([kind for kind in sorted(smbios.TYPES) if kind < 0x24]),
        "widths": chance.choice(((72, 64), (64, 64), (80, 64), (0xFFFF, 0xFFFF))),
        "speeds": (chance.choice((0, 2666, 0xFFFF)), chance.choice((0, 2400, 0xFFFF))),
        "extended_speeds": (chance.choice((0, 70000)), chance.choice((0, 80000))),
        "detail": chance.choice((0x2080, 0x4080, 0x0080)),
        "technology": chance.choice((2, 3)),
        "rank": chance.randrange(9),
        "millivolts": chance.choice((0, 1100, 1200, 1350)),
        "form": chance.choice((9, 0x0D, 0x0B)),
        "length": chance.choice(sorted(LENGTHS.values())),
        "strings": (
            f"DIMM {chance.randrange(24)}",
            "NODE 1",
            "Micron",
            f"S{chance.random()}",
            "36ASF8G72PZ",
        ),
    }
    if fields["length"] < 0x20 and fields["size"] == 0x7FFF:
        fields["size"] = 8192  # there dmidecode believes 32767 MB, and this parser nothing
    return fields


def said_by_dmidecode(table, path):
    entry = bytearray(struct.pack("<5sBBBBBBBIQ", b"_SM3_", 0, 24, 3, 3, 0, 1, 0, len(table), 32))
    entry[5] = -sum(entry) & 0xFF
    path.write_bytes(bytes(entry).ljust(32, b"\0") + table)
    text = subprocess.check_output([DMIDECODE, "--from-dump", str(path)], universal_newlines=True, timeout=20)
    records = []
    for block in text.split("\n\n"):
        kind = re.search(r"DMI type (16|17),", block)
        if kind:
            records.append((int(kind.group(1)), dict(re.findall(r"^\t([^:\t]+): (.*)$", block, re.MULTILINE))))
    return records


def amount(text):
    """Return what dmidecode writes of a size in bytes, or the number before another unit."""
    match = re.match(r"([0-9.]+) ?(bytes|kB|MB|GB|TB|bits|MT/s|V)?$", text or "")
    if not match:
        return None
    factor = {"kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40, "V": 1000}.get(match.group(2), 1)
    return round(float(match.group(1)) * factor) or None


@pytest.mark.skipif(DMIDECODE is None, reason="dmidecode is not installed")
def test_dmidecode_reads_the_same(tmp_path):
    chance = random.Random(4)
    compared = 0
    for _ in range(200):
        drawings = [drawn(chance) for _module in range(chance.randint(1, 8))]
        kib = chance.choice((0x1000000, 0x80000000))
        table = array(kib=kib, extended=2 * TIB, ecc=chance.choice((3, 5, 6)), slots=len(drawings))
        table += b"".join(dimm(**fields) for fields in drawings) + structure(127, 100, b"")
        fact = read(table)
        records = said_by_dmidecode(table, tmp_path / "dump")
        theirs = records[0][1]
        assert amount(theirs["Maximum Capacity"]) == fact["max_capacity_bytes"]
        assert int(theirs["Number Of Devices"]) == fact["arrays"][0]["slots"] == fact["slots"]
        assert (theirs["Error Correction Type"].split()[0].lower()) == fact["arrays"][0]["error_correction"]
        occupied = [record for kind, record in records if kind == 17 and record["Size"] != "No Module Installed"]
        assert len(occupied) == len(fact["dimms"])
        for theirs, ours in zip(occupied, fact["dimms"]):
            assert amount(theirs["Size"]) == ours["size_bytes"]
            assert theirs["Locator"] == ours["slot"]
            assert theirs["Bank Locator"] == ours["bank"]
            assert theirs["Form Factor"].lower() == ours["form_factor"].lower()
            assert theirs["Type"].lower() == ours["type"].lower()
            assert amount(theirs["Total Width"]) == ours["total_width_bits"]
            assert amount(theirs["Data Width"]) == ours["data_width_bits"]
            assert amount(theirs.get("Speed")) == ours["speed_mts"]
            assert amount(theirs.get("Configured Memory Speed")) == ours["configured_speed_mts"]
            assert amount(theirs.get("Configured Voltage")) == ours["configured_millivolts"]
            assert amount(theirs.get("Rank")) == ours["rank"]
            assert theirs.get("Manufacturer") == ours["manufacturer"]
            assert theirs.get("Serial Number") == ours["serial"]
            assert theirs.get("Part Number") == ours["part_number"]
            compared += 1
    assert compared > 400
