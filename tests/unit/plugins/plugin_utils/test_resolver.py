"""Which versions a host gets: the table of hosts in stacks.py, and what must hold for every host there could be."""

import random
import re

import pytest
import stacks
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._describe import from_assumption
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._resolver import (
    COMPONENTS,
    PART_OF,
    SOURCES,
    WISHES,
    Refusal,
    resolve,
)
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import number, runs_on

DATA = load_all()


def host(system, gpus=(), more=None):
    name, version = re.match(r"([a-z]+)([\d.]+)$", system).groups()
    return from_assumption({"gpus": gpus, "os": name, "os_version": version, **(more or {})}, DATA)


def name_of(row):
    models = "+".join(group["model"] for group in row[1]) or "none"
    return f"{row[0]}-{models}-{abs(hash(str(row[2:5]))) % 9973}"


@pytest.mark.parametrize("row", stacks.PLANS, ids=lambda row: f"{row[0]}-{row[4].split()[0]}")
def test_a_host_gets_the_newest_that_works_on_it(row):
    system, gpus, more, wishes, expected, _source = row
    got = stacks.said(resolve(host(system, gpus, more), wishes, DATA))
    wanted = dict(part.split("=", 1) for part in expected.split())
    assert {name: got[name] for name in wanted} == wanted


def test_every_expectation_names_what_it_is_known_from():
    known = {"WHEEL", "INDEX", "NVIDIA", "REPO", "KERNEL", "JAVA"}
    assert all(set(row[5].split()) <= known and row[5] for row in stacks.PLANS)
    assert len(stacks.PLANS) >= 60


@pytest.mark.parametrize("row", stacks.REFUSALS, ids=lambda row: f"{row[0]}-{row[4][0][:40]}")
def test_a_host_that_nothing_fits_is_told_why_and_the_way_out(row):
    system, gpus, more, wishes, words = row
    with pytest.raises(Refusal) as refusal:
        resolve(host(system, gpus, more), wishes, DATA)
    for word in words:
        assert word in str(refusal.value)


def test_an_unknown_gpu_is_named_by_its_id():
    stranger = {"architecture": None, "compute_capability": None, "model": None, "id": "10de:ffff at 0000:3b:00.0"}
    with pytest.raises(Refusal, match=r"10de:ffff at 0000:3b:00\.0.*gpus\.yml"):
        resolve({**host("debian12"), "gpus": [stranger]}, {}, DATA)


@pytest.mark.parametrize(("field", "value"), [("system", "slackware15"), ("machine", "aarch64")])
def test_a_platform_outside_the_matrix_is_named(field, value):
    with pytest.raises(Refusal, match=value):
        resolve({**host("debian12", stacks.A100), field: value}, {}, DATA)


def test_a_plan_says_what_bounded_it_and_what_would_change_it():
    plan = resolve(host("debian12", stacks.V100), {"sources": ["pypi"]}, DATA)
    assert plan["pytorch"]["reason"].endswith("torch 2.15.0 (cu132) has no sm_70 (Tesla V100 SXM2 32GB)")
    assert plan["pytorch"]["would_change"] == "torch 2.14.1 (cu126): add pytorch to stack_sources"
    assert "ends with branch 580" in plan["driver"]["reason"]
    assert plan["cuda"]["reason"].startswith("the last with volta, whose wheels bring NVRTC and no nvcc")


def test_only_old_wheels_of_cuda_lack_a_compiler():
    newer = resolve(host("debian12", stacks.A100), {"sources": ["pypi"], "components": ["cuda", "pytorch"]}, DATA)
    packaged = resolve(host("ubuntu24.04", stacks.V100), {}, DATA)
    assert (newer["cuda"]["source"], packaged["cuda"]["source"]) == ("pypi", "nvidia")
    assert "nvcc" not in newer["cuda"]["reason"] + packaged["cuda"]["reason"]


def test_a_loaded_driver_that_nobody_upgrades_is_what_would_change_the_wheel():
    old = host("debian12", stacks.A100_PCIE, {"driver_version": "535.261.03"})
    torch = resolve(old, {"sources": ["pypi", "nvidia"]}, DATA)["pytorch"]
    assert "needs driver 580.65.06, and 535.261.03 is the one to count on" in torch["reason"]
    assert torch["would_change"] == "torch 2.15.0 (cu132): add nvidia_driver to stack_components"


def test_a_host_without_a_driver_is_told_whether_it_gets_one():
    bare = host("debian12", stacks.A100_PCIE)
    for components, told in (
        (["pytorch"], "none is loaded now, and stack_components without nvidia_driver brings none"),
        (["nvidia_driver", "pytorch"], "none is loaded now"),
    ):
        assert resolve(bare, {"components": components}, DATA)["driver"]["reason"].endswith(f"; {told}")


