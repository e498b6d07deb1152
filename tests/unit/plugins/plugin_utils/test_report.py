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
        "reason": "",
        "findings": [],
        "seconds": 9.0,
        "tensorflow": None,
        "pytorch": {
            "result": "passed",
            "reason": "",
            "accuracy": 0.9612,
            "minimum_accuracy": 0.85,
            "training": {"epochs": 10},
            "data": {"words": "digits"},
            "images_per_second": 5000.0,
            "seconds": 3.2,
            "devices": [{"kind": "cpu", "label": "the CPU", "name": None}],
            "together": None,
        },
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
    assert "training pytorch passed: accuracy 0.961 (at least 0.85 wanted), 10 epochs on digits; 5000 images/s" in told
    assert "on the CPU" in told


def test_a_driver_that_is_only_planned_differs_from_one_that_was_installed():
    driver = FACTS["stack_plan"]["driver"]
    for wanted, source, told in (
        (["pytorch"], "elsewhere", "580.178.04 open, planned only"),
        (["nvidia_driver", "pytorch"], "nvidia", "580.178.04 open from nvidia"),
        (["nvidia_driver", "pytorch"], "distribution", "580 open from distribution"),
        (["pytorch"], "loaded", "580.178.04"),
    ):
        plan = {**FACTS["stack_plan"], "wanted": wanted, "driver": {**driver, "source": source}}
        assert f"driver {told}: long-term branch" in text({**FACTS, "stack_plan": plan})


def test_both_frameworks_and_all_gpus_are_told_of():
    gpus = [{"kind": "gpu", "label": f"GPU {number}", "name": "A100"} for number in range(2)]
    whole = {**FACTS["training"]["pytorch"], "devices": gpus, "together": {"count": 2, "images_per_second": 9000.0}}
    broken = {**whole, "result": "failed", "reason": "GPU 1 is bad: replace it", "accuracy": None}
    warning = [{"severity": "warn", "sentence": "GPU 0 is hot"}, {"severity": "info", "sentence": "nothing"}]
    told = text({"training": {"result": "failed", "pytorch": whole, "tensorflow": broken, "findings": warning}})
    assert "5000 images/s on GPU 0 (A100), the first of 2 that trained, 3 s in all; 2 together 9000 images/s" in told
    assert "tensorflow failed but GPU 0 is hot" in told
    assert "nothing" not in told


def test_of_the_frameworks_those_are_told_that_are_wanted():
    flow = {"version": "2.21.0", "build": "cpu", "reason": "the newest"}
    told = text({"stack_plan": {**FACTS["stack_plan"], "wanted": ["tensorflow"], "tensorflow": flow}})
    assert "tensorflow 2.21.0 (build for cpu): the newest" in told
    assert "pytorch" not in told


def test_hardware_that_is_a_stand_in_is_called_one():
    assert "EMULATED" not in text(FACTS)
    assert "EMULATED: this hardware was read from files below /emulation" in text(
        {"gpu": {**FACTS["gpu"], "root": "/emulation"}}
    )


def test_a_host_that_failed_says_why():
    assert text({"failed": "it\n  broke"}) == "gpu01 FAILED it broke"


def test_a_host_that_nothing_fits_is_told_of_like_any_other_failure():
    refused = {"stack_plan": {"refused": "stack_sources is []"}, "failed": "gpu01: stack_sources is []"}
    assert block("gpu01", refused) == ["gpu01", "  FAILED      gpu01: stack_sources is []"]


def test_training_that_did_not_happen_is_not_called_passed():
    told = text({"training": {"result": "not run: check mode", "pytorch": None, "tensorflow": None}})
    assert "not run: check mode" in told and "passed" not in told


def test_no_line_is_wider_than_a_terminal():
    assert max(map(len, block("gpu01", {**FACTS, "failed": "word " * 200}))) <= 118
