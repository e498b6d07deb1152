# -*- coding: utf-8 -*-
"""What is read of NVMe drives from sysfs, mounts, the health log and the tools; good, bad and missing."""

import json
import os
import random
import resource
import stat
import struct
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _nvme as nvme
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

HERE = os.path.dirname(__file__)
EMULATION = os.path.join(HERE, "..", "..", "..", "emulation")
FIXTURES = os.path.join(HERE, "..", "..", "fixtures", "nvme")
HEALTHY = {
    "source": "ioctl",
    "critical_warning": dict.fromkeys([name for name, _word in nvme.WARNINGS], False),
    "temperature_celsius": 38,
    "sensors": [{"number": 1, "temperature_celsius": 38}, {"number": 3, "temperature_celsius": 45}],
    "available_spare_percent": 100,
    "spare_threshold_percent": 10,
    "percentage_used": 3,
    "data_read_bytes": 143384 * 512000,
    "data_written_bytes": 371704 * 512000,
    "power_cycles": 41,
    "power_on_hours": 21034,
    "unsafe_shutdowns": 12,
    "media_errors": 0,
    "error_log_entries": 118,
    "warning_temperature_minutes": 5,
    "critical_temperature_minutes": 1,
}


def fixture(name):
    with open(os.path.join(FIXTURES, name), encoding="utf-8") as file:
        return file.read()


def log(warning=0, kelvin=311, spare=100, threshold=10, used=3, sensors=(311, 0, 318), minutes=(5, 1), **counters):
    page = bytearray(512)
    struct.pack_into("<BHBBB", page, 0, warning, kelvin, spare, threshold, used)
    places = {"read": 32, "written": 48, "cycles": 112, "hours": 128, "unsafe": 144, "media": 160, "errors": 176}
    told = {"read": 143384, "written": 371704, "cycles": 41, "hours": 21034, "unsafe": 12, "media": 0, "errors": 118}
    told.update(counters)
    for name, value in told.items():
        page[places[name] : places[name] + 16] = value.to_bytes(16, "little")
    struct.pack_into("<II", page, 192, *minutes)
    struct.pack_into(f"<{len(sensors)}H", page, 200, *sensors)
    return bytes(page)


