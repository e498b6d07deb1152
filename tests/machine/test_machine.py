"""The three facts modules in a machine that is emulated down to its drives, against what the machine was given.

pytest tests/machine
"""

import pytest
from build import why_not
from machine import DIMM, DRIVES, GIB, MEMORY, NODES, Machine

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no machine to test in: {REASON}")
WARNINGS = [
    "spare_below_threshold",
    "temperature",
    "reliability_degraded",
    "read_only",
    "volatile_backup_failed",
    "persistent_memory_unreliable",
]


@pytest.fixture(scope="module")
def machine():
    running = Machine()
    yield running
    running.stop()


def fact_of(machine, name, **request):
    return machine.ask(f"{name}_facts", **request)["ansible_facts"][name]


def drives_of(machine, **request):
    """Return the drives by serial number; of two controllers of one drive the last."""
    return {drive["serial"]: drive for drive in fact_of(machine, "nvme", **request)["controllers"]}


@pytest.fixture(scope="module")
def nvme(machine):
    return fact_of(machine, "nvme")


@pytest.fixture(scope="module")
def drives(nvme):
    return {drive["serial"]: drive for drive in nvme["controllers"]}


def test_every_drive_is_there_and_nothing_is_missing(nvme):
    local = sorted(drive["serial"] for drive in nvme["controllers"] if drive["local"])
    assert local == ["EX-DOUBLE", "EX-LAYERS", "EX-SHARED", "EX-WAYS", "EX-WAYS"]
    assert (nvme["root"], nvme["gaps"]) == ("/", [])


def test_a_drive_is_what_qemu_made_it(drives):
    drive = drives["EX-LAYERS"]
    assert (drive["model"], drive["transport"], drive["state"]) == ("QEMU NVMe Ctrl", "pcie", "live")
    assert drive["subsystem_nqn"].endswith("EX-LAYERS")
    assert drive["firmware"]


def test_a_drive_knows_its_slot_its_link_and_its_node(drives):
    drive = drives["EX-LAYERS"]
    assert (drive["pci_address"], drive["numa_node"]) == ("0000:81:00.0", 1)
    assert drive["link"] == {"speed_gts": 2.5, "width": 1, "max_speed_gts": 2.5, "max_width": 1}


def test_a_drive_on_the_board_has_no_link_and_no_node(drives):
    assert drives["EX-DOUBLE"]["numa_node"] is None
    assert set(drives["EX-DOUBLE"]["link"].values()) == {None}


def test_two_namespaces_have_their_own_sizes_and_blocks(drives):
    seen = [
        (space["nsid"], space["size_bytes"], space["lba_bytes"], space["physical_block_bytes"], space["read_only"])
        for space in drives["EX-DOUBLE"]["namespaces"]
    ]
    assert seen == [(1, DRIVES["small"], 512, 512, False), (2, DRIVES["large"], 4096, 4096, False)]


def test_what_was_built_on_a_drive_is_seen_in_layers(drives):
    (space,) = drives["EX-LAYERS"]["namespaces"]
    name = space["name"]
    assert [(device["name"], device["kind"], device["parents"]) for device in space["devices"]] == [
        (name, "disk", []),
        (name + "p1", "partition", [name]),
        (name + "p2", "partition", [name]),
        (name + "p3", "partition", [name]),
        ("dm-0", "lvm", [name + "p3"]),
    ]
    assert [device["size_bytes"] >> 20 for device in space["devices"]] == [1024, 64, 16, 64, 64]
    assert space["devices"][4]["label"] == "vg0-scratch"
    assert [
        (mount["block_device"], mount["mountpoint"], mount["fstype"], mount["read_only"]) for mount in space["mounts"]
    ] == [(name + "p1", "/mnt/my data", "ext4", False), ("dm-0", "/scratch", "ext4", True)]
    assert [(swap["block_device"], swap["kind"], swap["size_bytes"]) for swap in space["swaps"]] == [
        (name + "p2", "partition", (16 << 20) - 4096)
    ]


def test_two_controllers_of_one_drive_lead_to_the_same_namespace_by_two_paths(nvme):
    ways = [drive for drive in nvme["controllers"] if drive["serial"] == "EX-WAYS"]
    assert len({drive["subsystem"] for drive in ways}) == 1
    assert {drive["subsystem_nqn"] for drive in ways} == {ways[0]["subsystem_nqn"]}
    spaces = [space for drive in ways for space in drive["namespaces"]]
    assert {(space["name"], space["size_bytes"]) for space in spaces} == {(spaces[0]["name"], DRIVES["ways"])}
    assert len({space["path"] for space in spaces} - {None}) == 2


