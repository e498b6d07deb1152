"""Which versions a host gets: a table of hosts, and what must hold for every host there could be."""

import random

import pytest
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._resolver import Refusal, number, resolve, runs_on

DATA = load_all()
GPUS = {row["key"]: row for row in DATA["gpus"]["gpus"]}
PYPI = {"sources": ["pypi"]}
ALL = {"sources": ["pypi", "pytorch", "uv"]}
KERNELS = {"ubuntu18.04": "4.15.0-213-generic", "el7": "3.10.0-1160.el7.x86_64"}


def gpu(key):
    row = GPUS[key]
    capability = DATA["gpus"]["architectures"][row["architecture"]]["compute_capability"]
    return {
        "model": row["name"],
        "architecture": row["architecture"],
        "compute_capability": capability,
        "id": f"10de:{row['device_ids'][0]} at 0000:3b:00.0",
    }


def host(system, *keys, python=None, driver=None):
    return {
        "gpus": [gpu(key) for key in keys],
        "system": system,
        "python": python or DATA["python"]["systems"][system]["python"] or "3.14",
        "kernel": KERNELS.get(system, "6.1.0-18-amd64"),
        "machine": "x86_64",
        "driver_version": driver,
        "emulated": False,
    }


V100, A100, T4, H100, B200 = "v100_pcie_32", "a100_pcie_80", "t4", "h100_sxm", "b200"

# Expectations: the wheels' own architecture lists (PyPI), the 2.14 and 2.15 build matrices (vendor index), the driver
# branches of NVIDIA's architecture matrix, Requires-Python and manylinux tags of the wheels.
PLANS = [
    # system, GPUs, wishes -> torch, variant, Python, its source, driver branch, flavour
    ("debian12", [V100], PYPI, "2.10.0", "cu128", "3.11", "distribution", "580", "proprietary"),
    ("debian12", [A100], PYPI, "2.15.0", "cu132", "3.11", "distribution", "580", "open"),
    ("debian12", [V100], ALL, "2.14.1", "cu126", "3.11", "distribution", "580", "proprietary"),
    ("debian12", [A100], ALL, "2.15.0", "cu132", "3.11", "distribution", "580", "open"),
    ("debian12", [V100, A100], PYPI, "2.10.0", "cu128", "3.11", "distribution", "580", "proprietary"),
    ("debian12", [V100, A100], ALL, "2.14.1", "cu126", "3.11", "distribution", "580", "proprietary"),
    ("debian13", [V100], PYPI, "2.10.0", "cu128", "3.13", "distribution", "580", "proprietary"),
    ("debian13", [A100], PYPI, "2.15.0", "cu132", "3.13", "distribution", "580", "open"),
    ("debian11", [A100], PYPI, "2.8.0", "cu128", "3.9", "distribution", "580", "open"),
    ("debian11", [A100], ALL, "2.15.0", "cu132", "3.12", "uv", "580", "open"),
    ("debian11", [V100], ALL, "2.14.1", "cu126", "3.12", "uv", "580", "proprietary"),
    ("ubuntu24.04", [T4], PYPI, "2.15.0", "cu132", "3.12", "distribution", "580", "open"),
    ("ubuntu24.04", [H100], PYPI, "2.15.0", "cu132", "3.12", "distribution", "580", "open"),
    ("ubuntu24.04", [B200], PYPI, "2.15.0", "cu132", "3.12", "distribution", "580", "open"),
    ("ubuntu24.04", [], PYPI, "2.15.0", "cu132", "3.12", "distribution", None, None),
    ("ubuntu22.04", [V100], PYPI, "2.10.0", "cu128", "3.10", "distribution", "580", "proprietary"),
    ("ubuntu22.04", [A100], PYPI, "2.14.1", "cu130", "3.10", "distribution", "580", "open"),
    ("ubuntu22.04", [A100], ALL, "2.15.0", "cu132", "3.12", "uv", "580", "open"),
    ("ubuntu20.04", [V100], PYPI, "2.4.1", "cu121", "3.8", "distribution", "580", "proprietary"),
    ("ubuntu18.04", [V100], PYPI, "1.10.2", "cu102", "3.6", "distribution", "580", "proprietary"),
    ("ubuntu18.04", [V100], ALL, "2.6.0", "cu124", "3.12", "uv", "580", "proprietary"),
    ("ubuntu26.04", [A100], PYPI, "2.15.0", "cu132", "3.14", "distribution", "580", "open"),
    ("el7", [V100], ALL, "2.4.1", "cu121", "3.8", "uv", "535", "proprietary"),
    ("el8", [A100], ALL, "2.15.0", "cu132", "3.12", "uv", "580", "open"),
    ("el9", [V100], PYPI, "2.8.0", "cu128", "3.9", "distribution", "580", "proprietary"),
    ("el10", [A100], PYPI, "2.15.0", "cu132", "3.12", "distribution", "580", "open"),
    (
        "debian12",
        [V100],
        {**PYPI, "pytorch_version": "1.13.1"},
        "1.13.1",
        "cu117",
        "3.11",
        "distribution",
        "580",
        "proprietary",
    ),
    ("debian12", [A100], {**PYPI, "driver_branch": "595"}, "2.15.0", "cu132", "3.11", "distribution", "595", "open"),
    ("debian12", [A100], {**ALL, "python_version": "3.13"}, "2.15.0", "cu132", "3.13", "uv", "580", "open"),
    ("debian12", [A100], {**ALL, "pytorch_variant": "cu130"}, "2.15.0", "cu130", "3.11", "distribution", "580", "open"),
]