def tree(root, files):
    """Make files, and links where the text begins with an arrow."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text + "\n", encoding="utf-8")
    return Host(str(root))


def controllers(host, **options):
    """Return the controllers by name."""
    return {drive["name"]: drive for drive in nvme.collect(host, **options)["controllers"]}


def tool(folder, name, output, status=0):
    """Make a stand-in for a command, which writes down how it was called."""
    path = folder / name
    path.write_text(
        f"#!/bin/sh\necho \"$0 $*\" >> {folder}/calls\ncat <<'END'\n{output}\nEND\nexit {status}\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_healthy_drive_says_so():
    assert nvme.parse_health(log()) == HEALTHY


@pytest.mark.parametrize(
    ("bit", "name"),
    [
        (0, "spare_below_threshold"),
        (1, "temperature"),
        (2, "reliability_degraded"),
        (3, "read_only"),
        (4, "volatile_backup_failed"),
        (5, "persistent_memory_unreliable"),
    ],
)
def test_each_warning_bit_has_its_name(bit, name):
    warnings = nvme.parse_health(log(warning=1 << bit))["critical_warning"]
    assert [word for word, on in warnings.items() if on] == [name]


@pytest.mark.parametrize(
    ("told", "name", "value"),
    [
        ({"kelvin": 0}, "temperature_celsius", None),
        ({"kelvin": 0xFFFF}, "temperature_celsius", None),
        ({"kelvin": 273}, "temperature_celsius", 0),
        ({"kelvin": 268}, "temperature_celsius", -5),
        ({"sensors": (0xFFFF, 1, 0)}, "sensors", []),
        ({"sensors": (0,) * 7 + (300,)}, "sensors", [{"number": 8, "temperature_celsius": 27}]),
        ({"spare": 255}, "available_spare_percent", None),
        ({"spare": 0}, "available_spare_percent", 0),
        ({"threshold": 200}, "spare_threshold_percent", None),
        ({"used": 200}, "percentage_used", 200),  # more than its rated life
        ({"hours": 2**128 - 1}, "power_on_hours", None),
        ({"hours": 10**6 + 1}, "power_on_hours", None),
        ({"hours": 0}, "power_on_hours", 0),
        ({"media": 2**53}, "media_errors", None),
        ({"media": 2**53 - 1}, "media_errors", 2**53 - 1),
        ({"read": 0}, "data_read_bytes", None),  # "not reported", by specification
        ({"written": 2**64}, "data_written_bytes", None),
        ({"written": 2**40}, "data_written_bytes", 2**40 * 512000),
        ({"minutes": (0xFFFFFFFF, 0)}, "warning_temperature_minutes", None),
        ({"minutes": (0, 7)}, "critical_temperature_minutes", 7),
    ],
)
def test_what_cannot_be_is_unknown_and_what_can_be_is_kept(told, name, value):
    assert nvme.parse_health(log(**told))[name] == value


def test_a_warning_of_all_bits_is_no_warning():
    assert set(nvme.parse_health(log(warning=0xFF))["critical_warning"].values()) == {None}


@pytest.mark.parametrize("page", [b"", b"\0" * 512, b"\0" * 512 + b"\1", b"\xff" * 512, b"\1" * 511])
def test_a_page_that_is_no_health_log_is_none(page):
    assert nvme.parse_health(page) is None


@pytest.mark.parametrize(
    "name",
    [
        "nvme-1.8-floats.smart-log.json",
        "nvme-1.16-human.smart-log.json",
        "nvme-2.3-strings.smart-log.json",
        "nvme-2.9-capitals.smart-log.json",
    ],
)
def test_every_generation_of_nvme_cli_gives_the_same_facts(name):
    assert nvme.parse_nvme_smart_log(fixture(name)) == {**HEALTHY, "source": "nvme"}


def test_smartctl_gives_the_same_facts():
    assert nvme.parse_smartctl(fixture("smartctl-7.3.json")) == {**HEALTHY, "source": "smartctl"}


@pytest.mark.parametrize(
    ("warning", "raised"),
    [
        (8, ["read_only"]),
        ("0", []),
        ({"value": 9}, ["spare_below_threshold", "read_only"]),
        ({"Value": 32}, ["persistent_memory_unreliable"]),
        (
            {"available_spare": 1, "temp_threshold": 0, "reliability_degraded": 0, "ro": 0, "vmbu_failed": 1},
            ["spare_below_threshold", "volatile_backup_failed"],
        ),
        ({"available_spare": 1}, None),
        ({}, None),
        (-2147483648, None),
        ("N/A", None),
        (None, None),
        (True, None),
    ],
)
def test_the_critical_warning_is_read_in_each_of_its_forms(warning, raised):
    bits = nvme.parse_nvme_smart_log(json.dumps({"critical_warning": warning, "temperature": 300}))["critical_warning"]
    if raised is None:
        assert set(bits.values()) == {None}
    else:
        assert [name for name, on in bits.items() if on] == raised
        assert None not in bits.values()


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        ("12", 12),
        ("12.0", 12),
        ('"12"', 12),
        ('" 12.000 "', 12),
        ('"1.2e+03"', 1200),
        ("1.2e3", 1200),
        ('"340282366920938463463374607431768211455"', None),
        ("340282366920938463463374607431768211455", None),
        ("-2147483648", None),
        ("-9.2e18", None),
        ("NaN", None),
        ("Infinity", None),
        ('"N/A"', None),
        ("true", None),
        ("[12]", None),
        ("null", None),
        ("1" * 5000, None),
    ],
)
def test_a_counter_is_read_however_a_tool_writes_it(written, hours):
    health = nvme.parse_nvme_smart_log('{"power_cycles": 3, "power_on_hours": ' + written + "}")
    assert (health["power_on_hours"], health["power_cycles"]) == (hours, 3)


@pytest.mark.parametrize("parse", [nvme.parse_nvme_smart_log, nvme.parse_smartctl])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"error": "Permission denied"}',
        '{"critical_warning": 0, "temperature": 0, "avail_spare": 0, "power_on_hours": 0}',
        '{"nvme_smart_health_information_log": {"critical_warning": 0, "temperature": -273}}',
        '{"nvme_smart_health_information_log": []}',
        '{"a":' * 100000,
        '{"power_on_hours": ' + "9" * 900000 + "}",
        '{"power_on_hours": 3}' + " " * (2 << 20),
    ],
)
def test_a_text_without_a_health_log_is_none_and_takes_no_time(parse, text):
    begin = time.process_time()
    assert parse(text) is None
    assert time.process_time() - begin < 1


def test_a_complaint_before_the_json_does_not_hide_it():
    text = "NVMe status: something\n" + fixture("nvme-2.3-strings.smart-log.json") + "\nbye"
    assert nvme.parse_nvme_smart_log(text)["power_on_hours"] == 21034


def test_nvme_list_gives_sizes_that_32_bits_do_not_hold_and_never_a_cut_one():
    drive = nvme.parse_nvme_list(fixture("nvme-1.8-flat.list.json"))["nvme0"]
    assert (drive["model"], drive["serial"], drive["firmware"]) == ("EXAMPLE DRIVE 960", "EX000001", "EPK9CB5Q")
    assert drive["namespaces"] == [
        {"name": "nvme0n1", "nsid": 1, "size_bytes": 1875385008 * 512, "lba_bytes": 512},
        {"name": "nvme0n2", "nsid": 2, "size_bytes": None, "lba_bytes": 512},
    ]


@pytest.mark.parametrize("name", ["nvme-1.16-subsystems.list.json", "nvme-2.3-hosts.list.json"])
def test_nvme_list_is_understood_however_deep_its_controllers_lie(name):
    drive = nvme.parse_nvme_list(fixture(name))["nvme0"]
    assert (drive["model"], drive["transport"], drive["address"]) == ("EXAMPLE DRIVE 3840", "pcie", "0000:5e:00.0")
    assert (drive["subsystem"], drive["subsystem_nqn"]) == ("nvme-subsys0", "nqn.2014-08.org.example:EX000002")
    assert drive["namespaces"] == [{"name": "nvme0n1", "nsid": 1, "size_bytes": 3840755982336, "lba_bytes": 4096}]


def test_a_list_of_ten_thousand_drives_with_ten_thousand_namespaces_takes_no_time():
    devices = [
        {
            "Controllers": [{"Controller": f"nvme{number}"} for number in range(10000)],
            "Namespaces": [{"NameSpace": f"nvme0n{number}", "NSID": number} for number in range(10000)],
        }
    ]
    text = json.dumps({"Devices": devices})
    begin = time.process_time()
    assert len(nvme.parse_nvme_list(text)) > 100
    assert time.process_time() - begin < 5


def test_nvme_list_gives_a_drive_on_a_network_the_namespaces_of_its_subsystem():
    drive = nvme.parse_nvme_list(fixture("nvme-2.3-hosts.list.json"))["nvme1"]
    assert (drive["transport"], drive["namespaces"][0]["size_bytes"]) == ("tcp", 1 << 30)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"Devices": {"DevicePath": "/dev/nvme0n1"}}', []),
        ('{"Devices": "/dev/nvme0n1"}', []),
        ('[{"Controller": "nvme0"}]', ["nvme0"]),  # what begins at the first brace
        ('{"Devices": [{"DevicePath": "/dev/nvme0n1"}, {"DeviceP', []),
        ('{"Devices": [null, 3, [], {"DevicePath": ["nvme1n1"]}, {"DevicePath": "nvme2n1"}]}', ["nvme2"]),
        ('{"Devices": [{"Subsystems": {"Controllers": [{"Controller": "nvme0"}]}}]}', []),
        ('{"Subsystems": [{"Controllers": {"nvme0": {}}}, {"Controllers": [{"Controller": "nvme1"}]}]}', ["nvme1"]),
        ('{"Subsystem": ["a"], "Controllers": [{"Controller": "nvme1", "Namespaces": 9}]}', ["nvme1"]),
        ('{"Controller": "nvme0", "ModelNumber": {}, "SerialNumber": 5, "Firmware": [], "Address": NaN}', ["nvme0"]),
    ],
)  # fmt: skip
def test_of_a_list_with_wrong_types_what_is_right_is_left(text, names):
    drives = nvme.parse_nvme_list(text)
    assert list(drives) == names
    words = ("model", "serial", "firmware", "transport", "address", "state", "subsystem", "subsystem_nqn")
    assert {drive[word] for drive in drives.values() for word in words} <= {None}


@pytest.mark.parametrize("nsid", ["1e300", "-1", "NaN", "4294967295", "[1]", "true", "9" * 40])
@pytest.mark.parametrize("size", ["1e39", "NaN", "Infinity", "-2147483648", '"9999999999999999999999"', "{}", "[512]"])
def test_of_a_namespace_with_absurd_numbers_the_name_is_left(nsid, size):
    space = '{"DevicePath": "/dev/nvme0n1", "NSID": %s, "PhysicalSize": 512, "SectorSize": 512, "MaximumLBA": %s}'
    (found,) = nvme.parse_nvme_list('{"Devices": [' + space % (nsid, size) + "]}")["nvme0"]["namespaces"]
    assert found == {"name": "nvme0n1", "nsid": None, "size_bytes": None, "lba_bytes": 512}


def test_of_a_smartctl_with_wrong_types_what_is_right_is_left():
    text = """{"nvme_smart_health_information_log": {"critical_warning": {"value": [1]}, "temperature": [31],
        "temperature_sensors": {"1": 31}, "available_spare": "100", "available_spare_threshold": NaN,
        "percentage_used": {}, "power_on_hours": 7, "media_errors": 1e300, "data_units_read": -1}}"""
    health = nvme.parse_smartctl(text)
    assert (health["power_on_hours"], health["available_spare_percent"]) == (7, 100)
    assert (health["sensors"], set(health["critical_warning"].values())) == ([], {None})
    for name in (
        "temperature_celsius",
        "spare_threshold_percent",
        "percentage_used",
        "media_errors",
        "data_read_bytes",
    ):
        assert health[name] is None


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (
            ["device", "hwmon3", "ng0n1", "nvme0n1", "nvme0n1p1", "nvme0n2", "power"],
            [("nvme0n1", None), ("nvme0n2", None)],
        ),
        (["nvme0n1", "nvme0n10", "nvme0n2"], [("nvme0n1", None), ("nvme0n2", None), ("nvme0n10", None)]),
        (["nvme0c1n1"], [("nvme0n1", "nvme0c1n1")]),
        (["nvme3n1"], [("nvme3n1", None)]),  # below nvme1, before Linux 5.4
        (["nvme", "nvmen1", "nvme0n", "nvme0n1x", "xnvme0n1"], []),
        ([], []),
    ],
)
def test_namespaces_are_known_by_their_block_devices(entries, names):
    assert nvme.namespace_names(entries) == names


@pytest.mark.parametrize(
    ("transport", "address", "local"),
    [
        ("pcie", "0000:5e:00.0", True),
        ("tcp", "traddr=192.0.2.5,trsvcid=4420", False),
        ("rdma", "traddr=192.0.2.5", False),
        ("fc", "traddr=nn-0x1:pn-0x2", False),
        ("loop", None, False),
        ("pigeon", None, None),
        (None, "0000:5e:00.0", True),
        (None, "10000:01:00.0", True),
        (None, None, None),
    ],
)
def test_drives_in_the_machine_are_told_apart_from_fabrics(transport, address, local):
    assert nvme.is_local(transport, address) is local


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        (
            "36 35 259:1 / /mnt/my\\040data\\134x rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw",
            ("259:1", "/dev/nvme0n1p1", "/mnt/my data\\x", "ext4", False),
        ),
        # no optional fields, and a read-only way to a filesystem that is written elsewhere
        ("36 35 259:1 /a /b ro - xfs /dev/nvme0n1p1 rw", ("259:1", "/dev/nvme0n1p1", "/b", "xfs", True)),
        # several optional fields, and a filesystem that the kernel has put into read-only
        (
            "36 35 259:1 / / rw,relatime shared:1 master:2 - ext4 /dev/root ro,errors=remount-ro",
            ("259:1", "/dev/root", "/", "ext4", True),
        ),
        ("36 35 0:5 / /x\\777\\40 rw - tmpfs tmpfs rw", ("0:5", "tmpfs", "/x\\777\\40", "tmpfs", False)),
        ("36 35 0:5 / /x rw - tmpfs tmpfs", ("0:5", "tmpfs", "/x", "tmpfs", False)),
        ("36 35 0:5 / /x\u2028y rw - tmpfs tmpfs rw", ("0:5", "tmpfs", "/x\u2028y", "tmpfs", False)),
        ("36 35 259:1 / /a rw ext4 /dev/sda1 rw", None),
        ("36 35 - ext4 /dev/sda1 rw", None),
        ("36 35 259:1 / /a rw - ext4", None),
        (" - ", None),
        ("", None),
    ],
)
def test_a_mount_is_read_as_the_kernel_writes_it(line, mount):
    names = ("number", "device", "mountpoint", "fstype", "read_only")
    assert nvme.parse_mounts(line) == ([] if mount is None else [dict(zip(names, mount))])


def test_swap_is_read_as_the_kernel_writes_it():
    text = (
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/dm-1                               partition\t8388604\t\t1024\t\t-2\n"
        "/my\\040swap\\040file                      file\t\t1024\t\t0\t\t-3\nbroken\n/x file y z -1\n"
    )
    assert nvme.parse_swaps(text) == [
        {"device": "/dev/dm-1", "kind": "partition", "size_bytes": 8388604 << 10, "used_bytes": 1 << 20},
        {"device": "/my swap file", "kind": "file", "size_bytes": 1 << 20, "used_bytes": 0},
        {"device": "/x", "kind": "file", "size_bytes": None, "used_bytes": None},
    ]


LAYERS = {
    "sys/class/nvme/nvme0/transport": "pcie",
    "sys/class/nvme/nvme0/address": "0000:5e:00.0",
    "sys/class/nvme/nvme0/nvme0n1/size": "8",
    "sys/class/nvme/nvme1/transport": "pcie",
    "sys/class/nvme/nvme1/nvme1n1/size": "8",
    "sys/block/nvme0n1": "-> ../class/nvme/nvme0/nvme0n1",
    "sys/block/nvme1n1": "-> ../class/nvme/nvme1/nvme1n1",
    "sys/block/nvme0n1/dev": "259:0",
    "sys/block/nvme0n1/nvme0n1p1/partition": "1",
    "sys/block/nvme0n1/nvme0n1p1/dev": "259:1",
    "sys/block/nvme0n1/nvme0n1p1/size": "2048",
    "sys/block/nvme0n1/nvme0n1p2/partition": "2",
    "sys/block/nvme0n1/nvme0n1p2/dev": "259:2",
    "sys/block/nvme0n1/nvme0n1p2/holders/dm-0": "-> ../../../../../../block/dm-0",
    "sys/block/nvme0n1/nvme0n1p3/partition": "3",
    "sys/block/nvme0n1/nvme0n1p3/dev": "259:3",
    "sys/block/nvme0n1/nvme0n1p3/holders/md0": "-> ../../../../../../block/md0",
    "sys/block/nvme1n1/dev": "259:4",
    "sys/block/nvme1n1/holders/md0": "-> ../../../../../block/md0",
    "sys/block/dm-0/dev": "253:0",
    "sys/block/dm-0/size": "1024",
    "sys/block/dm-0/dm/name": "luks-home",
    "sys/block/dm-0/dm/uuid": "CRYPT-LUKS2-5a31c7e2-luks-home",
    "sys/block/dm-0/holders/dm-1": "-> ../../dm-1",
    "sys/block/dm-1/dev": "253:1",
    "sys/block/dm-1/dm/name": "vg0-home",
    "sys/block/dm-1/dm/uuid": "LVM-abcdef",
    "sys/block/md0/dev": "9:0",
    "sys/block/md0/md/level": "raid1",
    "sys/block/md0/md0p1/partition": "1",
    "sys/block/md0/md0p1/dev": "259:9",
    "run/udev/data/b259:1": "S:disk/by-uuid/x\nE:ID_FS_USAGE=filesystem\nE:ID_FS_TYPE=vfat\nG:systemd",
    "run/udev/data/b259:2": "E:ID_FS_TYPE=crypto_LUKS",
    "dev/mapper/vg0-home": "-> ../dm-1",
    "proc/swaps": "Filename Type Size Used Priority\n/dev/md0p1 partition 1024 0 -2\n/home/swap file 2048 4 -3",
    "proc/self/mountinfo": (
        "1 0 259:1 / /boot\\040efi rw - vfat /dev/nvme0n1p1 rw\n"
        "2 0 253:1 / /home rw - ext4 /dev/mapper/vg0-home ro\n"
        "3 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "4 0 0:4 / /proc rw - proc proc rw"
    ),
}


def test_what_lies_on_a_drive_is_followed_through_every_layer(tmp_path):
    drives = controllers(tree(tmp_path, LAYERS))
    space = drives["nvme0"]["namespaces"][0]
    seen = [(device["name"], device["kind"], device["label"], device["parents"]) for device in space["devices"]]
    assert seen == [
        ("nvme0n1", "disk", None, []),
        ("nvme0n1p1", "partition", None, ["nvme0n1"]),
        ("nvme0n1p2", "partition", None, ["nvme0n1"]),
        ("dm-0", "crypt", "luks-home", ["nvme0n1p2"]),
        ("dm-1", "lvm", "vg0-home", ["dm-0"]),
        ("nvme0n1p3", "partition", None, ["nvme0n1"]),
        ("md0", "md", None, ["nvme0n1p3"]),
        ("md0p1", "partition", None, ["md0"]),
    ]
    assert [device["filesystem"] for device in space["devices"]][:4] == [None, "vfat", "crypto_LUKS", None]
    assert (space["devices"][1]["size_bytes"], space["devices"][2]["size_bytes"]) == (2048 * 512, None)
    assert [(mount["block_device"], mount["mountpoint"], mount["read_only"]) for mount in space["mounts"]] == [
        ("nvme0n1p1", "/boot efi", False),
        ("dm-1", "/home", True),
    ]
    assert [(swap["block_device"], swap["device"], swap["used_bytes"]) for swap in space["swaps"]] == [
        ("md0p1", "/dev/md0p1", 0),
        ("dm-1", "/home/swap", 4096),
    ]
    mirror = drives["nvme1"]["namespaces"][0]
    assert [device["name"] for device in mirror["devices"]] == ["nvme1n1", "md0", "md0p1"]
    assert [swap["device"] for swap in mirror["swaps"]] == ["/dev/md0p1"]


def test_a_swap_file_is_on_the_mount_that_hides_the_others(tmp_path):
    drives = controllers(
        tree(
            tmp_path,
            {
                **LAYERS,
                "proc/self/mountinfo": "1 0 259:1 / /home rw - ext4 /dev/nvme0n1p1 rw\n"
                "2 0 0:9 / /home rw - tmpfs tmpfs rw\n3 0 259:1 / /home/sw rw - ext4 /dev/nvme0n1p1 rw",
            },
        )
    )
    assert [swap["device"] for swap in drives["nvme0"]["namespaces"][0]["swaps"]] == ["/dev/md0p1"]


def test_a_btrfs_of_two_drives_is_seen_on_both(tmp_path):
    drives = controllers(
        tree(
            tmp_path,
            {
                **LAYERS,
                "sys/fs/btrfs/features/raid1c34": "0",
                "sys/fs/btrfs/5a31c7e2/devices/nvme0n1p1": "-> ../../../../block/nvme0n1/nvme0n1p1",
                "sys/fs/btrfs/5a31c7e2/devices/nvme1n1": "-> ../../../../block/nvme1n1",
                "proc/self/mountinfo": "1 0 0:44 /@data /data rw - btrfs /dev/nvme1n1 rw,subvol=/@data",
            },
        )
    )
    seen = {name: drive["namespaces"][0]["mounts"][0]["block_device"] for name, drive in drives.items()}
    assert seen == {"nvme0": "nvme0n1p1", "nvme1": "nvme1n1"}


def test_a_filesystem_without_a_device_number_is_found_by_the_name_of_its_volume(tmp_path):
    mounted = {**LAYERS, "proc/self/mountinfo": "1 0 0:44 / /data rw - btrfs /dev/mapper/vg0-home rw"}
    space = controllers(tree(tmp_path, mounted))["nvme0"]["namespaces"][0]
    assert [mount["block_device"] for mount in space["mounts"]] == ["dm-1"]


def test_a_stale_mount_of_a_drive_that_came_back_by_the_same_name_is_not_its_own(tmp_path):
    stale = {**LAYERS, "proc/self/mountinfo": "1 0 259:77 / /data rw - ext4 /dev/nvme0n1p1 ro"}
    assert controllers(tree(tmp_path, stale))["nvme0"]["namespaces"][0]["mounts"] == []


def test_a_device_on_two_others_names_both_in_their_order(tmp_path):
    mirror = {**LAYERS, "sys/block/nvme0n1/nvme0n1p1/holders/md0": "-> ../../../../../../block/md0"}
    devices = controllers(tree(tmp_path, mirror))["nvme0"]["namespaces"][0]["devices"]
    assert {device["name"]: device["parents"] for device in devices}["md0"] == ["nvme0n1p1", "nvme0n1p3"]
    names = [device["name"] for device in devices]
    assert all(names.index(parent) < place for place, device in enumerate(devices) for parent in device["parents"])


def test_partitions_stand_in_the_order_of_their_numbers(tmp_path):
    files = {f"sys/class/nvme/nvme0/nvme0n1/nvme0n1p{number}/partition": str(number) for number in range(1, 12)}
    space = controllers(tree(tmp_path, {**files, "proc/self/mountinfo": ""}))["nvme0"]["namespaces"][0]
    assert [device["name"] for device in space["devices"][1:]] == [f"nvme0n1p{number}" for number in range(1, 12)]


def own_seconds():
    """Return the processor time of this process and of its children, which no other test beside it lengthens."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def test_a_drive_costs_less_than_20_ms_of_own_time(tmp_path):
    # All that one costs but the drive's own answer: its files in sysfs, a child process, and the parsing.
    files = {"proc/self/mountinfo": LAYERS["proc/self/mountinfo"]}
    for number in range(8):
        for name in (
            "transport",
            "model",
            "serial",
            "state",
            f"nvme{number}n1/size",
            f"nvme{number}n1/nvme{number}n1p1/dev",
        ):
            files[f"sys/class/nvme/nvme{number}/{name}"] = "live"
    host, page, times = tree(tmp_path, files), log(), []
    for _ in range(5):
        begin = own_seconds()
        for drive in nvme.collect(host)["controllers"]:
            assert nvme.parse_health(host.in_child(lambda: page, 5)[0])["source"] == "ioctl", drive["name"]
        times.append(own_seconds() - begin)
    assert min(times) / 8 < 0.020


