# -*- coding: utf-8 -*-
"""The verdict of the training check: for every way to fail an invented measurement, and the sentence that names it."""

import copy
import json
import math
import os
import re

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _training_judge as judge
from ansible_collections.gpufleet.workstation.plugins.module_utils._training_findings import FAIL, KINDS

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures", "training")
V100 = {
    "key": "v100_sxm2_32",
    "names": ["Tesla V100-SXM2-32GB"],
    "matmul_tflops": {"fp32": 15.7, "tf32": None, "fp16": 125},
    "memory_gb_per_second": 900,
    "all_reduce_gb_per_second": 150,
    "images_per_second": {"pytorch": 100000, "tensorflow": None},
    "least": {"matmul": 0.5, "memory": 0.6, "all_reduce": 0.3, "training": 0.7},
}
WANTED = {
    "python": "/env/bin/python",
    "device": "auto",
    "expected": 3,
    "framework": "pytorch",
    "epochs": 10,
    "gpus": [
        {"address": f"0000:{bus}:00.0", "model_key": "v100_sxm2_32", "model": "Tesla V100", "compute_capability": "7.0"}
        for bus in ("3b", "86", "d8")
    ],
    "figures": [V100],
    "minimum_accuracy": None,
    "curve_tolerance": 0.01,
    "limit": 600,
}


def gpu(index):
    return {
        "kind": "gpu",
        "id": f"GPU-{index}",
        "index": index,
        "name": "Tesla V100-SXM2-32GB",
        "parent": f"GPU-{index}",
        "label": f"GPU {index}",
        "pci_address": WANTED["gpus"][index]["address"],
        "mig_mode": False,
    }


def outcome(result, **changes):
    told = {"phase": "done", "error": None, "hung": False, "limit": 60.0, "rc": 0, "signal": None, "said": ""}
    return dict(told, result=result, **changes)


PROBE = {
    "environment": outcome(
        {
            "python": "3.11.2",
            "visible": None,
            "numpy": "2.4.6",
            "numpy_error": None,
            "framework": "2.10.0",
            "framework_error": None,
            "cuda": "12.8",
            "cudnn": "91002",
            "round_trip": "",
            "architectures": ["sm_70", "sm_80", "compute_90"],
            "gpus": [{"index": n, "name": "Tesla V100-SXM2-32GB", "capability": "7.0"} for n in range(3)],
            "gpus_error": None,
        }
    ),
    "devices": [gpu(0), gpu(1), gpu(2)],
    "smi_error": None,
}


def trained():
    return {
        "trained_on": "cuda",
        "name": "Tesla V100-SXM2-32GB",
        "capability": "7.0",
        "memory_bytes": 34359738368,
        "multiprocessors": 80,
        "plain": {
            "loss_per_epoch": [1.5, 0.9, 0.6],
            "accuracy": 0.97,
            "images_per_second": 9000.0,
            "seconds": 3.0,
            "parameters": 545098,
        },
        "fast": {
            "loss_per_epoch": [1.6, 0.9, 0.6],
            "accuracy": 0.968,
            "images_per_second": 120000.0,
            "seconds": 0.5,
            "precision": "fp16",
            "graph": True,
            "batch_size": 64,
        },
        "fast_error": None,
        "rates": {"matmul_tflops": {"fp32": 14.0, "tf32": None, "fp16": 100.0}, "memory_gb_per_second": 800.0},
    }


CLOCKS = {
    "samples": 10,
    "error": None,
    "reasons": [],
    "shares": {},
    "sm_mhz": 1500.0,
    "power_watts": 200.0,
    "power_limit_watts": 300.0,
    "power_default_limit_watts": 300.0,
    "temperature_celsius": 60.0,
}
RANK = {
    "trained_on": "cuda",
    "loss_per_epoch": [1.6, 0.9],
    "accuracy": 0.96,
    "images_per_second": 300000.0,
    "seconds": 1.0,
    "backend": "nccl",
    "sum_right": True,
    "all_reduce_gb_per_second": 120.0,
    "network_sha256": "ab",
}
RUN = {
    "framework": "pytorch",
    "data": outcome(
        {
            "code": None,
            "data": {
                "name": "digits",
                "words": "digits",
                "substitute_for": None,
                "train_images": 1438,
                "test_images": 359,
            },
        }
    ),
    "devices": [
        {"device": gpu(n), "outcome": outcome(trained()), "clocks": dict(CLOCKS), "others": []} for n in range(3)
    ],
    "together": {"count": 3, "outcomes": [outcome(dict(RANK)) for _rank in range(3)], "skipped": None},
}