@pytest.mark.parametrize("row", PLANS, ids=lambda row: f"{row[0]}-{'+'.join(row[1]) or 'none'}-{row[3]}")
def test_a_host_gets_the_newest_that_works_on_it(row):
    system, keys, wishes, torch, variant, python, source, branch, flavor = row
    plan = resolve(host(system, *keys), wishes, DATA)
    assert (plan["pytorch"]["version"], plan["pytorch"]["variant"]) == (torch, variant)
    assert (plan["python"]["version"], plan["python"]["source"]) == (python, source)
    assert (plan["driver"]["branch"], plan["driver"]["flavor"]) == (branch, flavor)


REFUSALS = [
    ("debian12", [V100, B200], PYPI, ["volta", "blackwell_dc", "another host"]),
    ("debian12", [V100], {**PYPI, "pytorch_version": "2.15.0"}, ["no sm_70", "stack_pytorch_version", "newest"]),
    ("debian12", [V100], {**PYPI, "driver_branch": "595"}, ["595", "ends with branch 580"]),
    ("debian12", [V100], {**PYPI, "driver_branch": "581"}, ["'581'", "580"]),
    ("debian12", [A100], {**PYPI, "pytorch_version": "9.9"}, ["9.9", "2.15.0"]),
    ("debian12", [A100], {**PYPI, "python_version": "3.13"}, ["3.13", "3.11"]),
    ("debian12", [A100], {"sources": ["pip"]}, ["pip", "pypi"]),
    ("debian12", [A100], {"sources": ["uv"]}, ["at least one of pypi and pytorch"]),
    ("debian12", [A100], {"pytorch_verison": "2.15.0"}, ["pytorch_verison"]),
    ("ubuntu18.04", [A100], PYPI, ["no wheel for Python 3.6", "Allow stack_sources", "with Python 3.12"]),
    ("el7", [B200], ALL, ["Nothing that could be wished for"]),
]


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: f"{row[0]}-{'+'.join(row[1])}-{row[3][0]}")
def test_a_host_that_nothing_fits_is_told_why_and_the_way_out(row):
    system, keys, wishes, words = row
    with pytest.raises(Refusal) as refusal:
        resolve(host(system, *keys), wishes, DATA)
    for word in words:
        assert word in str(refusal.value)


def test_an_unknown_gpu_is_named_by_its_id():
    stranger = {
        **gpu(A100),
        "architecture": None,
        "compute_capability": None,
        "model": None,
        "id": "10de:ffff at 0000:3b:00.0",
    }
    with pytest.raises(Refusal, match=r"10de:ffff at 0000:3b:00\.0.*gpus\.yml"):
        resolve({**host("debian12"), "gpus": [stranger]}, PYPI, DATA)