def test_devices_that_hold_each_other_end(tmp_path):
    knot = {**LAYERS, "sys/block/dm-1/holders/dm-0": "-> ../../dm-0"}
    space = controllers(tree(tmp_path, knot))["nvme0"]["namespaces"][0]
    assert len(space["devices"]) == 8


def test_two_ways_to_one_drive_are_told_by_the_hidden_paths(tmp_path):
    files = {"proc/self/mountinfo": "1 0 259:0 / /data rw - xfs /dev/nvme0n1 rw"}
    for number, state in ((0, "optimized"), (1, "inaccessible")):
        name = f"sys/class/nvme/nvme{number}/"
        files[name + "transport"] = "pcie"
        files[name + "address"] = f"0000:5e:00.{number}"
        files[name + "subsysnqn"] = "nqn.2014-08.org.example:EX000003"
        files[name + "state"] = "live"
        files[name + f"nvme0c{number}n1/ana_state"] = state
        files[name + f"nvme0c{number}n1/size"] = "16"
        files[f"sys/class/nvme-subsystem/nvme-subsys0/nvme{number}"] = f"-> ../../nvme/nvme{number}"
    head = "sys/class/nvme-subsystem/nvme-subsys0/nvme0n1/"
    files.update({head + "size": "16", head + "dev": "259:0", head + "nsid": "1", head + "ro": "1"})
    files["sys/block/nvme0n1"] = "-> ../class/nvme-subsystem/nvme-subsys0/nvme0n1"
    drives = controllers(tree(tmp_path, files))
    assert {drive["subsystem"] for drive in drives.values()} == {"nvme-subsys0"}
    first, second = [drives[name]["namespaces"][0] for name in ("nvme0", "nvme1")]
    assert (first["name"], first["path"], first["path_state"]) == ("nvme0n1", "nvme0c0n1", "optimized")
    assert (second["name"], second["path"], second["path_state"]) == ("nvme0n1", "nvme0c1n1", "inaccessible")
    assert (first["size_bytes"], first["nsid"], first["read_only"]) == (8192, 1, True)
    assert first["mounts"][0]["mountpoint"] == "/data"
    (tmp_path / "sys" / "block" / "nvme0n1").unlink()
    assert controllers(Host(str(tmp_path)))["nvme0"]["namespaces"][0]["size_bytes"] == 8192


