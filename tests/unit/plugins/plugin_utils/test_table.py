"""The fleet as a table: a line for each host, also for one that was not read."""

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._table import fleet_table

GB = 1000**3
V100 = {"kind": "gpu", "model": "Tesla V100 SXM2 32GB", "vendor_id": "10de", "device_id": "1db5"}
UNKNOWN = {"kind": "gpu", "model": None, "vendor_id": "10de", "device_id": "ffff"}
SWITCH = {"kind": "nvswitch", "model": None}
FACTS = {
    "gpu": {"root": "/", "pci": [V100, V100, SWITCH], "kernel": {"driver_version": "580.126.16"}, "smi": None},
    "memory": {"total_bytes": 540 * GB},
    "nvme": {"controllers": [{"name": "nvme0", "namespaces": [{"name": "nvme0n1", "size_bytes": 3840 * GB}]}]},
}
FINDINGS = [
    {"rule": "gpu.lost", "severity": "fail", "message": "a"},
    {"rule": "gpu.lost", "severity": "fail", "message": "b"},
    {"rule": "clock.offset", "severity": "fail", "message": "c"},
    {"rule": "gpu.width", "severity": "warn", "message": "d"},
]


def host(facts=None, findings=()):
    return {"ansible_facts": {**FACTS, **(facts or {})}, "preflight_findings": list(findings)}


def test_columns_stand_below_their_headings():
    table = fleet_table(["gpu01", "gpu02-with-a-name"], {"gpu01": host(), "gpu02-with-a-name": host({}, FINDINGS)})
    assert table == [
        "host               GPUs                      driver      memory  NVMe     findings",
        "gpu01              2 x Tesla V100 SXM2 32GB  580.126.16  540 GB  3.84 TB  nothing",
        "gpu02-with-a-name  2 x Tesla V100 SXM2 32GB  580.126.16  540 GB  3.84 TB  "
        "fail: gpu.lost, clock.offset (and 1 warn)",
    ]


def test_a_host_that_was_not_read_says_so():
    table = fleet_table(["gpu01", "gpu02"], {"gpu01": {}, "gpu02": {"ansible_facts": {}}})
    assert table[1:] == ["gpu01  not read", "gpu02  not read"]
    assert fleet_table(["gone"], {})[1] == "gone  not read"
    assert fleet_table(["off"], {"off": {"ansible_facts": FACTS}})[1] == "off   not read"  # by a cache of facts alone


def test_a_stand_in_is_called_one():
    (_heading, line) = fleet_table(["gpu01"], {"gpu01": host({"gpu": {**FACTS["gpu"], "root": "/emulation"}})})
    assert "2 x Tesla V100 SXM2 32GB (EMULATED)" in line


def test_different_gpus_are_counted_each_and_an_unknown_one_by_its_id():
    (_heading, line) = fleet_table(["a"], {"a": host({"gpu": {"pci": [V100, UNKNOWN]}})})
    assert "1 x 10de:ffff, 1 x Tesla V100 SXM2 32GB  -" in line


def test_a_host_without_gpus_and_drives_is_told_from_one_of_which_nothing_is_known():
    (_heading, line) = fleet_table(["a"], {"a": host({"gpu": {"pci": []}, "nvme": {"controllers": []}})})
    assert line.split() == ["a", "none", "-", "540", "GB", "none", "nothing"]
    (_heading, line) = fleet_table(["a"], {"a": host({"gpu": {}, "memory": {}, "nvme": {}})})
    assert line.split() == ["a", "-", "-", "-", "-", "nothing"]