def changed(structure, *changes):
    """Return a copy with values replaced: each change is a path and a value."""
    new = copy.deepcopy(structure)
    for path, value in changes:
        place = new
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = copy.deepcopy(value)
    return new


def codes(found):
    return [one["code"] for one in found]


def test_a_healthy_host_passes_without_a_word():
    assert judge.judge_probe("pytorch", PROBE, WANTED) == []
    assert judge.judge_run(RUN, WANTED) == []
    assert judge.verdict([]) == ("passed", "")


ENV = ("environment",)
TOLD = ("environment", "result")
MIG = dict(gpu(0), kind="mig", id="MIG-1", label="GPU 0 MIG 0")
PROBES = [
    (
        "environment.hung",
        [((*ENV, "hung"), True), ((*ENV, "phase"), "listing the GPUs")],
        "stopped while listing the",
    ),
    ("environment.killed", [((*ENV, "signal"), "SIGILL")], "was ended by SIGILL while it imported pytorch"),
    ("environment.broken", [((*ENV, "rc"), 2), ((*ENV, "said"), "a\nb: bad magic")], "does not start: b: bad magic"),
    ("numpy.missing", [((*TOLD, "numpy_error"), "ModuleNotFoundError: No module named 'numpy'")], "has no NumPy"),
    ("framework.broken", [((*TOLD, "numpy_error"), "ImportError: libopenblas")], "cannot be imported: NumPy: Import"),
    (
        "framework.missing",
        [((*TOLD, "framework_error"), "ModuleNotFoundError: No module named 'torch'")],
        "no pytorch",
    ),
    (
        "framework.library_missing",
        [((*TOLD, "framework_error"), "ImportError: libcudart.so.12: cannot open shared object file: No such file")],
        "the library libcudart.so.12 is missing",
    ),
    (
        "framework.glibc",
        [((*TOLD, "framework_error"), "ImportError: /lib/libc.so.6: version `GLIBC_2.34' not found (required by x)")],
        "wants GLIBC_2.34",
    ),
    ("framework.broken", [((*TOLD, "framework_error"), "SyntaxError: invalid syntax")], "SyntaxError: invalid"),
    (
        "numpy.abi",
        [((*TOLD, "framework_error"), "ImportError: numpy.core.multiarray failed to import")],
        "was built for another NumPy than the installed 2.4.6",
    ),
    (
        "numpy.abi",
        [((*TOLD, "round_trip"), "RuntimeError: Numpy is not available")],
        "pytorch 2.10.0 was built for another NumPy than the installed 2.4.6",
    ),
    ("numpy.round_trip", [((*TOLD, "round_trip"), "other numbers")], "came out changed: other numbers"),
    ("numpy.round_trip", [((*TOLD, "round_trip"), None)], "it was not tried"),
    ("gpu.cpu_only", [((*TOLD, "gpus"), []), ((*TOLD, "cuda"), None)], "build without CUDA, and this host has 3"),
    (
        "gpu.driver_missing",
        [((*TOLD, "gpus"), []), (("devices",), []), (("smi_error",), "there is no nvidia-smi")],
        "no NVIDIA driver answers: there is no nvidia-smi",
    ),
    (
        "gpu.driver_old",
        [((*TOLD, "gpus"), []), ((*TOLD, "gpus_error"), "The NVIDIA driver on your system is too old (found 450)")],
        "older than pytorch 2.10.0 (CUDA 12.8) needs",
    ),
    (
        "gpu.libraries",
        [((*TOLD, "gpus"), []), ((*ENV, "said"), "W dso_loader: Could not load dynamic library 'libcudnn.so.8'; x")],
        "could not load libcudnn.so.8 and sees 0 of 3",
    ),
    ("gpu.hidden", [((*TOLD, "gpus"), []), ((*TOLD, "visible"), "")], "CUDA_VISIBLE_DEVICES is ''"),
    (
        "gpu.too_few",
        [((*TOLD, "gpus"), PROBE["environment"]["result"]["gpus"][:2]), (("devices",), [gpu(0), gpu(2)])],
        "sees 2 of 3 GPU(s); nvidia-smi does not list 0000:86:00.0",
    ),
    (
        "gpu.too_few",
        [((*TOLD, "gpus"), []), ((*TOLD, "gpus_error"), "RuntimeError: CUDA unknown error")],
        "sees 0 of 3 GPU(s): RuntimeError: CUDA unknown error",
    ),
    (
        "gpu.fabric",
        [((*TOLD, "gpus"), []), ((*TOLD, "gpus_error"), "RuntimeError: Error 802: system not yet initialized")],
        "sees 0 of 3 GPU(s), because their NVSwitches are not set up: RuntimeError: Error 802",
    ),
    (
        "gpu.fabric",
        [((*TOLD, "gpus"), []), ((*ENV, "said"), "x\nfailed call to cuInit: CUDA_ERROR_SYSTEM_NOT_READY: y\nz")],
        "not set up: failed call to cuInit: CUDA_ERROR_SYSTEM_NOT_READY: y",
    ),
    ("gpu.too_few", [((*TOLD, "gpus"), PROBE["environment"]["result"]["gpus"][:2])], "sees 2 of 3 GPU(s)"),
    ("gpu.no_kernels", [((*TOLD, "architectures"), ["sm_75", "sm_80"])], "built for sm_75 sm_80"),
    ("gpu.through_ptx", [((*TOLD, "architectures"), ["compute_60", "sm_80"])], "only PTX"),
    (
        "gpu.mig_empty",
        [(("devices",), [dict(gpu(0), mig_mode=True), gpu(1), gpu(2)])],
        "in MIG mode and has no MIG device",
    ),
]


