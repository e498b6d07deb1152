# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of the kernel's memory files, and what it makes of them and of the SMBIOS tables."""

import os
import random
import shutil

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _memory as memory
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

EMULATION = os.path.join(os.path.dirname(__file__), "..", "..", "..", "emulation")
MIB, GIB = 2**20, 2**30
TABLES = "/sys/firmware/dmi/tables"


@pytest.fixture
def machine(tmp_path):
    """Return a copy of the V100 stand-in that a test may change."""
    root = tmp_path / "machine"
    for part in ("proc/meminfo", "proc/zoneinfo", "proc/swaps", "sys/firmware", "sys/devices/system", "sys/kernel"):
        source, target = os.path.join(EMULATION, "v100", part), root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, str(target))
        else:
            shutil.copy(source, str(target))
    return root


def collect(root):
    return memory.collect(Host(str(root)))


def write(root, path, text):
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def test_the_stand_in_is_what_it_was_made_to_be(machine):
    fact = collect(machine)
    assert fact["gaps"] == []
    assert fact["total_bytes"] == 263600000 * 1024
    assert fact["installed_bytes"] == 256 * GIB
    assert fact["visible_bytes"] == 67043000 * 4096
    assert fact["missing_bytes"] == 0
    assert (fact["slots"], fact["slots_used"], fact["slots_empty"]) == (12, 8, 4)
    assert fact["smbios_version"] == "2.8"
    assert fact["population"] == {
        "sizes_bytes": [32 * GIB],
        "types": ["DDR4"],
        "speeds_mts": [2666],
        "configured_speeds_mts": [2666],
        "manufacturers": ["Samsung"],
        "part_numbers": ["M393A4K40CB2-CTD"],
        "ranks": [2],
    }


def test_meminfo_is_read_in_bytes():
    read = memory.parse_meminfo("MemTotal:       131787200 kB\nHugePages_Total:       4\nNode 0 MemFree:  1 kB\n")
    assert read == {"MemTotal": 131787200 * 1024, "HugePages_Total": 4, "MemFree": 1024}


@pytest.mark.parametrize(
    "text", ["", "\n", "MemTotal:", "MemTotal: lots kB", "no colon here", "MemTotal: -5 kB", "MemTotal: \u0663 kB"]
)
def test_a_line_that_cannot_be_read_is_skipped(text):
    assert memory.parse_meminfo(text) == {}


def test_a_number_that_the_kernel_let_run_below_nought_is_unknown(machine):
    write(machine, "/proc/meminfo", "MemTotal: 263600000 kB\nCommitted_AS: 18446744073709551612 kB\n")
    assert collect(machine)["committed_bytes"] is None


def test_each_figure_of_the_kernel_s_has_its_own_name(machine):
    fields = {
        "MemTotal": "total_bytes",
        "MemFree": "free_bytes",
        "MemAvailable": "available_bytes",
        "Buffers": "buffers_bytes",
        "Cached": "cached_bytes",
        "Shmem": "shared_bytes",
        "Slab": "slab_bytes",
        "SUnreclaim": "slab_unreclaimable_bytes",
        "PageTables": "page_tables_bytes",
        "Unevictable": "unevictable_bytes",
        "Committed_AS": "committed_bytes",
        "CommitLimit": "commit_limit_bytes",
        "HardwareCorrupted": "hardware_corrupted_bytes",
        "SwapTotal": "swap_total_bytes",
        "SwapFree": "swap_free_bytes",
    }
    numbers = {field: number for number, field in enumerate(fields, 1)}
    write(machine, "/proc/meminfo", "".join(f"{field}: {number} kB\n" for field, number in numbers.items()))
    fact = collect(machine)
    assert {field: fact[key] // 1024 for field, key in fields.items()} == numbers


def zones(*pages):
    lines = ["Node 0, zone   Normal", "  per-node stats", "      nr_inactive_anon 12", "  pages free     1"]
    for present, managed in pages:
        lines += ["        spanned  99999", f"        present  {present}", f"        managed  {managed}"]
    return "\n".join([*lines, "        protection: (0, 0, 0)", "    cpu: 0", "              present: 5"])


@pytest.mark.parametrize("size", [4096, 16384, 65536])
def test_the_size_of_a_page_comes_out_of_the_pages_that_make_up_the_total(size):
    assert memory.parse_zoneinfo(zones((1000, 900), (5000, 4600)), 5500 * size) == 6000 * size


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("", 5500 * 4096),
        (zones((1000, 900), (5000, 4600)), None),
        (zones((1000, 900), (5000, 4600)), 0),
        (zones((1000, 900)), 5500 * 4096),  # cut off
        (zones((1000, 900), (5000, 4600)), 5500 * 4096 // 2),  # a container's share
        (zones((0, 0)), 5500 * 4096),
    ],
)
def test_zones_that_do_not_make_up_the_total_are_not_believed(text, total):
    assert memory.parse_zoneinfo(text, total) is None


