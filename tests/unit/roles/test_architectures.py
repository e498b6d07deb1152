"""The judgement on whether a framework has code for the host's GPUs; flags as real wheels print them."""

import importlib.util
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "environment" / "files" / "prove_architectures.py"
V100, A100 = "7.0 Tesla V100 PCIe 32GB", "8.0 A100 SXM4 80GB"
CU128 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
CU132 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


def load():
    spec = importlib.util.spec_from_file_location("prove_architectures", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prove = load()


def test_a_v100_is_refused_a_torch_that_starts_at_turing():
    _carried, wrong = prove.verdict("torch", "2.15.0+cu132", CU132, [A100, V100])
    assert wrong == (
        "torch 2.15.0+cu132 carries sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120; "
        "this host has Tesla V100 PCIe 32GB (7.0), so choose a torch that carries it"
    )


def test_a_v100_is_given_a_torch_that_carries_it():
    carried, wrong = prove.verdict("torch", "2.10.0+cu128", CU128, [V100, A100])
    assert wrong == ""
    assert carried.startswith("torch 2.10.0+cu128 carries sm_70 ")


def test_a_torch_for_the_processor_is_refused_on_a_gpu_host():
    assert "carries no GPU code at all; this host has A100" in prove.verdict("torch", "2.15.0+cpu", [], [A100])[1]


def test_a_tensorflow_with_intermediate_code_alone_runs_on_a_newer_gpu():
    flags = ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"]
    assert prove.verdict("tensorflow", "2.21.0", flags, [V100, A100, "12.0 RTX PRO 6000"])[1] == ""
    assert prove.verdict("tensorflow", "2.21.0", [], [V100])[1].endswith("so choose a tensorflow that carries it")


def test_a_host_without_gpus_takes_any_torch():
    assert prove.verdict("torch", "2.15.0+cpu", [], [])[1] == ""


@pytest.mark.parametrize(
    ("flag", "capability", "runs"),
    [
        ("sm_80", (8, 6), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("compute_70", (8, 0), True),
        ("compute_80", (7, 0), False),
        ("sm_90a", (9, 0), True),
        ("sm_100", (10, 3), True),
        ("sm_100a", (10, 3), False),
        ("gfx908", (9, 0), False),
    ],
)
def test_code_runs_where_its_generation_allows(flag, capability, runs):
    assert prove.runs_on(flag, capability) is runs