@pytest.mark.parametrize(("code", "changes", "words"), PROBES)
def test_an_environment_or_a_device_that_cannot_train_is_named_before_training(code, changes, words):
    found = judge.judge_probe("pytorch", changed(PROBE, *changes), WANTED)
    assert codes(found) == [code]
    assert words in found[0]["sentence"]


@pytest.mark.parametrize(
    ("name", "framework", "code", "words"),
    [
        (
            "torch-1.13.1-numpy-2.0.2",
            "pytorch",
            "numpy.abi",
            "pytorch 1.13.1+cu117 was built for another NumPy than the",
        ),
        ("torch-2.10.0-without-cudnn", "pytorch", "framework.library_missing", "the library libcudnn.so.9 is missing"),
        ("tensorflow-2.4.4-protobuf-5", "tensorflow", "framework.broken", "TypeError: Descriptors cannot be created"),
    ],
)
def test_what_real_environments_said_is_named(name, framework, code, words):
    """Recorded: the probe in environments of real wheels, on a machine without a GPU."""
    with open(os.path.join(FIXTURES, name + ".probe.json"), encoding="utf-8") as file:
        probe = json.load(file)
    (found,) = judge.judge_probe(framework, probe, dict(WANTED, expected=0, gpus=[], device="cpu"))
    assert (found["code"], words in found["sentence"]) == (code, True), found["sentence"]


def test_fewer_gpus_than_expected_are_no_matter_where_the_cpu_was_chosen():
    blind = changed(PROBE, ((*TOLD, "gpus"), []), ((*TOLD, "cuda"), None))
    assert judge.judge_probe("pytorch", blind, dict(WANTED, device="cpu")) == []


def test_a_gpu_that_is_insisted_on_is_missed_also_where_no_facts_expect_one():
    blind = changed(PROBE, ((*TOLD, "gpus"), []), ((*TOLD, "cuda"), None), (("devices",), []))
    wanted = dict(WANTED, device="gpu", expected=0, gpus=[])
    assert codes(judge.judge_probe("pytorch", blind, wanted)) == ["gpu.cpu_only"]


