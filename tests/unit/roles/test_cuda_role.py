"""The role cuda in a real play: what it refuses before it touches a host, and its silence where none is wanted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
V100 = {
    "vendor": "nvidia",
    "kind": "gpu",
    "model": "Tesla V100 PCIe 32GB",
    "architecture": "volta",
    "compute_capability": "7.0",
    "vendor_id": "10de",
    "device_id": "1db6",
    "address": "0000:3b:00.0",
}
FACTS = {
    "gpu": {"pci": [V100], "kernel": {"driver_version": "580.178.04"}, "root": "/emulation"},
    "distribution": "Debian",
    "distribution_major_version": "12",
    "distribution_version": "12.9",
    "os_family": "Debian",
    "python": {"version": {"major": 3, "minor": 11}},
    "kernel": "6.1.0-37-amd64",
    "architecture": "x86_64",
}


def play(folder, *more, **variables):
    """Run the role with invented facts, then more tasks, and return its status and what it said."""
    tasks = [
        {"name": "Invent the host", "ansible.builtin.set_fact": {**FACTS, "cacheable": True}},
        {"name": "Give it CUDA", "ansible.builtin.import_role": {"name": "gpufleet.workstation.cuda"}},
        *more,
    ]
    own = {"cuda_root": str(folder / "opt"), "cuda_link": "", "cuda_profile": "", "ansible_connection": "local"}
    own["ansible_python_interpreter"] = sys.executable
    host = {"name": "Provision", "hosts": "all", "gather_facts": False, "tasks": tasks, "vars": {**own, **variables}}
    (folder / "ansible.cfg").write_text("[defaults]\ninject_facts_as_vars = false\n")
    (folder / "play.yml").write_text(yaml.safe_dump([host]))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "gpu07,", str(folder / "play.yml")],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    return done.returncode, " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"cuda_version": "13.0.3"},
            "gpu07: CUDA 13.0.3 cannot compile for Tesla V100 PCIe 32GB, whose last is 12.9. Nothing was changed.",
        ),
        (
            {"cuda_version": "12.9", "cuda_driver_version": "470.256.02"},
            "gpu07: CUDA 12.9 needs driver 525.60.13, and 470.256.02 is the one to count on. Nothing was changed.",
        ),
        (
            {"cuda_version": "12.9", "cuda_further": [{"version": "13.0"}, {"version": "12.8", "cudnn": "9.28.0.42"}]},
            "whose last is 12.9; CUDA 12.8 is asked for with cuDNN 9.28.0.42, which has no kernels for Tesla V100",
        ),
    ],
)
def test_a_toolkit_that_cannot_work_is_refused_before_anything_is_changed(tmp_path, variables, words):
    status, said = play(tmp_path, **variables)
    assert status == 2 and words in said, said
    assert not (tmp_path / "opt").exists()


@pytest.mark.parametrize(
    "plan",
    [
        {"wanted": ["pytorch"], "cuda": {"version": "12.9.2", "source": "elsewhere"}, "driver": {"version": None}},
        {"wanted": ["cuda"], "cuda": {"version": None, "source": None}, "driver": {"version": None}},
        {},
    ],
)
def test_a_plan_without_cuda_leaves_the_host_alone(tmp_path, plan):
    status, said = play(tmp_path, **({"stack_plan": plan} if plan else {}))
    assert status == 0 and "changed=0" in said, said
    assert not (tmp_path / "opt").exists()


def test_a_mirror_of_nvidias_repositories_is_the_same_one_for_the_drivers_role(tmp_path):
    theirs = {"ansible.builtin.include_vars": str(CHECKOUT / "roles" / "nvidia_driver" / "defaults" / "main.yml")}
    shown = {"ansible.builtin.debug": {"msg": "<{{ __cuda_repository_url }}> <{{ nvidia_driver_repository_url }}>"}}
    driver = {"repository": {"url": "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/"}}
    plan = {"wanted": [], "cuda": {"version": None}, "driver": driver}
    status, said = play(tmp_path, theirs, shown, stack_plan=plan, workstation_nvidia_mirror="https://mirror.lab/nvidia")
    there = "<https://mirror.lab/nvidia/debian12/x86_64/>"
    assert status == 0 and f"{there} {there}" in said, said
