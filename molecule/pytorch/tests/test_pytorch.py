"""What a user can rely on once a host has its PyTorch."""

import json
import os
import re
from pathlib import Path

testinfra_hosts = ["ansible://workstations"]

PYTHON = "/opt/gpufleet/envs/pytorch/current/bin/python"
# The stand-ins of the two groups: a V100 (compute capability 7.0) and an A100 (8.0).
CAPABILITY = {"v100": "sm_70", "a100": "sm_80", "old": "sm_70"}
# The last on the public index with sm_70; what the inventory wishes for.
VERSION = {"v100": (2, 10), "old": (1, 13)}


def group(host):
    return host.backend.get_hostname().rpartition("-")[2]


def ask(host, code):
    return json.loads(host.check_output("%s -W ignore -c %s", PYTHON, f"import json, torch; print(json.dumps({code}))"))


def test_the_wheel_carries_kernels_for_the_hosts_gpus(host):
    assert CAPABILITY[group(host)] in ask(host, "torch._C._cuda_getArchFlags()").split()


def test_the_wheel_is_a_cuda_build(host):
    assert ask(host, "torch.version.cuda") is not None


def test_a_v100_is_kept_from_releases_without_its_kernels(host):
    version = tuple(int(part) for part in ask(host, "torch.__version__").split("+")[0].split(".")[:2])
    if group(host) in VERSION:
        assert version == VERSION[group(host)]
    else:
        assert version > (2, 10)


def test_it_computes(host):
    assert ask(host, "(torch.ones(3, 3) @ torch.ones(3, 3)).sum().item()") == 27.0


def test_numpy_and_torch_understand_each_other(host):
    assert ask(host, "torch.from_numpy(__import__('numpy').arange(4.0)).sum().item()") == 6.0


def test_the_companions_are_there(host):
    host.check_output("%s -c 'import torchvision, numpy, pandas, matplotlib, sklearn'", PYTHON)


def test_nothing_in_the_environment_contradicts_itself(host):
    uv = host.check_output("ls /opt/gpufleet/uv/*/bin/uv")
    assert host.run("%s pip check --python %s", uv, PYTHON).rc == 0


def test_the_host_has_exactly_what_the_lock_on_the_controller_keeps_for_its_class(host):
    lock = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "stack.lock.json").read_text(encoding="utf-8")
    texts = [kept["locks"]["pytorch"] for kept in json.loads(lock)["classes"].values()]
    assert len(texts) == 3
    text = host.file("/opt/gpufleet/envs/pytorch/current/gpufleet.lock").content_string
    assert text.strip() in [one.strip() for one in texts]
    locked = sorted(line.split(" ")[0] for line in text.splitlines() if "==" in line)
    code = "import importlib.metadata as m; print(*(x.metadata['Name'] + '==' + x.version for x in m.distributions()))"
    pairs = [pin.split("==") for pin in host.check_output("%s -c %s", PYTHON, code).split()]
    assert sorted(re.sub(r"[-_.]+", "-", name).lower() + "==" + version for name, version in pairs) == locked
    assert text.count("--hash=sha256:") >= len(locked)


def test_the_current_environment_is_a_relative_link_to_a_finished_one(host):
    link = host.file("/opt/gpufleet/envs/pytorch/current")
    assert link.is_symlink
    assert host.file(f"{link.linked_to}/.gpufleet.json").exists


def test_the_systems_own_python_was_left_alone(host):
    assert host.run("python3 -c 'import torch'").rc != 0