def test_one_mig_device_that_cuda_shows_is_enough_where_nvidia_smi_lists_them_all():
    devices = [MIG, dict(MIG, id="MIG-2"), dict(MIG, id="MIG-3", index=1)]
    seen = changed(PROBE, (("devices",), devices), ((*TOLD, "gpus"), PROBE["environment"]["result"]["gpus"][:1]))
    assert judge.judge_probe("pytorch", seen, dict(WANTED, expected=2)) == []
    blind = changed(seen, ((*TOLD, "gpus"), []))
    assert codes(judge.judge_probe("pytorch", blind, dict(WANTED, expected=2))) == ["gpu.too_few"]


def test_more_gpus_than_expected_are_told_and_no_failure():
    (found,) = judge.judge_probe("pytorch", PROBE, dict(WANTED, expected=2))
    assert (found["code"], found["severity"]) == ("gpu.more", "info")


@pytest.mark.parametrize(
    ("built", "capability", "way"),
    [
        (["sm_70", "sm_80"], "7.0", "sm"),
        (["sm_75", "sm_80"], "7.0", "none"),
        (["sm_80"], "8.6", "sm"),
        (["sm_86"], "8.0", "none"),
        (["sm_90"], "8.0", "none"),
        (["compute_70"], "8.0", "ptx"),
        (["compute_90"], "8.0", "none"),
        (["sm_90a"], "9.0", "sm"),
        (["sm_90a"], "10.0", "none"),
        (["sm_120"], "12.0", "sm"),
        (["sm_100"], "12.0", "none"),
        (["sm_100"], "10.3", "sm"),
        ([], "7.0", None),
        (["sm_70"], None, None),
        (["sm_70"], "seven", None),
    ],
)
def test_which_build_runs_on_which_device(built, capability, way):
    assert judge.kernels(built, capability) == way


def device(index, *path):
    return ("devices", index, *path)