def test_without_zones_the_kernel_s_blocks_say_what_it_was_given(machine):
    os.unlink(str(machine / "proc" / "zoneinfo"))
    assert collect(machine)["visible_bytes"] is None
    write(machine, "/sys/devices/system/memory/block_size_bytes", "80000000\n")
    for number in range(3):
        write(machine, f"/sys/devices/system/memory/memory{number}/state", "online\n")
    write(machine, "/sys/devices/system/memory/auto_online_blocks", "offline\n")
    assert collect(machine)["visible_bytes"] == 6 * GIB


def test_a_dimm_that_the_firmware_dropped_is_missing(machine):
    given = 224 * GIB - 300 * MIB
    write(machine, "/proc/meminfo", f"MemTotal: {given // 1024 - 4000000} kB\n")
    present, managed = given // 4096, given // 4096 - 1000000
    write(machine, "/proc/zoneinfo", zones((present, managed)))
    fact = collect(machine)
    assert fact["installed_bytes"] == 256 * GIB
    assert fact["missing_bytes"] == 32 * GIB + 300 * MIB


def dimms(*gibibytes):
    return [{"size_bytes": None if size is None else size * GIB} for size in gibibytes]


@pytest.mark.parametrize(
    ("modules", "visible", "expected"),
    [
        (dimms(32, 32), 64 * GIB, 0),
        (dimms(32, 32), 62 * GIB, 0),
        (dimms(32, 32), 48 * GIB + 1, 0),
        (dimms(32, 32), 48 * GIB, 16 * GIB),
        (dimms(32, 8), 36 * GIB, 4 * GIB),
        (dimms(32, 32), 100 * GIB, 0),  # memory that is no DIMM: CXL, a GPU's
        (dimms(32, None), 32 * GIB, None),
        (dimms(), 32 * GIB, None),
        (dimms(32), None, None),
    ],
)
def test_what_is_missing_is_as_much_as_a_dimm_and_not_the_firmware_s_share(modules, visible, expected):
    assert memory.missing_bytes(modules, visible) == expected


def test_a_mix_shows_each_value_once_and_leaves_out_what_is_unknown():
    one = dict.fromkeys(memory.POPULATION.values())
    mixed = memory.population(
        [dict(one, speed_mts=3200, type="DDR4"), dict(one, speed_mts=2666), dict(one, speed_mts=3200)]
    )
    assert (mixed["speeds_mts"], mixed["types"], mixed["ranks"]) == ([2666, 3200], ["DDR4"], [])


def test_a_container_without_tables_names_the_gap_and_says_what_the_kernel_knows(tmp_path):
    write(tmp_path, "/proc/meminfo", "MemTotal: 1024 kB\n")
    write(tmp_path, "/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 1024 kB\n")
    fact = collect(tmp_path)
    assert fact["gaps"] == ["/sys/firmware/dmi/tables/DMI: No such file or directory"]
    assert (fact["total_bytes"], fact["numa_nodes"][0]["total_bytes"]) == (MIB, MIB)
    unknown = ("slots", "slots_used", "slots_empty", "max_capacity_bytes", "installed_bytes", "missing_bytes")
    assert {fact[key] for key in (*unknown, "smbios_version")} == {None}
    assert (fact["dimms"], fact["arrays"], fact["other_modules"]) == ([], [], [])


