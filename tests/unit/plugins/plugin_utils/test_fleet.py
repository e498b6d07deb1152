"""A whole fleet: classes, one set for a group, locks, and the table for people."""

import random
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.workstation.plugins.plugin_utils import _fleet
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._describe import from_assumption
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._resolver import WISHES

DATA = load_all()
EVERYTHING = ["nvidia_driver", "cuda", "pytorch", "tensorflow"]


def rack(name, model, count=8, system=("ubuntu", "22.04"), **more):
    assumed = {"gpus": [{"model": model, "count": count}] if count else [], "os": system[0], "os_version": system[1]}
    return {"inventory_hostname": name, "stack_assume": assumed, "stack_components": EVERYTHING, **more}


LAB = [
    *(rack(f"v{number}", "V100-SXM2-32GB") for number in range(2)),
    *(rack(f"a{number}", "A100-SXM4-80GB") for number in range(2)),
    rack("p0", "A100 80GB PCIe", 2),
    rack("p1", "A100 80GB PCIe", 2),
    {
        **rack("m0", "V100-PCIe-32GB", 2),
        "stack_assume": {
            "gpus": [{"model": "V100-PCIe-32GB", "count": 2}, {"model": "A100 80GB PCIe", "count": 2}],
            "os": "ubuntu",
            "os_version": "22.04",
        },
    },
]


def test_the_lab_gets_what_each_kind_of_its_hosts_needs():
    plans = _fleet.fleet(LAB, DATA)["hosts"]
    for name in ("v0", "v1", "m0"):
        assert (plans[name]["driver"]["branch"], plans[name]["driver"]["flavor"]) == ("580", "proprietary")
        assert "7.0" in plans[name]["pytorch"]["architectures"]
        assert plans[name]["tensorflow"]["constraints"] == ["nvidia-cudnn-cu12==9.10.2.21"]
    for name in ("a0", "a1", "p0", "p1"):
        assert (plans[name]["driver"]["branch"], plans[name]["driver"]["flavor"]) == ("580", "open")
        assert plans[name]["pytorch"]["version"] == "2.15.0"
        assert plans[name]["tensorflow"]["constraints"] == []
    switched = {name for name, plan in plans.items() if plan["driver"]["fabric_manager"]["wanted"]}
    assert switched == {"a0", "a1"}


def test_the_order_of_hosts_does_not_matter():
    shuffled = list(LAB)
    random.Random(3).shuffle(shuffled)
    assert _fleet.fleet(shuffled, DATA) == _fleet.fleet(LAB, DATA)


def test_hosts_of_one_class_are_resolved_once(monkeypatch):
    calls = []
    real = _fleet.resolve
    monkeypatch.setattr(_fleet, "resolve", lambda *question: calls.append(1) or real(*question))
    _fleet._planned.cache_clear()
    _fleet.fleet([rack(f"h{number}", "t4") for number in range(50)], DATA)
    assert len(calls) == 1


def test_the_table_has_one_row_for_each_class_and_says_why():
    lines = _fleet.fleet(LAB, DATA)["table"]
    rows = [line for line in lines[1:5] if line]
    assert [row.rpartition("  ")[2] for row in rows] == ["a0, a1", "m0", "p0, p1", "v0, v1"]
    assert any("torch 2.15.0 (cu132) has no sm_70" in line for line in lines)
    assert any("fabric manager: 1 NVSwitch" in line for line in lines)


def test_a_host_without_plan_and_one_that_was_not_read_stand_in_the_table():
    hosts = [
        rack("bad", "V100-SXM2-32GB", stack_pytorch_version="2.15.0"),
        {"inventory_hostname": "gone", "ansible_facts": {}},
        {"inventory_hostname": "odd", "stack_assume": {"os": "plan9", "os_version": "4"}},
    ]
    found = _fleet.fleet(hosts, DATA)
    text = "\n".join(found["table"])
    assert "bad: NO PLAN: stack_pytorch_version 2.15.0 cannot hold" in text
    assert "gone: NOT READ: the fact 'gpu' is not there" in text
    assert "odd: NOT READ: stack_assume is of plan94" in text
    assert set(found["hosts"]) == {"bad"}