def test_the_newest_plan_says_that_nothing_would_change_it():
    plan = resolve(host("debian12", stacks.A100_PCIE), {}, DATA)
    assert [plan[PART_OF.get(component, component)]["would_change"] for component in COMPONENTS] == [""] * 6


def test_the_vendors_wheel_is_asked_for_by_its_whole_name():
    torch = resolve(host("debian12", stacks.V100), {}, DATA)["pytorch"]
    assert torch["requirement"] == "torch==2.14.1+cu126"
    assert torch["index_url"].endswith("/whl/cu126")


def test_tensorflow_brings_its_cuda_on_gpu_hosts_only():
    flow = resolve(host("debian12", stacks.V100), {}, DATA)["tensorflow"]
    assert flow["requirement"] == "tensorflow[and-cuda]==2.21.0"
    assert flow["constraints"] == ["nvidia-cudnn-cu12==9.10.2.21"]
    plain = resolve(host("debian12"), {}, DATA)["tensorflow"]
    assert (plain["requirement"], plain["constraints"]) == ("tensorflow-cpu==2.21.0", [])


def test_the_plan_says_whether_a_build_is_for_gpus():
    with_gpus, without = resolve(host("debian12", stacks.V100), {}, DATA), resolve(host("debian12"), {}, DATA)
    assert (with_gpus["pytorch"]["build"], with_gpus["tensorflow"]["build"]) == ("cuda", "cuda")
    assert without["tensorflow"]["build"] == "cpu"


def test_what_is_not_wanted_and_cannot_be_had_is_left_out_with_the_reason():
    plan = resolve(host("ubuntu20.04", stacks.V100), {"sources": ["pypi"]}, DATA)
    assert plan["spark"]["version"] is None
    assert plan["spark"]["reason"].startswith("spark 4.3.0 needs Java")
    assert plan["wanted"] == ["pytorch"]


def test_a_conflict_is_the_smallest_set_and_dropping_any_of_it_helps():
    wishes = {
        "tensorflow_version": "2.15.1",
        "python_version": "3.13",
        "pytorch_version": "2.10.0",
        "sources": ["pypi"],
    }
    with pytest.raises(Refusal) as refusal:
        resolve(host("debian12", stacks.V100), {**wishes, "sources": list(SOURCES)}, DATA)
    assert refusal.value.conflict == ["stack_python_version 3.13", "stack_tensorflow_version 2.15.1"]
    assert len(refusal.value.ways_out) == 2
    for name in ("tensorflow_version", "python_version"):
        resolve(host("debian12", stacks.V100), {**wishes, "sources": list(SOURCES), name: WISHES[name]}, DATA)


def test_the_controllers_that_manage_the_host_are_named():
    assert resolve(host("ubuntu18.04"), {}, DATA)["controller"]["ansible_core"] == ["2.16"]
    assert "2.16" not in resolve(host("debian13"), {}, DATA)["controller"]["ansible_core"]


@pytest.mark.parametrize(
    ("built_for", "capability", "runs"),
    [
        (["8.0"], "8.6", True),
        (["8.6"], "8.0", False),
        (["7.0"], "7.5", True),
        (["7.5"], "8.0", False),
        (["sm_70", "compute_80"], "12.0", True),
        (["sm_70", "compute_80"], "7.5", True),
        (["sm_75", "compute_80"], "7.0", False),
        (["sm_100"], "10.0", True),
        ([], "8.0", False),
    ],
)
def test_machine_code_runs_within_a_major_version_and_ptx_upwards(built_for, capability, runs):
    assert runs_on(built_for, capability) is runs


# ---- what must hold for every host there could be


def random_questions(count):
    chance = random.Random(580)
    keys = [row["key"] for row in DATA["gpus"]["gpus"]]
    for _ in range(count):
        system = chance.choice(list(DATA["python"]["systems"]))
        more = {
            "python": chance.choice(["3.6", "3.8", "3.10", "3.12", "3.14"]),
            "kernel": chance.choice(["3.10", "5.4", "6.8"]),
        }
        if chance.random() < 0.3:
            more["driver_version"] = chance.choice(["450.80.02", "535.261.03", "580.178.04", "595.91.07"])
        gpus = [{"model": key, "count": chance.randint(1, 8)} for key in chance.choices(keys, k=chance.randint(0, 2))]
        wishes = {"sources": sorted({"pypi", *chance.sample(SOURCES, k=chance.randint(0, 5))})}
        wishes["components"] = chance.sample(COMPONENTS, k=chance.randint(0, 4))
        for name, values in (
            ("pytorch_version", ["2.10.0", ">=2.6,<2.12", "1.13.1"]),
            ("tensorflow_version", ["2.15.1", ">=2.16", "2.3.4"]),
            ("python_version", ["3.12", "distribution", ">=3.10"]),
            ("driver_branch", ["580", "newest", "<570"]),
            ("cuda_version", ["12.9", ">=13"]),
            ("spark_version", ["long-term", "4.1"]),
        ):
            if chance.random() < 0.12:
                wishes[name] = chance.choice(values)
        yield host(system, gpus, more), wishes


