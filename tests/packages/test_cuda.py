# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA toolkits from packages on a host with apt: the packages are stand-ins, apt and update-alternatives are real."""

import json

import pytest
from conftest import REPOSITORIES, Refused, docker

URL = "file:/repositories/nvidia/debian12/x86_64"
ENSURE = """
import json, sys
from ansible_collections.gpufleet.workstation.plugins.module_utils import _cuda
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._cuda_packages import Repository
from ansible_collections.gpufleet.workstation.plugins.module_utils._environment import Wanted as Wheels
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused
given, check_mode = json.load(sys.stdin)
wheels = Wheels(name=".", root="/opt/gpufleet/cuda", python="python3", packages=[], timeout=120)
given["toolkits"] = [_cuda.Toolkit(**toolkit) for toolkit in given["toolkits"]]
given["repository"] = Repository(timeout=120, **given["repository"])
wanted = _cuda.Wanted(wheels=wheels, root=wheels.root, link="/usr/local/cuda",
                      profile="/etc/profile.d/gpufleet-cuda.sh", run=False, **given)
try:
    print(json.dumps(_cuda.ensure(Host(), wanted, check_mode)))
except (Failed, Refused) as failure:
    print(json.dumps({"failed": str(failure)}))
"""
DEBIAN = {
    "version": "11.8",
    "packages": ["nvidia-cuda-toolkit"],
    "prefix": "/usr/lib/cuda",
    "nvcc": "/usr/bin/nvcc",
}


def toolkit(version, *libraries):
    packages = [f"cuda-toolkit-{version.replace('.', '-')}", *libraries]
    return {"version": version, "packages": packages, "prefix": f"/usr/local/cuda-{version}"}


def cuda(machine, *toolkits, check_mode=False, repository=None, **wanted):
    """Do what the module cuda_toolkit does, and return its result."""
    keys = REPOSITORIES / "keys"
    fingerprint = (keys / "first.fingerprint").read_text().strip()
    own = {"url": URL, "key": (keys / "first.asc").read_text(), "fingerprint": fingerprint}
    default = toolkits[0]["version"] if toolkits else ""
    given = {
        "toolkits": toolkits,
        "default": default,
        "architectures": ["7.0"],
        "repository": repository or own,
        **wanted,
    }
    said = docker("exec", "-i", "-e", "PYTHONPATH=/root/python", machine.name, "python3", "-c", ENSURE,
                  input=json.dumps([given, check_mode]))  # fmt: skip
    result = json.loads(said)
    if "failed" in result:
        raise Refused(result["failed"])
    return result


def default(machine):
    return machine.sh("readlink -f /usr/local/cuda")


@pytest.fixture
def host(machine):
    """Return a host with CUDA 12.9 from the repository."""
    one = machine()
    cuda(one, toolkit("12.9"))
    return one


def test_the_first_run_installs_and_the_second_needs_no_network(machine):
    host = machine()
    foretold = cuda(host, toolkit("12.9"), check_mode=True)
    assert foretold["missing"] == ["cuda-toolkit-12-9"] and host.installed() == set()
    first = cuda(host, toolkit("12.9"))
    assert first["toolkits"][0]["release"] == "12.9.86" and first["toolkits"][0]["architectures"] == ["7.0"]
    assert default(host) == "/usr/local/cuda-12.9"
    assert "/usr/local/cuda/bin" in host.sh("bash -lc 'echo $PATH'")
    host.sh("rm -rf /var/lib/apt/lists")
    second = cuda(host, toolkit("12.9"))
    assert (second["changed"], second["reason"]) == (False, "")
    assert cuda(host, toolkit("12.9"), check_mode=True)["changed"] is False
    host.assert_healthy()


def test_a_newer_toolkit_that_comes_later_does_not_become_the_default_by_itself(host):
    result = cuda(host, toolkit("12.8"), toolkit("12.9"))
    assert default(host) == "/usr/local/cuda-12.8" and result["default"] == "12.8"
    host.sh("update-alternatives --auto cuda")
    assert default(host) == "/usr/local/cuda-12.9"
    assert cuda(host, toolkit("12.8"), toolkit("12.9"))["changed"]
    assert default(host) == "/usr/local/cuda-12.8"