def test_a_wish_with_an_undefined_variable_in_it_is_that_hosts_alone():
    found = _fleet.fleet([rack("odd", "t4", stack_pytorch_version=object()), rack("good", "t4")], DATA)
    assert found["unread"] == {"odd": "stack_pytorch_version cannot be read: a variable in it is not defined"}
    assert set(found["hosts"]) == {"good"}


# ---- one set for a group


def test_a_group_that_shares_one_set_is_told_what_it_costs():
    hosts = [rack("a0", "A100-SXM4-80GB", stack_uniform=True), rack("v0", "V100-SXM2-32GB", stack_uniform=True)]
    found = _fleet.fleet(hosts, DATA)
    a100, v100 = found["hosts"]["a0"], found["hosts"]["v0"]
    for part, key in (("pytorch", "requirement"), ("python", "version"), ("cuda", "toolkit"), ("driver", "branch")):
        assert a100[part][key] == v100[part][key]
    assert v100["pytorch"]["requirement"] == "torch==2.14.1+cu126"
    assert (a100["driver"]["flavor"], v100["driver"]["flavor"]) == ("open", "proprietary")
    cost = found["uniform"]["True"]["cost"]
    assert [line.split(":")[0] for line in cost] == ["a0"]
    assert "torch 2.15.0 -> 2.14.1" in cost[0]
    assert "CUDA 13.0.3 -> 12.9.2" in cost[0]
    assert any("costs a0" in line for line in found["table"])


def test_what_nobody_wants_costs_nothing():
    wanted = {"stack_uniform": True, "stack_components": ["pytorch"]}
    alone = _fleet.fleet([rack("v0", "V100-SXM2-32GB", **wanted)], DATA)
    assert alone["uniform"]["True"]["cost"] == []
    wanted["stack_components"] = ["pytorch", "spark"]  # which would have a newer Python of its own
    assert _fleet.fleet([rack("v0", "V100-SXM2-32GB", **wanted)], DATA)["uniform"]["True"]["cost"] == [
        "v0: Spark 4.3.0 -> 4.2.1"
    ]


def test_a_host_that_is_refused_does_not_undo_the_set_of_the_others():
    bad = rack("bad", "V100-SXM2-32GB", stack_uniform=True, stack_pytorch_version="9.9")
    hosts = [rack("a0", "A100-SXM4-80GB", stack_uniform=True), rack("v0", "V100-SXM2-32GB", stack_uniform=True), bad]
    found = _fleet.fleet(hosts, DATA)
    assert "9.9 cannot hold" in found["hosts"]["bad"]["refused"]
    assert {found["hosts"][name]["pytorch"]["requirement"] for name in ("a0", "v0")} == {"torch==2.14.1+cu126"}
    assert found["uniform"]["True"]["hosts"] == ["a0", "v0"]
    assert _fleet.fleet([bad], DATA)["uniform"]["True"]["refused"] == "none of them has a plan of its own"


def test_who_of_a_group_could_not_be_asked_is_told():
    gone = {"inventory_hostname": "gone", "ansible_facts": {}, "stack_uniform": True}
    found = _fleet.fleet([gone, rack("a0", "A100-SXM4-80GB", stack_uniform=True)], DATA)
    assert found["uniform"]["True"]["without"] == ["gone"]
    assert "  not asked, for it was not read: gone" in found["table"]


def test_groups_with_different_names_share_nothing():
    hosts = [rack("a0", "A100-SXM4-80GB", stack_uniform="new"), rack("v0", "V100-SXM2-32GB", stack_uniform="old")]
    found = _fleet.fleet(hosts, DATA)
    assert found["hosts"]["a0"]["pytorch"]["version"] == "2.15.0"
    assert [group["cost"] for group in found["uniform"].values()] == [[], []]


def test_a_group_across_systems_shares_a_python_that_all_of_them_can_have():
    hosts = [
        rack("old", "V100-SXM2-32GB", system=("ubuntu", "18.04"), stack_uniform=True, stack_components=["pytorch"]),
        rack("new", "V100-SXM2-32GB", system=("ubuntu", "24.04"), stack_uniform=True, stack_components=["pytorch"]),
    ]
    plans = _fleet.fleet(hosts, DATA)["hosts"]
    assert plans["old"]["pytorch"]["requirement"] == plans["new"]["pytorch"]["requirement"]
    assert plans["old"]["python"]["version"] == plans["new"]["python"]["version"]
    assert plans["new"]["pytorch"]["version"] == "2.6.0"


