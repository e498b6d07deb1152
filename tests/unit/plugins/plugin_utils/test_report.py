"""What the report says at the end of a run."""

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._report import block

GPU = {"kind": "gpu", "model": "A100 80GB PCIe", "compute_capability": "8.0", "vendor_id": "10de", "device_id": "20b5"}
FACTS = {
    "gpu": {"root": "/", "pci": [GPU, GPU, {**GPU, "kind": "nvswitch"}]},
    "memory": {"total_bytes": 512 * 1000**3},
    "nvme": {"controllers": [{"name": "nvme0", "namespaces": [{"size_bytes": 3840 * 1000**3}]}]},
    "stack_plan": {
        "driver": {
            "branch": "580",
            "version": "580.178.04",
            "source": "nvidia",
            "flavor": "open",
            "reason": "long-term branch",
        },
        "python": {"version": "3.11", "source": "distribution", "reason": "it has torch"},
        "pytorch": {"version": "2.15.0", "variant": "cu132", "reason": "newest"},
    },
    "training": {
        "result": "passed",
        "accuracy": 0.9612,
        "minimum_accuracy": 0.85,
        "epochs": 10,
        "data": "digits",
        "images_per_second": 5000.0,
        "seconds": 3.2,
        "device": "cpu",
        "device_name": None,
    },
}


def text(facts):
    return " ".join(" ".join(block("gpu01", facts)).split())


def test_a_host_is_told_in_one_block():
    told = text(FACTS)
    assert told.startswith(
        "gpu01 hardware 2 x A100 80GB PCIe (compute capability 8.0); 512 GB memory; nvme0 3840 GB NVMe"
    )
    assert "pytorch 2.15.0 (cu132): newest" in told
    assert "passed: accuracy 0.961" in told
    assert "on the CPU" in told


def test_hardware_that_is_a_stand_in_is_called_one():
    assert "EMULATED" not in text(FACTS)
    assert "EMULATED: this hardware was read from files below /emulation" in text(
        {"gpu": {**FACTS["gpu"], "root": "/emulation"}}
    )


def test_a_host_that_failed_says_why():
    assert text({"failed": "it\n  broke"}) == "gpu01 FAILED it broke"


def test_training_that_did_not_happen_is_not_called_passed():
    told = text({"training": {"result": "not run: check mode", "accuracy": None}})
    assert "not run: check mode" in told and "passed" not in told


def test_no_line_is_wider_than_a_terminal():
    assert max(map(len, block("gpu01", {**FACTS, "failed": "word " * 200}))) <= 118
