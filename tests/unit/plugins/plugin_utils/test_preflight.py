"""The rules of the role preflight: for each a host that breaks it, one that keeps it, and one that does not say."""

import copy

import pytest
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._preflight import SEVERITIES, findings

GB = 1000**3

GPU = {
    "address": "0000:3b:00.0",
    "kind": "gpu",
    "vendor": "nvidia",
    "vendor_id": "10de",
    "device_id": "1db6",
    "model": "Tesla V100 PCIe 32GB",
    "architecture": "volta",
    "compute_capability": "7.0",
    "kernel_driver": "nvidia",
}
ANSWER = {
    "address": "0000:3b:00.0",
    "uuid": "GPU-1",
    "row_remap_pending": None,
    "row_remap_failure": None,
    "retired_pages_pending": False,
}
DRIVE = {
    "name": "nvme0",
    "model": "PM1733",
    "serial": "S1",
    "state": "live",
    "namespaces": [{"name": "nvme0n1", "size_bytes": 3840 * GB}],
    "health": {"critical_warning": {"spare_below_threshold": False, "read_only": False}},
}
HEALTHY = {
    "gpu": {"pci": [GPU], "smi": {"gpus": [ANSWER]}, "gaps": [], "disagreements": []},
    "memory": {"total_bytes": 270 * GB, "edac": [{"controller": "mc0", "corrected": 0, "uncorrected": 0}], "gaps": []},
    "nvme": {"controllers": [DRIVE], "gaps": []},
    "processor_nproc": 40,
    "mounts": [{"mount": "/", "size_available": 100 * GB}],
}
EXPECTED = {
    "expected_gpus": {"model": "v100", "count": 1},
    "minimum_memory_gb": 64,
    "minimum_nvme_tb": 1,
    "minimum_processors": 8,
    "minimum_free_gb": {"/": 20, "/boot": 0.3},
}


def broken(path, value):
    """Return the healthy host with one value changed; the path is made of keys and positions."""
    host = copy.deepcopy(HEALTHY)
    place = host
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return host


def test_a_healthy_host_has_no_findings():
    assert findings(HEALTHY, EXPECTED) == []


@pytest.mark.parametrize(
    ("path", "value", "rule", "words"),
    [
        (("gpu", "pci"), [], "gpu.none", "installed for the CPU"),
        (("gpu", "pci", 0, "architecture"), None, "gpu.unknown", "10de:1db6"),
        (("gpu", "pci"), [GPU, {**GPU, "address": "0000:3c:00.0"}], "gpu.expected", "1 x v100 expected, 2 found"),
        (("gpu", "smi", "gpus"), [], "gpu.lost", "0000:3b:00.0"),
        (("gpu", "smi", "gpus", 0, "uuid"), None, "gpu.lost", "0000:3b:00.0"),
        (("gpu", "pci", 0, "kernel_driver"), "nouveau", "gpu.nouveau", "0000:3b:00.0"),
        (("gpu", "smi", "gpus", 0, "row_remap_pending"), True, "gpu.remap_pending", "reset"),
        (("gpu", "smi", "gpus", 0, "row_remap_failure"), True, "gpu.remap_failure", "replaced"),
        (("gpu", "smi", "gpus", 0, "retired_pages_pending"), True, "gpu.pages_pending", "reboot"),
        (("gpu", "disagreements"), ["one says 2, one says 1"], "gpu.disagreement", "one says 2"),
        (("memory", "total_bytes"), 32 * GB, "memory.minimum", "32 GB of memory, 64 GB expected"),
        (("memory", "edac", 0, "uncorrected"), 3, "memory.uncorrected", "mc0 counts 3"),
        (("nvme", "controllers", 0, "namespaces", 0, "size_bytes"), 500 * GB, "nvme.minimum", "0.50 TB"),
        (("nvme", "controllers", 0, "health", "critical_warning", "read_only"), True, "nvme.critical", "read_only"),
        (("nvme", "controllers", 0, "state"), "dead", "nvme.state", "dead"),
        (("processor_nproc",), 4, "cpu.minimum", "4 processors, 8 expected"),
        (("mounts", 0, "size_available"), 3 * GB, "disk.space", "3.0 GB are free on /"),
        (("nvme", "gaps"), ["/sys/class/nvme: absent"], "facts.gap", "nvme: /sys/class/nvme"),
    ],
    ids=lambda value: value if isinstance(value, str) and value in SEVERITIES else "",
)
def test_each_rule_names_what_broke_it(path, value, rule, words):
    found = {finding["rule"]: finding for finding in findings(broken(path, value), EXPECTED)}
    assert words in found[rule]["message"]
    assert found[rule]["severity"] == SEVERITIES[rule]


def test_every_rule_has_a_test_here():
    tested = test_each_rule_names_what_broke_it.pytestmark[0].args[1]
    assert {row[2] for row in tested} == set(SEVERITIES)


@pytest.mark.parametrize("missing", ["gpu", "memory", "nvme", "processor_nproc", "mounts"])
def test_what_nobody_read_is_neither_good_nor_bad(missing):
    host = {name: value for name, value in HEALTHY.items() if name != missing}
    assert findings(host, EXPECTED) == []


def test_facts_with_nothing_but_gaps_raise_no_alarm():
    host = {
        "gpu": {"pci": [], "smi": None, "gaps": ["no sysfs"], "disagreements": []},
        "memory": {"total_bytes": None, "gaps": []},
        "nvme": {"controllers": [{**DRIVE, "state": None, "health": None}], "gaps": []},
    }
    assert {finding["severity"] for finding in findings(host, {})} == {"warn", "info"}


def test_the_worst_stands_first():
    host = broken(("gpu", "pci", 0, "kernel_driver"), "nouveau")
    host["memory"]["edac"][0]["uncorrected"] = 1
    assert [finding["severity"] for finding in findings(host, EXPECTED)] == ["fail", "warn"]


def test_a_site_may_judge_otherwise():
    host = broken(("memory", "total_bytes"), 1)
    assert findings(host, {**EXPECTED, "severity": {"memory.minimum": "fail"}})[0]["severity"] == "fail"


@pytest.mark.parametrize("severity", [{"memory.minimun": "warn"}, {"memory.minimum": "critical"}])
def test_a_misspelt_rule_or_severity_is_named(severity):
    with pytest.raises(ValueError, match=r"memory\.minim.*(there are|use info)"):
        findings(HEALTHY, {"severity": severity})