RESULT = ("outcome", "result")
PLAIN = ("outcome", "result", "plain")
MIGS = [
    {"device": dict(MIG, id=f"MIG-{n}"), "outcome": outcome(trained()), "clocks": CLOCKS, "others": []} for n in (1, 2)
]
DATA = ("data", "result")
RUNS = [
    ("data.unreachable", [(DATA, {"code": "data.unreachable", "sentence": "/x is not there"})], "/x is not there"),
    ("data.wrong", [(DATA, {"code": "data.wrong", "sentence": "its md5 is 1, expected 2"})], "its md5 is 1"),
    ("data.cut", [(DATA, {"code": "data.cut", "sentence": "was cut off after 7 of 9 bytes"})], "cut off"),
    ("data.layout", [(DATA, {"code": "data.layout", "sentence": "does not have the layout"})], "layout"),
    ("data.poisoned", [(DATA, {"code": "data.poisoned", "sentence": "holds os.system"})], "os.system"),
    ("data.no_client", [(DATA, {"code": "data.no_client", "sentence": "no command hdfs"})], "no command hdfs"),
    ("data.broken", [(DATA, {}), (("data", "error"), "OSError: No space left on device")], "No space left"),
    ("data.broken", [(DATA, {}), (("data", "hung"), True)], "it took longer than 60 s"),
    ("data.substitute", [((*DATA, "data", "substitute_for"), "cifar10")], "trained on digits"),
    ("check.broken", [(("devices",), []), (("together",), None)], "no device trained"),
    ("check.out_of_time", [(device(2, "outcome"), None)], "over before GPU 2 had its turn"),
    ("device.wrong", [(device(1, *RESULT, "trained_on"), "cpu")], "GPU 1 was to train and cpu did"),
    (
        "training.hung",
        [(device(1, "outcome"), outcome({}, hung=True, rc=None, phase="in epoch 2 of the plain loop"))],
        "GPU 1 was given up after 60 s while it was in epoch 2",
    ),
    ("training.killed", [(device(0, "outcome"), outcome({}, signal="SIGSEGV", rc=-11, phase="x"))], "by SIGSEGV"),
    (
        "training.killed",
        [
            (
                device(0, "outcome"),
                outcome({}, signal="SIGABRT", rc=-6, phase="x", said="E cuBLAS\nF Check failed: n\nat 0x1"),
            )
        ],
        "by SIGABRT while it was x: F Check failed: n$",
    ),
    (
        "training.killed",
        [(device(0, "outcome"), outcome({}, signal="SIGKILL", rc=-9, phase="x", said="E cuBLAS: CUDA error"))],
        "by SIGKILL while it was x$",
    ),
    (
        "training.ecc",
        [
            (
                device(0, "outcome"),
                outcome(
                    {},
                    signal="SIGABRT",
                    rc=-6,
                    phase="x",
                    said="F Attempting to fetch value instead of handling error Internal: failed call to "
                    "cuDevicePrimaryCtxRetain: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error\n*** stack ***",
                ),
            )
        ],
        "reported an uncorrectable memory error: F Attempting",
    ),
    (
        "training.ecc",
        [(device(0, *RESULT, "fast_error"), "RuntimeError: CUDA error: uncorrectable ECC error encountered")],
        "GPU 0 reported an uncorrectable memory error",
    ),
    (
        "training.fault",
        [(device(0, *RESULT, "fast_error"), "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")],
        "GPU 0 failed while it was in the fast loop",
    ),
    (
        "training.busy",
        [(device(0, "outcome"), outcome({}, error="CUDA error: CUDA-capable device(s) is/are busy or unavailable"))],
        "GPU 0 could not be used while it was done: CUDA error",
    ),
    (
        "training.memory",
        [(device(0, "outcome"), outcome({}, error="CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"))],
        "ran out of memory while",
    ),
    (
        "training.memory",
        [(device(0, "outcome"), outcome({}, error="OutOfMemoryError: CUDA out of memory. Tried", phase="x"))],
        "ran out of memory while it was x",
    ),
    (
        "training.ecc",
        [(device(0, "outcome"), outcome({}, error="RuntimeError: CUDA error: uncorrectable ECC error", phase="x"))],
        "GPU 0 reported an uncorrectable memory error",
    ),
    (
        "training.fault",
        [(device(0, "outcome"), outcome({}, error="RuntimeError: CUDA error: an illegal memory access", phase="x"))],
        "GPU 0 failed while it was x: RuntimeError: CUDA error",
    ),
    ("training.broken", [(device(0, "outcome"), outcome({}, error="KeyError: 'x'", phase="x"))], "KeyError: 'x'"),
    ("training.broken", [(device(0, "outcome"), outcome({}, rc=3, said="what\nthe end"))], "broke off .*: the end"),
    ("training.incomplete", [(device(0, *PLAIN, "images_per_second"), None)], "lacks images_per_second"),
    ("training.incomplete", [(device(0, *RESULT, "trained_on"), None)], "lacks the device that trained"),
    ("training.incomplete", [(device(0, *PLAIN, "accuracy"), 97)], "an accuracy \\(it says 97\\)"),
    ("training.inaccurate", [(device(0, *PLAIN, "accuracy"), 0.5), (device(0, *RESULT, "fast"), None)], "0.500 on dig"),
    (
        "training.not_falling",
        [(device(n, *PLAIN, "loss_per_epoch"), [2.3, 2.31, 2.3]) for n in range(3)],
        "from 2.300 to 2.300",
    ),
    (
        "training.fast_inaccurate",
        [(device(0, *RESULT, "fast", "accuracy"), 0.90)],
        "reached 0.900, the plain loop 0.97",
    ),
    ("training.not_finite", [(device(0, *RESULT, "fast", "loss_per_epoch"), [math.nan])], "the fast loop"),
    (
        "training.fast_failed",
        [(device(0, *RESULT, "fast_error"), "RuntimeError: capture")],
        "fast mode failed on GPU 0",
    ),
    (
        "training.fast_failed",
        [(device(0, *RESULT, "fast_error"), "CUDA error: operation not permitted when stream is capturing")],
        "fast mode failed on GPU 0",
    ),
    ("training.fast_failed", [(device(0, *RESULT, "fast_error"), "CUDA out of memory. Tried")], "failed on GPU 0"),
    (
        "twins.differ",
        [(device(1, *PLAIN, "loss_per_epoch"), [1.5, 0.93, 0.61])],
        "GPU 1 has another loss curve than its 2 twin\\(s\\) of the same seed: 3.33% apart, 1.00% is",
    ),
    (
        "twins.not_compared",
        [
            *((device(n, *PLAIN, "deterministic"), False) for n in range(3)),
            (device(1, *PLAIN, "loss_per_epoch"), [1.5, 0.93, 0.61]),
        ],
        "of GPU 0 and GPU 1 and GPU 2 were not compared: this pytorch has no deterministic",
    ),
    ("twins.rounding", [(device(2, *PLAIN, "loss_per_epoch"), [1.5, 0.9001, 0.6])], "GPU 2 has not to the last digit"),
    (
        "speed.straggler",
        [
            (device(2, *RESULT, "fast", "images_per_second"), 80000.0),
            (device(2, "clocks", "shares"), {"sw_power_cap": 0.9}),
        ],
        "GPU 2 trains 80000 images/s, 67% of the median 120000 .* \\(sw_power_cap in 90% of the samples\\)",
    ),
    (
        "speed.matmul",
        [(device(0, *RESULT, "rates", "matmul_tflops", "fp16"), 55.0)],
        "55.0 TFLOP/s in fp16, 44% of 125",
    ),
    ("speed.memory", [(device(0, *RESULT, "rates", "memory_gb_per_second"), 400.0)], "gives 400 GB/s, 44% of 900"),
    (
        "speed.training",
        [
            ((*DATA, "data", "name"), "cifar10"),
            *((device(n, *RESULT, "fast", "images_per_second"), 60000.0) for n in range(3)),
        ],
        "trains 60000 images/s, 60% of the 100000 known for v100_sxm2_32",
    ),
    (
        "speed.all_reduce",
        [(("together", "outcomes", 0, "result", "all_reduce_gb_per_second"), 11.0)],
        "at 11.0 GB/s, 7%",
    ),
    (
        "speed.shared",
        [(device(0, *RESULT, "rates", "matmul_tflops", "fp16"), 55.0), (device(0, "others"), [4711, 4712])],
        "44% of 125; 50% is the least for v100_sxm2_32, but others computed there at the time \\(process 4711, 4712\\)",
    ),
    (
        "speed.shared",
        [(device(2, *RESULT, "fast", "images_per_second"), 80000.0), (device(2, "others"), [7])],
        "GPU 2 trains 80000 images/s, .* of its twins, but others",
    ),
    (
        "speed.shared",
        [(("together", "outcomes", 0, "result", "all_reduce_gb_per_second"), 11.0), (device(1, "others"), [7])],
        "all-reduce over 3 GPUs runs at 11.0 GB/s, .* but others",
    ),
    ("clocks.power_limit", [(device(0, "clocks", "power_limit_watts"), 150.0)], "is 150 W, 300 W is its default"),
    (
        "clocks.thermal",
        [
            (device(0, "clocks", "reasons"), ["hw_slowdown", "hw_thermal_slowdown"]),
            (device(0, "clocks", "shares"), {"hw_slowdown": 0.5, "hw_thermal_slowdown": 0.5}),
        ],
        "because of heat .*hw_thermal_slowdown, in 50% of the samples, 60 degrees",
    ),
    (
        "clocks.hardware",
        [
            (device(0, "clocks", "reasons"), ["hw_power_brake_slowdown"]),
            (device(0, "clocks", "shares"), {"hw_power_brake_slowdown": 0.2}),
        ],
        "hw_power_brake_slowdown, in 20%",
    ),
    ("clocks.unknown", [(device(0, "clocks", "samples"), 0), (device(0, "clocks", "error"), "no answer")], "no answer"),
    (
        "together.hung",
        [(("together", "outcomes", 1), outcome({}, hung=True, rc=None, phase="adding up across the devices"))],
        "3 devices together were given up after 60 s while they were adding up",
    ),
    (
        "together.failed",
        [
            (("together", "outcomes", 0), outcome({}, signal="SIGKILL", rc=-9, phase="joining")),
            (
                ("together", "outcomes", 1),
                outcome({}, error="DistBackendError: NCCL error: unhandled", phase="joining"),
            ),
        ],
        "failed while they were joining: DistBackendError: NCCL error",
    ),
    (
        "together.failed",
        [(("together", "outcomes", 1), outcome({}, signal="SIGABRT", rc=-6, phase="adding", said="a\n what():  NCCL"))],
        "while they were adding: ended by SIGABRT: what\\(\\): NCCL",
    ),
    ("together.wrong_sum", [(("together", "outcomes", 1, "result", "sum_right"), False)], "wrong sum on rank 1"),
    ("together.ranks_differ", [(("together", "outcomes", 2, "result", "network_sha256"), "cd")], "networks: rank 2"),
    ("together.inaccurate", [(("together", "outcomes", 0, "result", "accuracy"), 0.2)], "an accuracy of 0.200"),
    ("together.not_finite", [(("together", "outcomes", 0, "result", "loss_per_epoch"), [math.inf])], "together is inf"),
    ("training.incomplete", [(("together", "outcomes", 0, "result"), {})], "all devices together lacks losses"),
    ("together.skipped", [(("together", "skipped"), "the time was over")], "not tried together: the time was over"),
    ("together.mig", [(("devices",), MIGS), (("together",), None)], "MIG devices do not train together"),
]


