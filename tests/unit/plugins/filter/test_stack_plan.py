"""How a host's facts become what the resolver knows."""

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.filter.stack_plan import stack_plan
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._describe import from_assumption, from_facts

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


DATA = load_all()


def system(**facts):
    return from_facts({**FACTS, **facts}, DATA)["system"]


def test_each_family_is_named_as_the_data_names_it():
    ubuntu = {"distribution": "Ubuntu", "distribution_version": "22.04", "distribution_major_version": "22"}
    rocky = {"os_family": "RedHat", "distribution": "Rocky", "distribution_major_version": "9"}
    assert (system(), system(**ubuntu), system(**rocky)) == ("debian12", "ubuntu22.04", "el9")


def test_amd_gpus_and_nvswitches_are_not_what_torch_is_chosen_for():
    others = [{**GPU, "vendor": "amd"}, {**GPU, "kind": "nvswitch"}]
    assert [
        len(found) if isinstance(found, list) else found
        for name, found in from_facts({**FACTS, "gpu": {**FACTS["gpu"], "pci": [GPU, *others]}}, DATA).items()
        if name in ("gpus", "nvswitches")
    ] == [1, 1]


@pytest.mark.parametrize(
    ("executable", "version"),
    [
        ("/opt/conda/bin/python", "3.11"),
        ("/srv/ansible/bin/python3", "3.11"),
        ("/usr/bin/python3.13", "3.13"),
        ("/usr/local/bin/python3", "3.13"),
        ("", "3.13"),
        (None, "3.13"),
    ],
)
def test_a_python_that_ansible_has_for_itself_is_not_what_the_system_brings(executable, version):
    python = {"version": {"major": 3, "minor": 13}, "executable": executable}
    assert from_facts({**FACTS, "python": python}, DATA)["python"] == version
    newest = {**FACTS, "python": python, "distribution": "Ubuntu", "distribution_version": "26.04"}
    assert from_facts(newest, DATA)["python"] == "3.13"  # what it brings is not known


def test_a_gpu_that_is_passed_through_to_a_virtual_machine_is_not_what_anything_is_chosen_for():
    foreign = {**GPU, "kernel_driver": "vfio-pci", "architecture": "blackwell", "compute_capability": "12.0"}
    ours = {**GPU, "kernel_driver": "nouveau"}
    plan = stack_plan({**FACTS, "gpu": {**FACTS["gpu"], "pci": [ours, foreign]}})
    assert plan["host_class"] == "1 x Tesla V100 PCIe 32GB on debian12"
    assert stack_plan({**FACTS, "gpu": {**FACTS["gpu"], "pci": [foreign]}})["host_class"] == "no GPU on debian12"


def test_a_recording_makes_an_emulated_plan():
    assert stack_plan(FACTS)["emulated"] is False
    assert stack_plan({**FACTS, "gpu": {**FACTS["gpu"], "root": "/emulation"}})["emulated"] is True


@pytest.mark.parametrize(
    ("suites", "has"),
    [
        (["bookworm", "bookworm-security"], True),
        (["buster", "buster/updates"], True),
        (["bookworm", "bookworm-updates", None], False),
        ([], False),
    ],
)
def test_security_updates_are_among_apts_sources_or_not(suites, has):
    found = from_facts({**FACTS, "host": {"apt_sources": [{"suite": suite} for suite in suites]}}, DATA)
    assert found["security_updates"] is has
    assert from_facts(FACTS, DATA)["security_updates"] is False


def test_a_driver_among_the_security_updates_is_for_hosts_that_have_them():
    wishes = {"sources": ["distribution", "pypi"], "components": ["nvidia_driver"]}
    facts = {**FACTS, "host": {"apt_sources": [{"suite": "bookworm-security"}]}}
    assert stack_plan(facts, wishes)["driver"]["version"] == "535.309.01"
    assert stack_plan(FACTS, wishes)["driver"]["version"] == "535.261.03"


def test_a_host_that_nothing_fits_is_refused_in_a_sentence():
    refused = stack_plan({**FACTS, "distribution": "Devuan"})["refused"]
    assert "devuan12 is outside the matrix" in refused