@pytest.mark.parametrize(("field", "value"), [("system", "slackware15"), ("machine", "aarch64")])
def test_a_platform_outside_the_matrix_is_named(field, value):
    with pytest.raises(Refusal, match=value):
        resolve({**host("debian12", A100), field: value}, PYPI, DATA)


def test_a_loaded_driver_that_nobody_upgrades_bounds_the_wheel():
    plan = resolve(host("debian12", A100, driver="535.261.03"), PYPI, DATA)
    assert (plan["pytorch"]["version"], plan["pytorch"]["variant"]) == ("2.10.0", "cu128")
    assert "needs driver 580.65.06" in plan["pytorch"]["reason"]
    managed = resolve(host("debian12", A100, driver="535.261.03"), {**PYPI, "driver_managed": True}, DATA)
    assert managed["pytorch"]["version"] == "2.15.0"


def test_a_plan_says_what_bounded_it_and_what_would_change_it():
    plan = resolve(host("debian12", V100), PYPI, DATA)
    assert plan["pytorch"]["reason"].endswith("torch 2.15.0 (cu132) has no sm_70 (Tesla V100 PCIe 32GB)")
    assert plan["pytorch"]["would_change"] == "torch 2.14.1 (cu126) with stack_sources ['pypi', 'pytorch', 'uv']"
    assert plan["cuda"]["toolkit"] == "12.9"


def test_the_vendors_wheel_is_asked_for_by_its_whole_name():
    torch = resolve(host("debian12", V100), ALL, DATA)["pytorch"]
    assert torch["requirement"] == "torch==2.14.1+cu126"
    assert torch["index_url"].endswith("/whl/cu126")


def test_releases_built_for_numpy_1_get_numpy_1():
    plan = resolve(host("debian12", V100), {**PYPI, "pytorch_version": "2.0.1"}, DATA)
    assert plan["science"]["numpy"] == "1.26.4"


def test_the_last_release_for_python_36_gets_the_companions_that_have_a_wheel():
    assert resolve(host("ubuntu18.04", V100), PYPI, DATA)["pytorch"]["torchvision"] == "0.11.2"


@pytest.mark.parametrize(
    ("built_for", "capability", "runs"),
    [
        (["8.0"], "8.6", True),
        (["8.6"], "8.0", False),
        (["7.0"], "7.5", True),
        (["7.5"], "8.0", False),
        ([], "8.0", False),
    ],
)
def test_machine_code_runs_within_a_major_version_and_upwards(built_for, capability, runs):
    assert runs_on(built_for, capability) is runs


def random_hosts(count):
    chance = random.Random(580)
    for _ in range(count):
        system = chance.choice(list(DATA["python"]["systems"]))
        keys = chance.choices(list(GPUS), k=chance.randint(0, 3))
        driver = chance.choice([None, "450.80.02", "535.261.03", "580.178.04", "595.91.07"])
        wishes = {
            "sources": chance.choice([["pypi"], ["pytorch"], ["pypi", "uv"], ["pypi", "pytorch", "uv"]]),
            "driver_managed": chance.random() < 0.5,
        }
        yield host(system, *keys, driver=driver), wishes


def test_no_plan_pairs_a_gpu_with_what_the_data_says_it_cannot_use():
    plans = 0
    for subject, wishes in random_hosts(1500):
        try:
            plan = resolve(subject, wishes, DATA)
        except Refusal:
            continue
        plans += 1
        for device in subject["gpus"]:
            limits = DATA["gpus"]["architectures"][device["architecture"]]
            assert runs_on(plan["pytorch"]["architectures"], device["compute_capability"])
            assert limits["last_driver"] is None or int(plan["driver"]["branch"]) <= limits["last_driver"]
            assert plan["driver"]["flavor"] != {"unsupported": "open", "required": "proprietary"}.get(
                limits["open_modules"]
            )
            assert limits["last_cuda"] is None or number(plan["cuda"]["toolkit"]) <= number(limits["last_cuda"])
    assert plans > 500


def test_more_sources_never_take_a_plan_away_nor_make_it_older():
    for subject, wishes in random_hosts(400):
        try:
            plan = resolve(subject, wishes, DATA)
        except Refusal:
            continue
        wider = resolve(subject, {**wishes, **ALL}, DATA)
        assert number(wider["pytorch"]["version"]) >= number(plan["pytorch"]["version"])