def answer(subject, wishes):
    try:
        return resolve(subject, wishes, DATA)
    except Refusal:
        return None


ANSWERS = [(subject, wishes, answer(subject, wishes)) for subject, wishes in random_questions(300)]


def test_no_plan_pairs_a_gpu_with_what_the_data_says_it_cannot_use():
    flows = {row["version"]: row for row in DATA["tensorflow"]["releases"]}
    plans = [(subject, plan) for subject, _wishes, plan in ANSWERS if plan]
    for subject, plan in plans:
        for device in subject["gpus"]:
            limits = DATA["gpus"]["architectures"][device["architecture"]]
            torch, flow, cuda, driver = plan["pytorch"], plan["tensorflow"], plan["cuda"], plan["driver"]
            assert torch["version"] is None or runs_on(torch["architectures"], device["compute_capability"])
            assert flow["version"] is None or runs_on(
                flows[flow["version"]]["architectures"], device["compute_capability"]
            )
            assert limits["last_driver"] is None or int(driver["branch"]) <= limits["last_driver"]
            assert int(driver["branch"]) >= device["first_driver"]
            never = {"unsupported": "open", "required": "proprietary"}.get(limits["open_modules"])
            assert driver["flavor"] is None or driver["flavor"] != never
            for toolkit in filter(None, [cuda["toolkit"]]):
                assert limits["last_cuda"] is None or number(toolkit) <= number(limits["last_cuda"])
                assert limits["first_cuda"] is None or number(toolkit) >= number(limits["first_cuda"])
            if limits["last_cudnn"]:
                assert cuda["cudnn"] is None or number(cuda["cudnn"]) <= number(limits["last_cudnn"])
                pin = (flow["cudnn"] or "").removeprefix("==").removesuffix(".*")
                assert flow["version"] is None or number(pin) <= number(limits["last_cudnn"])
    assert len(plans) > 100


def test_no_plan_counts_on_a_newer_driver_python_or_glibc_than_there_is():
    torches = {row["version"]: row for row in DATA["pytorch"]["releases"]}
    for subject, _wishes, plan in ANSWERS:
        if not plan or not plan["pytorch"]["version"]:
            continue
        row, torch = torches[plan["pytorch"]["version"]], plan["pytorch"]
        if plan["driver"]["version"]:
            floor = DATA["pytorch"]["driver_floors"][torch["variant"]]
            assert number(plan["driver"]["version"]) >= number(floor)
        assert torch["python"]["version"] in row["python"]
        assert number(DATA["python"]["systems"][subject["system"]]["glibc"]) >= number(row["glibc"])


def test_relaxing_a_wish_never_makes_a_plan_impossible():
    for subject, wishes, plan in ANSWERS:
        if not plan:
            continue
        for name in wishes:
            relaxed = {key: value for key, value in wishes.items() if key != name}
            if name == "components":  # without nvidia_driver, a loaded driver stays: that is no relaxation
                relaxed["components"] = [one for one in wishes["components"] if one == "nvidia_driver"]
            assert answer(subject, relaxed), (subject["system"], wishes, name)


def test_more_sources_never_make_pytorch_older():
    for subject, wishes, plan in ANSWERS:
        if plan and plan["pytorch"]["version"] and "nvidia_driver" not in plan["wanted"]:
            wider = answer(subject, {**wishes, "sources": list(SOURCES)})
            assert number(wider["pytorch"]["version"]) >= number(plan["pytorch"]["version"])


def test_a_refusal_names_a_conflict_that_really_is_one():
    for subject, wishes, plan in ANSWERS:
        if plan is None:
            with pytest.raises(Refusal) as refusal:
                resolve(subject, wishes, DATA)
            assert (
                refusal.value.conflict or "another host" in str(refusal.value) or "Nothing that" in str(refusal.value)
            )


def test_the_same_question_has_the_same_answer_in_any_order():
    shuffled = list(ANSWERS)
    random.Random(7).shuffle(shuffled)
    for subject, wishes, plan in shuffled[:200]:
        assert answer(subject, wishes) == plan