def test_a_host_without_a_gpu_shares_frameworks_but_no_driver():
    hosts = [
        rack("cpu", "", 0, stack_uniform=True, stack_components=["pytorch"]),
        rack("v0", "V100-SXM2-32GB", stack_uniform=True, stack_components=["pytorch"]),
    ]
    found = _fleet.fleet(hosts, DATA)
    assert found["hosts"]["cpu"]["pytorch"]["version"] == "2.14.1"
    assert found["hosts"]["cpu"]["driver"]["version"] is None


def test_a_group_with_nothing_in_common_is_refused_with_the_way_out():
    hosts = [
        rack("a0", "A100-SXM4-80GB", stack_uniform=True, stack_pytorch_version="2.15.0"),
        rack("v0", "V100-SXM2-32GB", stack_uniform=True, stack_pytorch_version="2.10.0"),
    ]
    plans = _fleet.fleet(hosts, DATA)["hosts"]
    assert all(
        "have no set in common; give them different values of stack_uniform" in plans[name]["refused"] for name in plans
    )


# ---- locks


def resolved(entries):
    return [{"item": entry, "lock": f"{entry['framework']} for {entry['class']}"} for entry in entries]


def test_a_lock_gives_a_host_of_its_class_the_same_plan_again():
    found = _fleet.fleet(LAB, DATA)
    lock = _fleet.made_lock(found, resolved(found["to_lock"]))
    assert len(lock["classes"]) == 4
    for one in LAB:
        host = from_assumption(one["stack_assume"], DATA)
        plan = _fleet.from_lock(host, {"components": EVERYTHING}, "", lock)
        own = found["hosts"][one["inventory_hostname"]]
        assert plan["pytorch"]["requirement"] == own["pytorch"]["requirement"]
        assert plan["pytorch"]["lock"].startswith("pytorch for ")
        assert plan["tensorflow"]["lock"].startswith("tensorflow for ")


def test_what_is_locked_is_what_the_roles_would_install():
    entries = _fleet.fleet(
        [rack("v0", "V100-SXM2-32GB", pytorch_packages=["einops==0.8.0"], tensorflow_packages=["tqdm==4.67.1"])], DATA
    )["to_lock"]
    torch, flow = sorted(entries, key=lambda entry: entry["framework"])
    assert torch["packages"][:2] == ["torch==2.14.1+cu126", "torchvision==0.29.1"]
    assert "einops==0.8.0" in torch["packages"]
    assert torch["extra_index_urls"] == ["https://download.pytorch.org/whl/cu126"]
    assert (torch["python"], torch["glibc"]) == ("3.10", "2.35")
    assert flow["constraints"] == ["nvidia-cudnn-cu12==9.10.2.21"]
    assert "tqdm==4.67.1" in flow["packages"] and "einops==0.8.0" not in flow["packages"]


@pytest.mark.parametrize(
    "change",
    [{"wishes": {"pytorch_version": "2.10.0"}}, {"system": ("debian", "12")}, {"label": "group"}],
)
def test_a_host_that_the_lock_was_not_made_for_is_refused(change):
    found = _fleet.fleet(LAB, DATA)
    lock = _fleet.made_lock(found, resolved(found["to_lock"]))
    one = rack("v0", "V100-SXM2-32GB", system=change.get("system", ("ubuntu", "22.04")))
    wishes = {"components": EVERYTHING, **change.get("wishes", {})}
    plan = _fleet.from_lock(from_assumption(one["stack_assume"], DATA), wishes, change.get("label", ""), lock)
    assert "the lock has no 8 x Tesla V100 SXM2 32GB" in plan["refused"]
    assert "plan.yml -e lock=FILE" in plan["refused"]


def test_a_lock_does_not_overrule_a_driver_that_is_too_old():
    one = rack("a0", "A100-SXM4-80GB", stack_components=["pytorch"])
    found = _fleet.fleet([one], DATA)
    lock = _fleet.made_lock(found, resolved(found["to_lock"]))
    host = {**from_assumption(one["stack_assume"], DATA), "driver_version": "535.261.03"}
    plan = _fleet.from_lock(host, {"components": ["pytorch"]}, "", lock)
    assert plan["refused"] == "the locked pytorch 2.15.0 needs driver 580.65.06, and 535.261.03 is loaded"