@pytest.mark.parametrize(("code", "changes", "words"), RUNS)
def test_what_went_wrong_in_training_is_named(code, changes, words):
    found = judge.judge_run(changed(RUN, *changes), WANTED)
    assert set(codes(found)) == {code}
    assert re.search(words, found[0]["sentence"]), found[0]["sentence"]


@pytest.mark.parametrize("loss", [math.nan, math.inf, None, "0.1", True])
def test_a_loss_that_is_no_number_is_named_with_its_epoch_and_makes_no_twin_suspect(loss):
    found = judge.judge_run(changed(RUN, (device(1, *PLAIN, "loss_per_epoch"), [1.5, loss, 0.6])), WANTED)
    assert codes(found) == ["training.not_finite", "twins.differ"]
    assert {one["device"] for one in found} == {"GPU 1"}
    assert "the loss of epoch 2 on GPU 1" in found[0]["sentence"]


def test_of_two_twins_both_are_named():
    pair = changed(RUN, (("devices",), RUN["devices"][:2]), (("together",), None))
    apart = changed(pair, (device(1, *PLAIN, "loss_per_epoch"), [1.5, 1.2, 0.6]))
    (found,) = judge.judge_run(apart, WANTED)
    assert found["code"] == "twins.disagree"
    assert "GPU 0 and GPU 1 are twins" in found["sentence"]
    close = changed(pair, (device(1, *PLAIN, "loss_per_epoch"), [1.5, 0.9002, 0.6]))
    assert codes(judge.judge_run(close, WANTED)) == ["twins.rounding"]