def test_an_empty_machine_is_all_unknown(tmp_path):
    fact = collect(tmp_path)
    assert [gap.split(":")[0] for gap in fact["gaps"]] == ["/proc/meminfo", "/sys/firmware/dmi/tables/DMI"]
    assert fact["total_bytes"] is None
    assert fact["numa_nodes"] == fact["edac"] == fact["swap_devices"] == fact["huge_pages"]["sizes"] == []


def test_an_entry_point_with_a_wrong_checksum_is_a_gap_and_the_table_is_read(machine):
    path = machine / "sys" / "firmware" / "dmi" / "tables" / "smbios_entry_point"
    path.write_bytes(path.read_bytes()[:-1] + b"\x77")
    fact = collect(machine)
    assert (fact["gaps"], fact["smbios_version"]) == (
        [TABLES + "/smbios_entry_point: the checksum of _SM_ is wrong"],
        None,
    )
    assert len(fact["dimms"]) == 8


def test_a_table_shorter_than_announced_is_a_gap(machine):
    path = machine / "sys" / "firmware" / "dmi" / "tables" / "DMI"
    table = path.read_bytes()
    path.write_bytes(table[:600])
    assert collect(machine)["gaps"][-1] == f"{TABLES}/DMI: 600 bytes, and {len(table)} were announced"


def test_a_broken_table_is_a_gap(machine):
    (machine / "sys" / "firmware" / "dmi" / "tables" / "DMI").write_bytes(b"\0" * 65536)
    assert TABLES + "/DMI: no memory device is described there" in collect(machine)["gaps"]


def test_swap_devices_are_read_with_what_they_hold():
    text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    text += "/dev/dm-1                               partition\t8388604\t\t512\t\t-2\n/my\\040swap\tfile\t1024\t0\t5\n"
    assert memory.parse_swaps(text) == [
        {
            "path": "/dev/dm-1",
            "type": "partition",
            "size_bytes": 8388604 * 1024,
            "used_bytes": 512 * 1024,
            "priority": -2,
        },
        {"path": "/my swap", "type": "file", "size_bytes": MIB, "used_bytes": 0, "priority": 5},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-15,32-47", 32),
        ("3", 1),
        ("0,2,4", 3),
        ("", 0),
        ("5-3", None),
        ("0-99999", None),
        ("a-b", None),
        ("0-", None),
        ("0-3,", None),
        ("1\n2", None),
    ],
)
def test_cpus_are_counted(text, expected):
    assert memory.parse_cpulist(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "1\n2", "\u00b2", "\u0663", "9" * 19])
def test_what_is_no_count_is_unknown(text):
    assert memory.parse_number(text) is None


def test_numa_nodes_come_in_order_with_cpus_distances_and_huge_pages(machine):
    folder = "/sys/devices/system/node/"
    write(machine, folder + "node10/meminfo", "Node 10 MemTotal: 2048 kB\n")
    write(machine, folder + "node10/cpulist", "\n")
    write(machine, folder + "node10/distance", "80 999 10\n")
    write(machine, folder + "node1/hugepages/hugepages-1048576kB/nr_hugepages", "4\n")
    nodes = collect(machine)["numa_nodes"]
    assert [node["node"] for node in nodes] == [0, 1, 10]
    assert (nodes[0]["cpus"], nodes[0]["cpu_count"], nodes[0]["distances"]) == ("0-15,32-47", 32, [10, 21])
    assert nodes[0]["total_bytes"] == 131800000 * 1024
    assert nodes[1]["huge_pages"][1] == {"size_bytes": GIB, "total": 4, "free": 0, "surplus": 0}
    assert (nodes[2]["cpus"], nodes[2]["cpu_count"], nodes[2]["distances"]) == ("", 0, [80, None, 10])


def test_huge_pages_of_each_size_are_counted_the_smallest_first(machine):
    folder = "/sys/kernel/mm/hugepages/"
    write(machine, folder + "hugepages-2048kB/nr_hugepages", "512\n")
    write(machine, folder + "hugepages-1048576kB/free_hugepages", "all of them\n")
    write(machine, folder + "something-else/nr_hugepages", "1\n")
    pages = collect(machine)["huge_pages"]
    assert pages["transparent"] == "madvise"
    assert [pool["size_bytes"] for pool in pages["sizes"]] == [2 * MIB, GIB]
    assert pages["sizes"][0] == {"size_bytes": 2 * MIB, "total": 512, "free": 0, "reserved": 0, "surplus": 0}
    assert pages["sizes"][1]["free"] is None