def test_a_fact_that_nobody_gathered_is_named():
    without = {name: value for name, value in FACTS.items() if name != "gpu"}
    with pytest.raises(AnsibleFilterError, match=r"'gpu'.*bootstrap and facts"):
        stack_plan(without)


def test_the_same_host_always_gets_the_same_plan():
    assert stack_plan(FACTS, {"sources": ["pypi"]}) == stack_plan(FACTS, {"sources": ["pypi"]})


def test_what_the_data_says_of_a_gpu_comes_with_it():
    assert from_facts(FACTS, DATA)["gpus"][0]["first_driver"] == 384


RACK = {"os": "ubuntu", "os_version": "22.04", "gpus": [{"model": "A100-SXM4-80GB", "count": 8}]}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("V100-SXM2-32GB", "Tesla V100 SXM2 32GB"),
        ("Tesla V100 SXM2 32GB", "Tesla V100 SXM2 32GB"),
        ("a100_pcie_80", "A100 80GB PCIe"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("1eb8", "Tesla T4"),
        ("h200 nvl", "H200 NVL"),
    ],
)
def test_a_gpu_that_is_assumed_is_found_by_any_of_its_names(name, key):
    assert from_assumption({**RACK, "gpus": [{"model": name}]}, DATA)["gpus"][0]["model"] == key


@pytest.mark.parametrize(
    ("assumed", "words"),
    [
        ({"gpus": [{"model": "V100"}]}, "could be .*say which"),
        ({"gpus": [{"model": "Voodoo 3"}]}, "no GPU of the table is called 'Voodoo 3'"),
        ({"gpus": ["V100"]}, "a GPU is"),
        ({"os": ""}, "needs os"),
        ({"os_version": "23.10"}, "ubuntu23.10; the matrix has"),
        ({"os_version": "26.04"}, "needs kernel"),
        ({"cpu": "EPYC"}, "stack_assume has cpu; there are"),
        ({"gpus": [{"model": "V100-SMX2-32GB"}]}, "'V100-SMX2-32GB'; is Tesla V100 SXM2 32GB meant; there are"),
        ({"gpus": {"model": "V100"}}, "gpus is a list"),
        ({"gpus": [{"model": "t4", "cuont": 8}]}, "a GPU is {model: ..., count: ...}, not .*cuont"),
        ({"gpus": [{"model": "t4", "count": "eight"}]}, "count is 'eight'; it is a whole number from 1 to 64"),
        ({"gpus": [{"model": "t4", "count": 0}]}, "count is 0"),
        ({"gpus": [{"model": "t4", "count": 10**8}]}, "count is 100000000"),
        ({"nvswitches": "six"}, "nvswitches is 'six'"),
        ({"python": "three"}, "python is 'three'; it is a version such as '3.10'"),
        ({"driver_version": "latest"}, "driver_version is 'latest'"),
        ({"os_version": 22.04}, "os_version is the number 22.04.*in quotes"),
        ({"python": 3.1}, "python is the number 3.1: without quotes.*'3.1' or '3.10'"),
    ],
)
def test_an_assumption_that_says_too_little_is_refused(assumed, words):
    with pytest.raises(AnsibleFilterError, match=words):
        stack_plan({}, {}, {**RACK, **assumed})


@pytest.mark.parametrize("assumed", ["8 x V100", ["V100"], 8])
def test_an_assumption_that_is_no_dictionary_is_refused(assumed):
    with pytest.raises(AnsibleFilterError, match="it is a dictionary of gpus, os"):
        stack_plan({}, {}, assumed)


def test_a_point_release_is_its_release():
    assert from_assumption({**RACK, "os_version": "22.04.3"}, DATA)["system"] == "ubuntu22.04"


def test_eight_gpus_of_a_switched_board_are_assumed_to_have_nvswitches():
    assert from_assumption(RACK, DATA)["nvswitches"] == 1
    assert from_assumption({**RACK, "gpus": [{"model": "a100_sxm4_80", "count": 4}]}, DATA)["nvswitches"] == 0
    assert stack_plan({}, {}, RACK)["driver"]["fabric_manager"]["wanted"] is True


def test_a_rack_that_is_not_bought_yet_is_planned_without_facts():
    assert stack_plan({}, {}, RACK)["host_class"] == "8 x A100-SXM4-80GB on ubuntu22.04"
