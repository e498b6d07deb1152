# -*- coding: utf-8 -*-
"""What is read of NVMe drives from sysfs, mounts and the health log; good, bad and missing."""

import os
import random
import struct

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _nvme as nvme
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

EMULATION = os.path.join(os.path.dirname(__file__), "..", "..", "..", "emulation")


def log(warning=0, kelvin=311, spare=100, threshold=10, used=3, hours=21034, unsafe=12, media=0):
    page = bytearray(512)
    struct.pack_into("<BHBBB", page, 0, warning, kelvin, spare, threshold, used)
    for offset, value in ((128, hours), (144, unsafe), (160, media)):
        page[offset : offset + 16] = value.to_bytes(16, "little")
    return bytes(page)


def test_a_healthy_drive_says_so():
    health = nvme.parse_health(log())
    assert set(health["critical_warning"].values()) == {False}
    assert (health["temperature_celsius"], health["available_spare_percent"], health["percentage_used"]) == (38, 100, 3)
    assert (health["power_on_hours"], health["unsafe_shutdowns"], health["media_errors"]) == (21034, 12, 0)


@pytest.mark.parametrize(
    ("bit", "name"),
    [
        (0, "spare_below_threshold"),
        (1, "temperature"),
        (2, "reliability_degraded"),
        (3, "read_only"),
        (4, "volatile_backup_failed"),
    ],
)
def test_each_warning_bit_has_its_name(bit, name):
    warnings = nvme.parse_health(log(warning=1 << bit))["critical_warning"]
    assert [word for word, on in warnings.items() if on] == [name]


def test_absurd_values_are_unknown():
    health = nvme.parse_health(log(kelvin=0, spare=255, threshold=200, hours=2**128 - 1))
    assert health["temperature_celsius"] is None
    assert health["available_spare_percent"] is None
    assert health["spare_threshold_percent"] is None
    assert health["power_on_hours"] is None


def test_a_drive_may_have_used_more_than_its_rated_life():
    assert nvme.parse_health(log(used=200))["percentage_used"] == 200


@pytest.mark.parametrize("page", [b"", b"\0" * 512, b"\1" * 511])
def test_a_page_that_is_no_health_log_is_none(page):
    assert nvme.parse_health(page) is None


@pytest.mark.parametrize(
    ("controller", "entries", "names"),
    [
        ("nvme0", ["nvme0n1", "nvme0n2", "device", "power", "nvme0n1p1", "hwmon3"], ["nvme0n1", "nvme0n2"]),
        ("nvme1", ["nvme0c1n1"], ["nvme0n1"]),
        ("nvme1", ["nvme10n1", "nvme1"], []),
        ("nvme0", [], []),
    ],
)
def test_namespaces_are_known_by_their_block_devices(controller, entries, names):
    assert nvme.namespace_names(controller, entries) == names


@pytest.mark.parametrize(
    ("device", "part"),
    [
        ("/dev/nvme0n1", True),
        ("/dev/nvme0n1p2", True),
        ("/dev/nvme0n10", False),
        ("/dev/nvme0n10p1", False),
        ("/dev/sda1", False),
    ],
)
def test_partitions_belong_to_their_namespace_only(device, part):
    assert nvme.is_part_of(device, "nvme0n1") is part


def test_mounts_of_devices_are_read_with_spaces_in_their_names():
    mounts = nvme.parse_mounts("/dev/nvme0n1p1 /mnt/my\\040data ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\nbroken\n\n")
    assert mounts == [{"device": "/dev/nvme0n1p1", "mountpoint": "/mnt/my data", "fstype": "ext4"}]


def test_the_stand_in_has_the_drive_that_it_was_given():
    fact = nvme.collect(Host(os.path.join(EMULATION, "v100")))
    (drive,) = fact["controllers"]
    assert (drive["model"], drive["serial"], drive["state"]) == ("SAMSUNG MZWLL1T6HAJQ-00005", "S4CHNE0M100001", "live")
    assert drive["pci_address"] == "0000:5e:00.0"
    assert drive["namespaces"][0]["size_bytes"] == 3125627568 * 512
    assert [mount["mountpoint"] for mount in drive["namespaces"][0]["mounts"]] == ["/", "/boot/efi"]
    assert drive["health"] is None
    assert fact["gaps"] == ["nvme0: a recording has no health log"]


def test_a_drive_on_a_network_is_told_apart_and_not_asked_for_its_health(tmp_path):
    folder = tmp_path / "sys" / "class" / "nvme" / "nvme3"
    folder.mkdir(parents=True)
    for name, text in (("transport", "tcp"), ("address", "traddr=10.0.0.5,trsvcid=4420"), ("state", "connecting")):
        (folder / name).write_text(text)
    fact = nvme.collect(Host(str(tmp_path)))
    (drive,) = fact["controllers"]
    assert (drive["transport"], drive["pci_address"], drive["state"]) == ("tcp", None, "connecting")
    assert fact["gaps"] == []


def test_a_host_without_drives_has_none_and_no_gaps(tmp_path):
    assert nvme.collect(Host(str(tmp_path))) == {"root": str(tmp_path), "gaps": [], "controllers": []}


def test_no_bytes_make_the_health_parser_raise():
    chance = random.Random(3)
    for _ in range(2000):
        nvme.parse_health(bytes(chance.randrange(256) for _ in range(chance.choice([0, 5, 511, 512, 600]))))