def test_without_transparent_huge_pages_nothing_is_said_of_them(machine):
    write(machine, "/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [sometimes]\n")
    assert collect(machine)["huge_pages"]["transparent"] is None


def test_error_counters_are_read_of_controllers_and_of_what_is_below_them(tmp_path):
    folder = "/sys/devices/system/edac/mc/"
    for path, text in {
        "mc0/ce_count": "3",
        "mc0/ue_count": "0",
        "mc0/ce_noinfo_count": "1",
        "mc0/mc_name": "Skylake Socket#0 IMC#0",
        "mc0/size_mb": "65536",
        "mc0/seconds_since_reset": "4000",
        "mc0/dimm0/dimm_label": "CPU_SrcID#0_MC#0_Chan#0_DIMM#0",
        "mc0/dimm0/dimm_location": "channel 0 slot 0 ",
        "mc0/dimm0/size": "32768",
        "mc0/dimm0/dimm_ce_count": "2",
        "mc0/dimm0/dimm_ue_count": "0",
        "mc0/dimm10/size": "32768",
        "mc0/dimm2/size": "0",
        "mc1/ce_count": "nonsense",
        "mc1/ue_count": "\u00b2",
        "mc1/rank4/dimm_label": "mc#1csrow#2channel#0",
        "mc1/csrow2/size_mb": "16384",
        "mc1/csrow2/ce_count": "7",
        "mc1/csrow2/ue_count": "1",
        "mc1/csrow2/ch0_dimm_label": "DIMM_B1",
        "mc1/csrow2/ch1_dimm_label": "",
        "mc1/csrow2/ch0_ce_count": "7",
        "power/control": "auto",
    }.items():
        write(tmp_path, folder + path, text + "\n")
    first, second = memory.edac(Host(str(tmp_path)))
    assert [module["name"] for module in first["modules"]] == ["dimm0", "dimm2", "dimm10"]
    assert first["modules"][0] == {
        "name": "dimm0",
        "label": "CPU_SrcID#0_MC#0_Chan#0_DIMM#0",
        "location": "channel 0 slot 0",
        "size_bytes": 32 * GIB,
        "corrected": 2,
        "uncorrected": 0,
    }
    del first["modules"]
    assert first == {
        "controller": "mc0",
        "name": "Skylake Socket#0 IMC#0",
        "size_bytes": 64 * GIB,
        "corrected": 3,
        "uncorrected": 0,
        "corrected_unplaced": 1,
        "uncorrected_unplaced": None,
        "seconds_since_reset": 4000,
        "csrows": [],
    }
    assert (second["corrected"], second["uncorrected"]) == (None, None)
    assert second["modules"][0]["label"] == "mc#1csrow#2channel#0"
    assert second["modules"][0]["corrected"] is None
    assert second["csrows"] == [
        {"name": "csrow2", "labels": ["DIMM_B1"], "size_bytes": 16 * GIB, "corrected": 7, "uncorrected": 1}
    ]


def test_no_file_of_the_kernel_s_can_make_it_raise(machine):
    chance = random.Random(5)
    files = [os.path.join(folder, name) for folder, _folders, names in os.walk(str(machine)) for name in names]
    good = {}
    for path in files:
        with open(path, "rb") as stream:
            good[path] = stream.read()
    for _ in range(60):
        for path in chance.sample(sorted(files), 25):
            damaged = bytearray(good[path] or b"0")
            for _change in range(chance.randint(0, 5)):
                damaged[chance.randrange(len(damaged))] = chance.choice(b"\0\xff-:,9 \n\xb2")
            with open(path, "wb") as stream:
                stream.write(damaged[: chance.randint(0, len(damaged))])
        fact = collect(machine)
        for key in ("total_bytes", "installed_bytes", "visible_bytes", "missing_bytes"):
            assert fact[key] is None or 0 <= fact[key] < 2**60
        for path in files:
            with open(path, "wb") as stream:
                stream.write(good[path])
    assert collect(machine)["gaps"] == []
