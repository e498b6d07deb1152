"""The playbook facts reads and judges a fleet, writes what it read on the controller, and changes no host."""

import json
import stat
import sys
from pathlib import Path

import pytest
import yaml
from through_ansible import controller

CHECKOUT = Path(__file__).resolve().parents[3]
EMULATION = CHECKOUT / "tests" / "emulation"


def machine(name):
    return {
        "workstation_facts_root": str(EMULATION / name),
        "workstation_nvidia_smi": str(EMULATION / name / "bin" / "nvidia-smi"),
    }


# The third host is a program that answers like ssh to a host without Python.
INVENTORY = {
    "workstations": {
        "vars": {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "preflight_minimum_processors": 1,
            "preflight_minimum_free_gb": {"/": 0.001},
            "preflight_minimum_root_gb": 0.001,
        },
        "hosts": {
            "gpu01": {**machine("v100"), "preflight_expected_gpus": {"model": "V100", "count": 8}},
            "gpu11": machine("a100"),
            "bare": {"ansible_connection": "ssh", "ansible_ssh_executable": "{{ inventory_dir }}/ssh"},
            "rack": {"ansible_connection": "ssh", "stack_assume": {"os": "debian", "os_version": "12"}},
        },
    }
}


def play(folder, *flags, hosts=None, **environment):
    group = INVENTORY["workstations"]
    group = {**group, "hosts": {**group["hosts"], **(hosts or {})}}
    (folder / "ansible.cfg").write_text("[defaults]\ninject_facts_as_vars = false\n")
    (folder / "inventory.yml").write_text(yaml.safe_dump({"workstations": group}))
    (folder / "ssh").write_text("#!/bin/sh\necho none\n")
    (folder / "ssh").chmod(0o755)
    done = controller(folder, "playbook", "gpufleet.workstation.facts", "-i", "inventory.yml", *flags, **environment)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    status, said = play(folder, "-e", "output_dir=out")
    return folder / "out", status, said


def test_each_host_that_can_be_read_has_a_file_and_no_other(fleet):
    out, _status, said = fleet
    assert sorted(path.name for path in out.iterdir()) == ["gpu01.json", "gpu11.json"], said


def test_a_file_holds_the_four_subjects_and_the_findings(fleet):
    facts = json.loads((fleet[0] / "gpu01.json").read_text(encoding="utf-8"))
    assert sorted(facts) == ["findings", "gpu", "host", "memory", "name", "nvme"]
    assert (facts["name"], len(facts["gpu"]["pci"])) == ("gpu01", 2)
    assert "8 x V100 expected, 2 found" in facts["findings"][0]["message"]
    assert stat.S_IMODE((fleet[0] / "gpu01.json").stat().st_mode) == 0o644


def test_a_host_without_python_is_named_and_the_status_says_so(fleet):
    _out, status, said = fleet
    assert status == 2
    assert "bare has no Python, so it cannot be read" in said


def test_a_rack_that_is_only_assumed_is_not_contacted(fleet):
    assert "unreachable=1" not in fleet[2]
    assert "rack not read" in [" ".join(line.strip(' ",').split()) for line in fleet[2].splitlines()]


def test_the_table_has_a_line_for_every_host(fleet):
    lines = [" ".join(line.strip(' ",').split()) for line in fleet[2].splitlines()]
    assert "host GPUs driver memory NVMe findings" in lines
    assert any(
        line.startswith("gpu01 2 x Tesla V100 PCIe 32GB (EMULATED) 580") and "gpu.expected" in line for line in lines
    )
    assert any(line.startswith("gpu11 2 x A100 80GB PCIe (EMULATED) 580") for line in lines)
    assert "bare not read" in lines


def test_nothing_is_changed_but_on_the_controller(fleet):
    changed = [line for line in fleet[2].splitlines() if line.startswith("changed: ")]
    assert len(changed) == 3  # the folder, and a file for each of the two hosts
    assert all(line.endswith(" -> localhost]") for line in changed)


def test_check_mode_writes_nothing(tmp_path):
    status, said = play(tmp_path, "--check", "--limit", "gpu11", "-e", "output_dir=out")
    assert status == 0, said
    assert not (tmp_path / "out").exists()
    assert "A100 80GB PCIe" in said


def test_without_a_folder_nothing_is_written_and_all_is_shown(tmp_path):
    status, said = play(tmp_path, "--limit", "gpu11")
    assert status == 0, said
    assert "A100 80GB PCIe (EMULATED)" in said


def test_what_a_cache_of_facts_kept_of_a_host_that_is_off_is_not_read(tmp_path):
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "cache")}
    status, said = play(tmp_path, "--limit", "gpu11", **cache)
    assert status == 0 and list((tmp_path / "cache").glob("*gpu11")), said
    gone = {**machine("a100"), "ansible_connection": "ssh", "ansible_ssh_executable": "/bin/false"}
    status, said = play(tmp_path, "--limit", "gpu01,gpu11", hosts={"gpu11": gone}, **cache)
    lines = [" ".join(line.strip(' ",').split()) for line in said.splitlines()]
    assert status and "gpu11 not read" in lines, said