def test_a_sparse_sysfs_gives_nulls(tmp_path):
    drive = controllers(tree(tmp_path, {"sys/class/nvme/nvme0/nvme0n1/x": "", "proc/self/mountinfo": ""}))["nvme0"]
    assert (drive["model"], drive["transport"], drive["local"], drive["state"]) == (None, None, None, None)
    space = drive["namespaces"][0]
    told = ("path", "path_state", "nsid", "wwid", "size_bytes", "lba_bytes", "physical_block_bytes", "read_only")
    assert [space[key] for key in told] == [None] * len(told)


def test_the_stand_in_has_the_drive_that_it_was_given():
    fact = nvme.collect(Host(os.path.join(EMULATION, "v100")))
    (drive,) = fact["controllers"]
    assert (drive["model"], drive["serial"], drive["state"]) == ("SAMSUNG MZWLL1T6HAJQ-00005", "S4CHNE0M100001", "live")
    assert (drive["pci_address"], drive["local"]) == ("0000:5e:00.0", True)
    assert drive["namespaces"][0]["size_bytes"] == 3125627568 * 512
    assert [mount["mountpoint"] for mount in drive["namespaces"][0]["mounts"]] == ["/", "/boot/efi"]
    assert drive["health"] is None
    assert fact["gaps"] == ["nvme0: the health log could not be read: a recording has none"]