def test_going_back_needs_no_network(host):
    cuda(host, toolkit("12.8"), toolkit("12.9"))
    host.sh("rm -rf /var/lib/apt/lists /etc/apt/sources.list.d")
    assert cuda(host, state="previous")["default"] == "12.9"
    assert default(host) == "/usr/local/cuda-12.9"
    assert cuda(host, state="previous")["default"] == "12.8"


def test_a_toolkit_that_does_not_know_the_gpu_is_not_taken_into_use(host):
    with pytest.raises(Refused, match=r"CUDA 13.0.88 does not compile for sm_70"):
        cuda(host, toolkit("13.0"), toolkit("12.9"))
    assert default(host) == "/usr/local/cuda-12.9"
    assert cuda(host, toolkit("12.9"))["changed"] is False


def test_the_planned_cudnn_and_nccl_come_and_not_the_newest(host):
    names = ["libcudnn9-cuda-12=9.10.2.21-*", "libcudnn9-dev-cuda-12=9.10.2.21-*", "libnccl2=2.32.3-*+cuda12.*"]
    cuda(host, toolkit("12.9", *names))
    form = "dpkg-query -W -f '${Version}\\n' libcudnn9-cuda-12 libcudnn9-dev-cuda-12 libnccl2"
    assert host.sh(form).split() == ["9.10.2.21-1", "9.10.2.21-1", "2.32.3-1+cuda12.9"]
    assert cuda(host, toolkit("12.9", *names))["changed"] is False
    host.sh("apt-get -qq -y install libnccl2=2.27.3-1+cuda12.9 --allow-downgrades")
    assert cuda(host, toolkit("12.9", *names))["reason"].startswith("packages are missing: libnccl2=2.32.3-*")


def test_another_key_than_the_one_named_is_not_trusted_and_nothing_is_left(machine):
    host, keys = machine(), REPOSITORIES / "keys"
    key, fingerprint = (keys / "second.asc").read_text(), (keys / "first.fingerprint").read_text().strip()
    with pytest.raises(Refused, match="do not trust it"):
        cuda(host, toolkit("12.9"), repository={"url": URL, "key": key, "fingerprint": fingerprint})
    wrong = {"url": URL, "key": key, "fingerprint": (keys / "second.fingerprint").read_text().strip()}
    with pytest.raises(Refused, match="lists cannot be refreshed"):
        cuda(host, toolkit("12.9"), repository=wrong)
    assert "gpufleet" not in host.sh("ls /etc/apt/sources.list.d /etc/apt/preferences.d /usr/share/keyrings")
    assert host.installed() == set()
    assert cuda(host, toolkit("12.9"))["changed"]


def test_a_repository_that_another_file_names_is_used_as_it_is(machine):
    host = machine()
    host.write("/etc/apt/sources.list.d/theirs.list", f"deb [signed-by=/repositories/keys/first.asc] {URL} /\n")
    assert cuda(host, toolkit("12.9"))["changed"]
    assert "gpufleet" not in host.sh("ls /etc/apt/sources.list.d")
    host.assert_healthy()


def test_the_repository_gives_an_upgrade_of_the_host_nothing(host):
    host.sh("apt-get -qq -y install libnccl2=2.27.3-1+cuda12.9")
    assert "Inst" not in host.sh("apt-get --simulate dist-upgrade")


def test_debians_own_toolkit_brings_its_component(machine):
    host = machine()
    result = cuda(host, DEBIAN, repository={"non_free": True})
    assert result["toolkits"][0]["release"] == "11.8.89" and default(host) == "/usr/lib/cuda"
    assert "non-free" in host.sh("cat /etc/apt/sources.list.d/gpufleet-cuda.sources")
    assert cuda(host, DEBIAN, repository={"non_free": True})["changed"] is False
    host.assert_healthy()


def test_a_package_that_fails_leaves_the_host_as_it_was(host):
    host.write("/etc/gpufleet-fail-cuda", "")
    before = host.installed()
    with pytest.raises(Refused, match=r"could not be installed: .*; all is as before"):
        cuda(host, toolkit("12.8"))
    assert host.installed() == before and default(host) == "/usr/local/cuda-12.9"
    host.assert_healthy()


def test_what_nobody_offers_is_said(host):
    with pytest.raises(Refused, match="no package source of this host has cuda-toolkit-12-6"):
        cuda(host, toolkit("12.6"))
    host.assert_healthy()