def test_a_late_loss_near_zero_is_not_compared_as_a_share_of_itself():
    assert judge.curve_distance([2.0, 0.0011], [2.0, 0.001]) == pytest.approx(0.005)
    assert judge.curve_distance([2.0], [2.0, 1.0]) == math.inf


def test_that_others_compute_on_one_gpu_excuses_no_other_gpu_and_no_wrong_result():
    slow = changed(RUN, (device(0, *RESULT, "rates", "memory_gb_per_second"), 400.0), (device(1, "others"), [7]))
    assert codes(judge.judge_run(slow, WANTED)) == ["speed.memory"]
    wrong = changed(RUN, (device(1, *PLAIN, "accuracy"), 0.5), (device(1, "others"), [7]))
    assert judge.verdict(judge.judge_run(wrong, WANTED))[0] == "failed"


def test_images_per_second_of_the_digits_are_not_compared_with_those_of_cifar10():
    slow = changed(RUN, *((device(n, *RESULT, "fast", "images_per_second"), 60000.0) for n in range(3)))
    assert judge.judge_run(slow, WANTED) == []


def test_unlike_gpus_are_no_twins():
    mixed = changed(
        RUN,
        (device(1, *RESULT, "name"), "NVIDIA A100-PCIE-40GB"),
        (device(1, *PLAIN, "loss_per_epoch"), [1.5, 1.2, 0.6]),
        (device(1, *RESULT, "fast", "images_per_second"), 900000.0),
    )
    assert judge.judge_run(mixed, WANTED) == []