def test_a_drive_on_a_network_is_told_apart_and_not_asked_for_its_health(tmp_path):
    (tmp_path / "bin").mkdir()
    command = tool(tmp_path / "bin", "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    host = tree(
        tmp_path,
        {
            "sys/class/nvme/nvme3/transport": "tcp",
            "sys/class/nvme/nvme3/address": "traddr=192.0.2.5,trsvcid=4420",
            "sys/class/nvme/nvme3/state": "live",
            "proc/self/mountinfo": "",
        },
    )
    drive = controllers(host, nvme=command)["nvme3"]
    assert (drive["local"], drive["pci_address"], drive["health"]) == (False, None, None)
    assert drive["address"] == "traddr=192.0.2.5,trsvcid=4420"
    assert host.gaps == []
    assert not (tmp_path / "bin" / "calls").exists()


def one_drive(root, **files):
    (root / "bin").mkdir()
    drive = {"transport": "pcie", "state": "live", **files}
    told = {"sys/class/nvme/nvme0/" + name: text for name, text in drive.items()}
    return tree(root, {**told, "proc/self/mountinfo": ""})


def test_where_the_ioctl_gives_nothing_nvme_is_asked_and_smartctl_is_not(tmp_path):
    host = one_drive(tmp_path)
    first = tool(tmp_path / "bin", "nvme", fixture("nvme-1.16-human.smart-log.json"))
    second = tool(tmp_path / "bin", "smartctl", fixture("smartctl-7.3.json"))
    assert controllers(host, nvme=first, smartctl=second)["nvme0"]["health"] == {**HEALTHY, "source": "nvme"}
    assert (tmp_path / "bin" / "calls").read_text() == first + " smart-log -o json /dev/nvme0\n"
    assert host.gaps == []


