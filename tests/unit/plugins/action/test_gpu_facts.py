"""What the action plugin adds to the module gpu_facts, seen through a real run of Ansible on this machine."""

import json
import sys
from pathlib import Path

import pytest
from through_ansible import controller

CHECKOUT = Path(__file__).resolve().parents[4]
V100 = CHECKOUT / "tests" / "emulation" / "v100"


def gpu_facts(tmp_path, *flags, **options):
    """Return what the module answers for the stand-in of a V100 host."""
    options = {"root": str(V100), "nvidia_smi": str(V100 / "bin" / "nvidia-smi"), **options}
    (tmp_path / "ansible.cfg").touch()
    words = ["adhoc", "localhost", "-m", "gpufleet.workstation.gpu_facts", "-a", json.dumps(options), *flags]
    words += ["-e", "ansible_python_interpreter=" + sys.executable]
    answer = controller(tmp_path, *words, ANSIBLE_STDOUT_CALLBACK="minimal")
    assert " => " in answer.stdout, answer.stdout + answer.stderr
    return json.loads(answer.stdout.split(" => ", 1)[1])


@pytest.mark.parametrize("flags", [[], ["--check"]], ids=["run", "check mode"])
def test_a_task_without_a_table_gets_the_collections_own(tmp_path, flags):
    result = gpu_facts(tmp_path, *flags)
    assert result["changed"] is False
    assert [gpu["model_key"] for gpu in result["ansible_facts"]["gpu"]["pci"]] == ["v100_pcie_32", "v100_pcie_32"]


def test_a_task_that_brings_a_table_keeps_it(tmp_path):
    table = [{"vendor_id": "10de", "device_id": "1db6", "key": "ours", "name": "Our own name"}]
    result = gpu_facts(tmp_path, models=table)
    assert {gpu["model_key"] for gpu in result["ansible_facts"]["gpu"]["pci"]} == {"ours"}


def test_an_empty_table_is_a_table_too(tmp_path):
    result = gpu_facts(tmp_path, models=[])
    assert {gpu["model"] for gpu in result["ansible_facts"]["gpu"]["pci"]} == {None}


def test_an_option_that_does_not_exist_is_refused_by_the_module(tmp_path):
    result = gpu_facts(tmp_path, modles=[])
    assert "ansible_facts" not in result
    assert "modles" in result["msg"]
