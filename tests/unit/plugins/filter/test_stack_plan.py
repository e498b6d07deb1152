"""How a host's facts become what the resolver knows."""

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.filter.stack_plan import describe, stack_plan

GPU = {
    "address": "0000:3b:00.0",
    "kind": "gpu",
    "vendor": "nvidia",
    "vendor_id": "10de",
    "device_id": "1db6",
    "model": "Tesla V100 PCIe 32GB",
    "architecture": "volta",
    "compute_capability": "7.0",
}
FACTS = {
    "gpu": {"root": "/", "pci": [GPU], "kernel": {"driver_version": None}},
    "os_family": "Debian",
    "distribution": "Debian",
    "distribution_version": "12.11",
    "distribution_major_version": "12",
    "kernel": "6.1.0-35-amd64",
    "architecture": "x86_64",
    "python": {"version": {"major": 3, "minor": 11}},
}


def system(**facts):
    return describe({**FACTS, **facts})["system"]


def test_each_family_is_named_as_the_data_names_it():
    ubuntu = {"distribution": "Ubuntu", "distribution_version": "22.04", "distribution_major_version": "22"}
    rocky = {"os_family": "RedHat", "distribution": "Rocky", "distribution_major_version": "9"}
    assert (system(), system(**ubuntu), system(**rocky)) == ("debian12", "ubuntu22.04", "el9")


def test_amd_gpus_and_nvswitches_are_not_what_torch_is_chosen_for():
    others = [{**GPU, "vendor": "amd"}, {**GPU, "kind": "nvswitch"}]
    assert len(describe({**FACTS, "gpu": {**FACTS["gpu"], "pci": [GPU, *others]}})["gpus"]) == 1


def test_a_recording_makes_an_emulated_plan():
    assert stack_plan(FACTS)["emulated"] is False
    assert stack_plan({**FACTS, "gpu": {**FACTS["gpu"], "root": "/emulation"}})["emulated"] is True


def test_a_host_that_nothing_fits_is_refused_in_a_sentence():
    refused = stack_plan({**FACTS, "distribution": "Devuan"})["refused"]
    assert "devuan12 is outside the matrix" in refused


def test_a_fact_that_nobody_gathered_is_named():
    without = {name: value for name, value in FACTS.items() if name != "gpu"}
    with pytest.raises(AnsibleFilterError, match=r"'gpu'.*bootstrap and facts"):
        stack_plan(without)


def test_the_same_host_always_gets_the_same_plan():
    assert stack_plan(FACTS, {"sources": ["pypi"]}) == stack_plan(FACTS, {"sources": ["pypi"]})