def test_a_namespace_over_tcp_is_told_apart_and_its_health_is_not_asked_for(nvme):
    (drive,) = [drive for drive in nvme["controllers"] if drive["transport"] == "tcp"]
    assert (drive["local"], drive["pci_address"], drive["health"], drive["state"]) == (False, None, None, "live")
    assert drive["subsystem_nqn"] == "nqn.2014-08.org.example:share"
    assert drive["address"].startswith("traddr=127.0.0.1,trsvcid=4420")
    (space,) = drive["namespaces"]
    assert (space["size_bytes"], space["path_state"]) == (DRIVES["shared"], "optimized")


def test_the_health_log_is_read_by_ioctl(drives):
    for serial in ("EX-DOUBLE", "EX-LAYERS", "EX-SHARED", "EX-WAYS"):
        health = drives[serial]["health"]
        assert (health["source"], health["temperature_celsius"]) == ("ioctl", 50)  # qemu's drives are at 323 K
        assert set(health["critical_warning"].values()) == {False}
        assert (health["media_errors"], health["unsafe_shutdowns"], health["sensors"]) == (0, 0, [])
    # The filesystems were made on this one, and qemu counts.
    assert drives["EX-LAYERS"]["health"]["data_written_bytes"] >= 512000
    assert drives["EX-DOUBLE"]["health"]["data_written_bytes"] is None


@pytest.mark.parametrize(("bit", "name"), list(enumerate(WARNINGS)))
def test_a_warning_that_the_drive_raises_is_in_the_facts(machine, bit, name):
    path = "/machine/peripheral/double-drive"
    machine.order("qom-set", path=path, property="smart_critical_warning", value=1 << bit)
    try:
        raised = drives_of(machine)
    finally:
        machine.order("qom-set", path=path, property="smart_critical_warning", value=0)
    assert [word for word, on in raised["EX-DOUBLE"]["health"]["critical_warning"].items() if on] == [name]
    assert not any(raised["EX-SHARED"]["health"]["critical_warning"].values())


@pytest.mark.parametrize(("options", "source"), [({}, "nvme"), ({"nvme": ""}, "smartctl")])
def test_the_tools_say_what_the_ioctl_says(machine, options, source):
    path = "/machine/peripheral/double-drive"
    machine.order("qom-set", path=path, property="smart_critical_warning", value=0b001010)
    try:
        asked = drives_of(machine)["EX-DOUBLE"]["health"]
        told = drives_of(machine, without_ioctl=True, options=options)["EX-DOUBLE"]["health"]
    finally:
        machine.order("qom-set", path=path, property="smart_critical_warning", value=0)
    assert told == {**asked, "source": source}
    assert (asked["source"], asked["critical_warning"]["read_only"]) == ("ioctl", True)


def test_another_user_gets_everything_but_the_health_and_is_told_why(machine, nvme):
    fact = fact_of(machine, "nvme", user=65534)
    assert [drive["health"] for drive in fact["controllers"]] == [None] * 6
    assert len(fact["gaps"]) == 5
    assert all("the health log could not be read: Permission denied; nvme: " in gap for gap in fact["gaps"])
    for drive, whole in zip(fact["controllers"], nvme["controllers"], strict=True):
        assert {**drive, "health": whole["health"]} == whole


def test_the_memory_is_what_the_machine_was_given(machine):
    memory = fact_of(machine, "memory")
    assert [(dimm["slot"], dimm["size_bytes"]) for dimm in memory["dimms"]] == [
        ("DIMM_A 0", 16 * GIB),
        ("DIMM_A 1", MEMORY - 16 * GIB),
    ]
    for dimm in memory["dimms"]:
        told = (dimm["manufacturer"], dimm["part_number"], dimm["serial"], str(dimm["speed_mts"]), dimm["bank"])
        assert told == (DIMM["manufacturer"], DIMM["part"], DIMM["serial"], DIMM["speed"], "NODE 0")
    assert memory["max_capacity_bytes"] == MEMORY
    assert 0.9 * MEMORY < memory["total_bytes"] < MEMORY  # the kernel keeps some for itself
    for node, size in zip(memory["numa_nodes"], NODES, strict=True):
        assert 0.9 * size < node["total_bytes"] <= size
    assert memory["swap_total_bytes"] == (16 << 20) - 4096
    assert memory["gaps"] == []


def test_without_root_the_memory_is_what_the_kernel_knows(machine):
    memory = fact_of(machine, "memory", user=65534)
    assert memory["total_bytes"] > 0.9 * MEMORY
    assert not memory["dimms"]
    assert any("Permission denied" in gap for gap in memory["gaps"])


def test_a_machine_without_gpus_has_none(machine):
    gpu = fact_of(machine, "gpu")
    assert (gpu["pci"], gpu["smi"]) == ([], None)
