# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which wheels and packages make a toolkit, and which toolkit a host is refused."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._cuda import toolkits_for
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all

GPUS = {
    "v100": ("Tesla V100 PCIe 32GB", "volta", "7.0", "1db6"),
    "a100": ("A100 80GB PCIe", "ampere_dc", "8.0", "20b5"),
    "rtx5090": ("GeForce RTX 5090", "blackwell", "12.0", "2b85"),
}
SYSTEMS = {
    "debian12": ("Debian", "12", "12.9", "Debian"),
    "debian13": ("Debian", "13", "13.2", "Debian"),
    "ubuntu24.04": ("Ubuntu", "24", "24.04", "Debian"),
    "el9": ("Rocky", "9", "9.6", "RedHat"),
}


def facts(*gpus, system="debian12", driver=None, root="/"):
    name, major, version, family = SYSTEMS[system]
    pci = [
        {
            "vendor": "nvidia",
            "kind": "gpu",
            "model": model,
            "architecture": architecture,
            "compute_capability": capability,
            "vendor_id": "10de",
            "device_id": device,
            "address": "0000:3b:00.0",
        }
        for model, architecture, capability, device in (GPUS[gpu] for gpu in gpus)
    ]
    return {
        "gpu": {"pci": pci, "kernel": {"driver_version": driver}, "root": root},
        "distribution": name,
        "distribution_major_version": major,
        "distribution_version": version,
        "os_family": family,
        "python": {"version": {"major": 3, "minor": 11}},
        "kernel": "6.1.0-37-amd64",
        "architecture": "x86_64",
    }


def made(wish, host, driver=""):
    return toolkits_for([wish], host, driver, load_all())


@pytest.mark.parametrize(
    ("wish", "host", "toolkit"),
    [
        (
            {"version": "12.9.2", "cudnn": "9.10.2.21", "nccl": "2.32.3"},
            facts("v100"),
            {
                "version": "12.9",
                "pins": ["cuda-toolkit[all]==12.9.2", "nvidia-cudnn-cu12==9.10.2.21", "nvidia-nccl-cu12==2.32.3"],
                "packages": [],
            },
        ),
        (
            {"version": "13.0", "components": ["nvcc", "cudart"]},
            facts("a100"),
            {"version": "13.0", "pins": ["cuda-toolkit[nvcc,cudart]==13.0.3"], "packages": ["g++"]},
        ),
        (
            {"version": "13.0", "components": ["nvcc"]},
            facts("a100", system="el9"),
            {"version": "13.0", "pins": ["cuda-toolkit[nvcc]==13.0.3"], "packages": ["gcc-c++"]},
        ),
        (
            {"version": "13.0", "components": ["nvrtc"]},
            facts("a100"),
            {"version": "13.0", "pins": ["cuda-toolkit[nvrtc]==13.0.3"], "packages": []},
        ),
        (
            {"version": "11.8", "source": "distribution"},
            facts("v100"),
            {
                "version": "11.8",
                "packages": ["nvidia-cuda-toolkit", "g++"],
                "prefix": "/usr/lib/cuda",
                "nvcc": "/usr/bin/nvcc",
            },
        ),
        (
            {"version": "12.9", "source": "nvidia", "cudnn": "9.10.2.21"},
            facts("v100", system="ubuntu24.04"),
            {
                "version": "12.9",
                "packages": [
                    "cuda-toolkit-12-9",
                    "libcudnn9-cuda-12=9.10.2.21-*",
                    "libcudnn9-dev-cuda-12=9.10.2.21-*",
                ],
                "prefix": "/usr/local/cuda-12.9",
            },
        ),
    ],
)
def test_what_makes_a_toolkit(wish, host, toolkit):
    assert made(wish, host)["toolkits"] == [toolkit]
    assert made(wish, host)["refused"] == []


@pytest.mark.parametrize(
    ("wish", "host", "driver", "words"),
    [
        ({"version": "13.0.3"}, facts("v100"), "", "CUDA 13.0.3 cannot compile for Tesla V100 PCIe 32GB, whose last"),
        ({"version": "13.0"}, facts("a100", "v100"), "", "cannot compile for Tesla V100 PCIe 32GB"),
        ({"version": "12.6"}, facts("rtx5090"), "", "cannot compile for GeForce RTX 5090, whose first is 12.8"),
        ({"version": "13.0"}, facts("a100"), "535.261.03", "needs driver 580.65.06, and 535.261.03 is the one"),
        ({"version": "12.9"}, facts("a100", driver="470.256.02"), "", "needs driver 525.60.13, and 470.256.02 is"),
        ({"version": "12.9", "cudnn": "9.28.0.42"}, facts("v100"), "", "cuDNN 9.28.0.42, which has no kernels for"),
        ({"version": "12.7"}, facts("a100"), "", "CUDA 12.7 is not known; there are 13.5, "),
        ({"version": "12"}, facts("a100"), "", "CUDA 12 is not known"),
        ({"version": "11.4"}, facts("a100"), "", "CUDA 11.4 has no wheels"),
        ({"version": "12.9", "source": "distribution"}, facts("a100"), "", "is not what debian12 brings; it has 11.8"),
        ({"version": "12.9", "source": "distribution"}, facts("a100", system="el9"), "", "el9 brings; it has none"),
        ({"version": "12.9", "source": "nvidia"}, facts("v100", system="debian13"), "", "not in NVIDIA's repository"),
        ({"version": "12.9", "source": "conda"}, facts("a100"), "", "the source 'conda'; there are pypi"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(wish, host, driver, words):
    answer = made(wish, host, driver)
    assert answer["toolkits"] == [] and len(answer["refused"]) == 1
    assert words in answer["refused"][0]


def test_a_driver_that_is_planned_counts_more_than_the_loaded_one():
    assert not made({"version": "13.0"}, facts("a100", driver="535.261.03"), "580.178.04")["refused"]


def test_a_kernel_can_be_run_where_a_driver_is_loaded_and_the_gpu_is_real():
    wish = {"version": "12.9"}
    assert made(wish, facts("a100", "v100", driver="580.178.04"))["architectures"] == ["7.0", "8.0"]
    assert made(wish, facts("a100", driver="580.178.04"))["runnable"]
    assert not made(wish, facts("a100"))["runnable"]
    assert not made(wish, facts("a100", driver="580.178.04", root="/emulation"))["runnable"]
    assert not made(wish, facts(driver="580.178.04"))["runnable"]


def test_the_repository_and_its_key_are_named_where_they_are_known():
    wish = {"version": "12.9"}
    debian = made(wish, facts("a100"))
    assert debian["repository"].endswith("/debian12/x86_64/") and len(debian["fingerprint"]) == 40
    assert debian["key"] == debian["repository"] + "3bf863cc.pub"
    other = made(wish, {**facts("a100"), "distribution": "Archlinux", "os_family": "Archlinux"})
    assert (other["repository"], other["key"], other["fingerprint"]) == ("", "", "")


def test_a_misspelt_word_is_named():
    with pytest.raises(ValueError, match="a toolkit has cuddn; there are version, source"):
        made({"version": "12.9", "cuddn": "9.10"}, facts("a100"))
    with pytest.raises(ValueError, match="no version"):
        made({"source": "pypi"}, facts("a100"))