def test_a_model_without_figures_is_told_of():
    found = judge.judge_run(RUN, dict(WANTED, figures=[]))
    assert set(codes(found)) == {"speed.unknown"}
    assert judge.verdict(found)[0] == "passed"


def test_the_row_is_found_by_the_name_where_the_facts_know_no_address():
    assert judge.judge_run(RUN, dict(WANTED, gpus=[])) == []


def test_a_mig_device_is_not_measured_against_the_whole_card():
    slow = changed(RUN, (("devices",), MIGS), (("together",), None))
    for entry in slow["devices"]:
        entry["outcome"]["result"]["rates"]["memory_gb_per_second"] = 100.0
    assert codes(judge.judge_run(slow, WANTED)) == ["together.mig"]


@pytest.mark.parametrize("asked", ["auto", "gpu"])
def test_training_on_the_cpu_never_passes_where_a_gpu_was_expected(asked):
    entry = {
        "device": dict(gpu(0), kind="cpu", label="the CPU"),
        "outcome": outcome(trained()),
        "clocks": CLOCKS,
        "others": [],
    }
    entry["outcome"]["result"]["trained_on"] = "cpu"
    found = judge.judge_run(changed(RUN, (("devices",), [entry]), (("together",), None)), dict(WANTED, device=asked))
    assert codes(found) == ["device.wrong"]
    assert "a GPU was to train and cpu did" in found[0]["sentence"]
    assert judge.verdict(found)[0] == "failed"


@pytest.mark.parametrize("name", judge.NEEDED)
def test_a_result_that_lacks_something_never_passes(name):
    for value in (None, []):
        found = judge.judge_run(changed(RUN, (device(0, *PLAIN, name), value)), WANTED)
        assert judge.verdict(found)[0] == "failed"
        assert "training.incomplete" in codes(found)


def test_a_point_and_the_chance_of_the_test_images_are_allowed_in_fast_mode():
    assert judge.allowance(0.97, 359) == pytest.approx(0.01 + 2 * math.sqrt(2 * 0.97 * 0.03 / 359))
    assert judge.allowance(0.7, 10000) == pytest.approx(0.01 + 0.01296, abs=1e-4)
    assert judge.allowance(1.0, 359) == 0.01


def test_a_failure_says_what_is_wrong_and_what_to_do():
    found = judge.judge_run(changed(RUN, (device(0, *PLAIN, "accuracy"), 0.5)), WANTED)
    result, reason = judge.verdict(found)
    assert result == "failed"
    assert "GPU 0 reached an accuracy of 0.500 on digits, 0.90 is the least: if other hosts reach it" in reason


def test_every_kind_of_finding_is_provoked_by_a_test_and_the_advice_has_no_gap():
    tried = {code for code, _changes, _words in PROBES + RUNS}
    assert set(KINDS) - tried <= {"environment.missing", "gpu.more", "twins.disagree", "speed.unknown"}
    for kind in KINDS.values():
        assert kind.advice and kind.severity in ("fail", "warn", "info")
    assert sum(kind.severity == FAIL for kind in KINDS.values()) >= 40


@pytest.mark.parametrize(
    ("dataset", "epochs", "together", "asked", "least"),
    [
        ("cifar10", 10, False, None, 0.65),
        ("cifar10", 9, False, None, 0.5),
        ("cifar10", 10, True, None, 0.5),
        ("cifar10", 10, False, 0.7, 0.7),
        ("digits", 1, False, None, 0.9),
    ],
)
def test_what_a_device_has_to_reach_depends_on_what_it_is_given(dataset, epochs, together, asked, least):
    assert judge.least_accuracy(dataset, {"epochs": epochs, "minimum_accuracy": asked}, together) == least