def test_a_drive_of_which_nothing_is_known_is_asked(tmp_path):
    host = one_drive(tmp_path, transport="pigeon")
    command = tool(tmp_path / "bin", "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    drive = controllers(host, nvme=command)["nvme0"]
    assert (drive["local"], drive["health"]["power_on_hours"]) == (None, 21034)


def test_where_nvme_gives_nothing_smartctl_is_asked_whatever_its_status(tmp_path):
    host = one_drive(tmp_path)
    first = tool(tmp_path / "bin", "nvme", "", 1)
    second = tool(tmp_path / "bin", "smartctl", fixture("smartctl-7.3.json"), 64)
    assert controllers(host, nvme=first, smartctl=second)["nvme0"]["health"] == {**HEALTHY, "source": "smartctl"}
    assert (tmp_path / "bin" / "calls").read_text().splitlines()[1] == second + " -j -a /dev/nvme0"
    assert host.gaps == []


def test_where_nothing_has_it_the_gap_says_what_each_said(tmp_path):
    host = one_drive(tmp_path)
    failing = tool(tmp_path / "bin", "nvme", "", 1)
    complaining = tmp_path / "bin" / "smartctl"
    complaining.write_text("#!/bin/sh\necho first >&2; echo open: Permission denied >&2; exit 2\n")
    complaining.chmod(0o755)
    assert controllers(host, nvme=failing, smartctl=str(complaining))["nvme0"]["health"] is None
    (gap,) = host.gaps
    assert f"{failing}: status 1, and nothing of use; {complaining}: status 2, open: Permission denied" in gap


def test_a_tool_that_is_not_there_is_named_in_the_gap(tmp_path):
    host = one_drive(tmp_path)
    absent = str(tmp_path / "bin" / "smartctl")
    assert controllers(host, nvme="", smartctl=absent)["nvme0"]["health"] is None
    assert host.gaps == [f"nvme0: the health log could not be read: {absent}: not found"]


def test_a_tool_that_hangs_is_given_up(tmp_path):
    host = one_drive(tmp_path)
    command = tmp_path / "bin" / "nvme"
    command.write_text("#!/bin/sh\nsleep 60\n")
    command.chmod(0o755)
    begin = time.time()
    assert controllers(host, nvme=str(command), smartctl="", timeout=0.5)["nvme0"]["health"] is None
    assert time.time() - begin < 10
    assert host.gaps == [f"nvme0: the health log could not be read: {command}: timed out after 0.5 s"]


@pytest.mark.parametrize("state", ["dead", "resetting", "connecting", "deleting"])
def test_a_drive_that_is_not_live_is_not_asked(tmp_path, state):
    host = one_drive(tmp_path, state=state)
    command = tool(tmp_path / "bin", "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    assert controllers(host, nvme=command)["nvme0"]["health"] is None
    assert host.gaps == [f"nvme0: it is {state}, so it was not asked for its health"]
    assert not (tmp_path / "bin" / "calls").exists()


def test_a_bare_name_is_never_run_for_another_machine(tmp_path, monkeypatch):
    host = one_drive(tmp_path)
    tool(tmp_path / "bin", "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert controllers(host, nvme="nvme", smartctl="")["nvme0"]["health"] is None
    assert not (tmp_path / "bin" / "calls").exists()


def ask_this_machine(answer, nvme_command, smartctl="", state="live"):
    """Ask for a drive's health as on the machine itself, where its ioctl gives this answer."""
    host = Host()
    host.in_child = lambda function, timeout: answer
    return nvme.read_health(host, {"name": "nvme0", "state": state}, nvme_command, smartctl, 5), host.gaps


def test_where_the_drive_itself_answers_no_command_is_run(tmp_path):
    command = tool(tmp_path, "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    assert ask_this_machine((log(), None), command) == (HEALTHY, [])
    assert not (tmp_path / "calls").exists()


def test_an_empty_log_is_a_gap_and_no_health(tmp_path):
    command = tool(tmp_path, "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    assert ask_this_machine((b"\0" * 512, None), command) == (None, ["nvme0: the drive's health log is empty"])
    assert not (tmp_path / "calls").exists()


def test_a_drive_that_did_not_answer_is_not_asked_a_second_time(tmp_path):
    command = tool(tmp_path, "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    health, gaps = ask_this_machine((None, "timed out after 5 s"), command)
    assert (health, gaps) == (None, ["nvme0: the health log could not be read: timed out after 5 s"])
    assert not (tmp_path / "calls").exists()


def test_what_the_ioctl_was_refused_the_tool_may_have(tmp_path):
    command = tool(tmp_path, "nvme", fixture("nvme-2.3-strings.smart-log.json"))
    health, gaps = ask_this_machine((None, "Permission denied"), command)
    assert (health, gaps) == ({**HEALTHY, "source": "nvme"}, [])


def test_the_command_asks_for_the_whole_log_of_the_whole_drive_and_sets_no_timeout():
    words = struct.unpack("=18I", nvme.health_command(0x1122334455667788))
    assert words[:2] == (0x02, 0xFFFFFFFF)  # get log page, for all namespaces
    assert words[6:8] == (0x55667788, 0x11223344)
    assert words[9:11] == (512, 127 << 16 | 0x02)  # 128 words of four bytes, counted from 0; the health log
    assert [place for place, word in enumerate(words) if word] == [0, 1, 6, 7, 9, 10]


def test_a_file_that_is_no_drive_gives_no_log(tmp_path):
    (tmp_path / "nvme0").write_text("no drive")
    with pytest.raises(OSError, match="ioctl"):
        nvme.read_health_log(str(tmp_path / "nvme0"))


def test_a_drive_that_answers_with_a_status_gave_no_log(tmp_path, monkeypatch):
    (tmp_path / "nvme0").write_text("stands for a drive")
    monkeypatch.setattr("fcntl.ioctl", lambda *_: 0x4002)
    with pytest.raises(OSError, match="status 0x4002"):
        nvme.read_health_log(str(tmp_path / "nvme0"))


def test_without_sysfs_the_drives_are_listed_by_nvme(tmp_path):
    host = tree(tmp_path, {"dev/nvme0": "", "dev/nvme0n1": "", "proc/self/mountinfo": ""})
    command = tool(tmp_path, "nvme", fixture("nvme-1.16-subsystems.list.json"))
    drive = controllers(host, nvme=command, smartctl="")["nvme0"]
    assert (drive["model"], drive["local"], drive["pci_address"]) == ("EXAMPLE DRIVE 3840", True, "0000:5e:00.0")
    assert [(space["name"], space["size_bytes"]) for space in drive["namespaces"]] == [("nvme0n1", 3840755982336)]
    assert (tmp_path / "calls").read_text().splitlines()[0] == command + " list -o json"


def test_drives_that_nobody_can_list_are_a_gap(tmp_path):
    host = tree(tmp_path, {"dev/nvme0": "", "proc/self/mountinfo": ""})
    assert nvme.collect(host)["controllers"] == []
    assert host.gaps == ["/sys/class/nvme: not there, though /dev has drives"]


def test_a_host_without_drives_has_none_and_no_gaps(tmp_path):
    assert nvme.collect(Host(str(tmp_path))) == {"root": str(tmp_path), "gaps": [], "controllers": []}


def believable(health):
    """Say whether each value is one that a drive can have."""
    if health is None:
        return True
    celsius = [health["temperature_celsius"], *[sensor["temperature_celsius"] for sensor in health["sensors"]]]
    whole = [health[field.name] for field in nvme.FIELDS]
    return (
        all(value is None or -60 <= value <= 200 for value in celsius)
        and all(value is None or (type(value) is int and 0 <= value < 1 << 63) for value in whole)
        and all(health[name] is None or health[name] <= 100 for name in ("available_spare_percent",))
        and set(health["critical_warning"].values()) <= {True, False, None}
    )


def test_no_change_to_a_log_makes_a_traceback_or_an_absurd_number():
    chance = random.Random(3)
    for _ in range(2000):
        page = bytearray(log())
        for _change in range(chance.randint(1, 40)):
            page[chance.randrange(len(page))] = chance.randrange(256)
        assert believable(nvme.parse_health(bytes(page[: chance.choice([0, 5, 511, 512, 512, 512])] + b"\xff" * 3)))


def test_no_change_to_what_a_tool_says_makes_a_traceback_or_an_absurd_number():
    chance = random.Random(4)
    words = ["-", "9" * 30, "null", "{", "}", "[", "]", '"', "1e400", "NaN", "\0", ":", ",", "\u2028", "true", "e9"]
    for name in sorted(os.listdir(FIXTURES)):
        for _ in range(300):
            text = fixture(name)
            for _change in range(chance.randint(1, 6)):
                place = chance.randrange(len(text) + 1)
                text = text[:place] + chance.choice(words) + text[place + chance.randint(0, 12) :]
            text = text[: chance.choice([len(text), len(text), chance.randrange(len(text) + 1)])]
            assert believable(nvme.parse_nvme_smart_log(text))
            assert believable(nvme.parse_smartctl(text))
            for drive in nvme.parse_nvme_list(text).values():
                assert all(0 < (space["size_bytes"] or 1) < 1 << 63 for space in drive["namespaces"])
                assert all(0 < (space["nsid"] or 1) < 1 << 32 for space in drive["namespaces"])


def test_no_change_to_what_the_kernel_says_makes_a_traceback():
    chance = random.Random(5)
    text = LAYERS["proc/self/mountinfo"] + "\n" + LAYERS["proc/swaps"]
    for _ in range(2000):
        place = chance.randrange(len(text))
        changed = text[:place] + chance.choice(["\\777", "\0", " - ", "\n", "", "\\"]) + text[place + 3 :]
        nvme.parse_mounts(changed)
        nvme.parse_swaps(changed)
        nvme.parse_udev(changed)