def test_a_class_is_called_by_what_it_is_and_by_each_wish_that_is_no_default():
    host = from_assumption(rack("v0", "V100-SXM2-32GB")["stack_assume"], DATA)
    plain = "8 x Tesla V100 SXM2 32GB on ubuntu22.04 with Python 3.10"
    assert _fleet.class_key(host, {}, "") == plain
    assert _fleet.class_key(host, {"sources": list(reversed(WISHES["sources"]))}, "") == plain
    wishes = {
        "pytorch_version": "2.10.0",
        "sources": ["uv", "pypi"],
        "components": ["tensorflow"],
        "driver_branch": 580,
    }
    assert _fleet.class_key(host, wishes, "True") == (
        f"{plain}, sources pypi uv, components pytorch tensorflow, driver_branch 580, pytorch_version 2.10.0, "
        "shared by True"
    )


def test_what_a_class_keeps_serves_its_host_with_the_oldest_driver():
    old, new = (
        rack(name, "A100-SXM4-80GB", stack_components=["pytorch"], pytorch_packages=packages)
        for name, packages in (("z-old", []), ("a-new", ["einops==0.8.0"]))
    )
    old["stack_assume"]["driver_version"], new["stack_assume"]["driver_version"] = "535.261.03", "580.126.16"
    found = _fleet.fleet([old, new], DATA)
    (entry,) = found["to_lock"]
    assert entry["packages"][0] == found["hosts"]["z-old"]["pytorch"]["requirement"]
    assert entry["packages"][0] != found["hosts"]["a-new"]["pytorch"]["requirement"]
    assert "einops==0.8.0" in entry["packages"]
    lock = _fleet.made_lock(found, resolved(found["to_lock"]))
    for one in (old, new):
        plan = _fleet.from_lock(from_assumption(one["stack_assume"], DATA), {"components": ["pytorch"]}, "", lock)
        assert "refused" not in plan


def test_a_wish_that_makes_no_sense_is_one_hosts_refusal_and_no_others():
    wrong = {"stack_pytorch_version": 2.1, "stack_sources": ["pipy"], "stack_spark_version": "latest"}
    wrong["stack_components"] = "pytorch"
    hosts = [rack(name, "t4", **{name: value}) for name, value in wrong.items()]
    found = _fleet.fleet([*hosts, rack("good", "t4")], DATA)
    assert set(found["classes"]) == {
        _fleet.class_key(from_assumption(hosts[0]["stack_assume"], DATA), {"components": EVERYTHING}, "")
    }
    refused = {name: plan["refused"] for name, plan in found["hosts"].items() if "refused" in plan}
    assert set(refused) == set(wrong)
    assert "'2.1' or '2.10'" in refused["stack_pytorch_version"]
    assert "it is a list of nvidia_driver" in refused["stack_components"]
    assert "there are distribution, nvidia, pypi" in refused["stack_sources"]
    host = from_assumption(hosts[0]["stack_assume"], DATA)
    assert "in quotes" in _fleet.from_lock(host, {"pytorch_version": 2.1}, "", {"classes": {}})["refused"]


def test_variables_become_wishes_as_the_role_would_make_them():
    wishes = _fleet.wishes_of({"stack_pytorch_version": "2.10.0", "workstation_sources": ["pypi"], "stack_lock": "x"})
    assert wishes == {"pytorch_version": "2.10.0", "sources": ["pypi"]}
    assert _fleet.wishes_of({"stack_sources": ["pytorch"], "workstation_sources": ["pypi"]}) == {"sources": ["pytorch"]}


def test_the_roles_defaults_are_the_resolvers_defaults():
    role = Path(__file__).resolve().parents[4] / "roles" / "stack" / "defaults" / "main.yml"
    defaults = yaml.safe_load(role.read_text(encoding="utf-8"))
    for name, value in WISHES.items():
        if name != "sources":
            assert defaults[f"stack_{name}"] == value, name
    assert all(f"'{source}'" in defaults["stack_sources"] for source in WISHES["sources"])
