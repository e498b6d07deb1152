"""What the action plugin adds to the module gpu_facts, seen through a real run of Ansible on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[4]
V100 = CHECKOUT / "tests" / "emulation" / "v100"


def gpu_facts(tmp_path, *flags, **options):
    """Return what the module answers for the stand-in of a V100 host."""
    options = {"root": str(V100), "nvidia_smi": str(V100 / "bin" / "nvidia-smi"), **options}
    (tmp_path / "ansible.cfg").touch()
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "gpufleet.workstation.gpu_facts"]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_STDOUT_CALLBACK": "minimal",
        "ANSIBLE_NOCOLOR": "1",
    }
    command += ["-e", "ansible_python_interpreter=" + sys.executable, "-a", json.dumps(options), *flags]
    answer = subprocess.run(
        command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
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
