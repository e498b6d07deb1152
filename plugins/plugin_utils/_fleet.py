# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans many hosts: the same class is resolved once, a group can share one set, and a table says it all.

Pure; private to the collection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._describe import from_assumption, from_facts
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._resolver import (
    COMPONENTS,
    OPTIONAL_SOURCES,
    SOURCES,
    WISHES,
    Refusal,
    checked,
    gpu_words,
    possible,
    resolve,
)
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import fits, number


def planned(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return a plan, or C(refused) with C(conflict) and C(ways_out). Hosts that differ in nothing are resolved once."""
    return json.loads(_planned(json.dumps([host, wishes], sort_keys=True), _Held(data)))


def _plain(value: Any) -> bool:
    """Return whether a value has nothing in it but what JSON has; an undefined variable is something else."""
    try:
        return bool(json.dumps(value))
    except TypeError:
        return False


class _Held:
    """The data as an argument of a cached function: data that was read once is one object."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Held)
            and self.data.keys() == other.data.keys()
            and all(self.data[subject] is other.data[subject] for subject in self.data)
        )


@lru_cache(maxsize=1024)
def _planned(question: str, held: _Held) -> str:
    host, wishes = json.loads(question)
    try:
        return json.dumps(resolve(host, wishes, held.data))
    except Refusal as refusal:
        return json.dumps({"refused": str(refusal), "conflict": refusal.conflict, "ways_out": refusal.ways_out})


# ---- one fleet -----------------------------------------------------------------------------------------------------


def wishes_of(variables: dict[str, Any]) -> dict[str, Any]:
    """Return what a host's variables wish for: the inputs of the role stack, with its defaults."""
    wishes = {name: variables[f"stack_{name}"] for name in WISHES if f"stack_{name}" in variables}
    if "sources" not in wishes and "workstation_sources" in variables:
        wishes["sources"] = variables["workstation_sources"]
    return wishes


def fleet(variables: Iterable[dict[str, Any]], data: dict[str, Any]) -> dict[str, Any]:
    """Return the plans of many hosts from their variables, the classes they fall into, and what sharing costs.

    C(hosts) has a plan for each name, C(unread) the reason why there is none; C(classes) and C(to_lock) are what a lock
    is made of; C(uniform) has, for each group that shares one set, its C(hosts), the C(set), the C(cost) in sentences,
    and C(without), those that could not be asked; C(table) is all of it for people, in lines.
    """
    plans: dict[str, Any] = {}
    unread: dict[str, str] = {}
    groups: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {}
    members: dict[str, list[tuple[tuple[Any, ...], str, dict[str, Any]]]] = {}
    without: dict[str, list[str]] = {}
    for one in variables:
        name = str(one["inventory_hostname"])
        label = uniform_label(one.get("stack_uniform", False))
        try:
            assumed = one.get("stack_assume")
            host = from_assumption(assumed, data) if assumed else from_facts(one["ansible_facts"], data)
        except KeyError as error:
            unread[name] = f"the fact {error} is not there: the host was not reached, or has no Python"
            without.setdefault(label, []).append(name)
            continue
        except ValueError as error:
            unread[name] = str(error)
            continue
        wishes = wishes_of(one)
        empty = [f"stack_{wish}" for wish, value in wishes.items() if not _plain(value)]
        if empty:
            unread[name] = f"{' and '.join(empty)} cannot be read: a variable in it is not defined"
            continue
        plans[name] = planned(host, wishes, data)
        if label:
            groups.setdefault(label, {})[name] = (host, wishes)
        site = {name: list(one.get(f"{name}_packages", [])) for name in ("pytorch", "tensorflow")}
        if "refused" not in plans[name]:
            members.setdefault(class_key(host, wishes, label), []).append((_means(host), name, site))
    uniform = {
        label: {**_share(members, plans, data), "without": sorted(without.get(label, []))}
        for label, members in sorted(groups.items())
    }
    classes, to_lock = {}, []
    for key, hosts in sorted(members.items()):
        _means_least, name, site = min(hosts, key=lambda member: member[:2])
        if "refused" in plans[name]:
            continue
        for framework in ("pytorch", "tensorflow"):
            site[framework] = sorted({package for _of, _name, of_host in hosts for package in of_host[framework]})
        classes[key] = plans[name]
        to_lock += ({**entry, "host": name} for entry in _to_lock(key, plans[name], site, data))
    return {
        "hosts": plans,
        "classes": classes,
        "to_lock": to_lock,
        "unread": unread,
        "uniform": uniform,
        "table": table(plans, unread, uniform),
    }


def uniform_label(value: Any) -> str:
    """Return the name of the group that shares one set with a host, or nothing."""
    words = {"": "", "false": "", "no": "", "none": "", "true": "True", "yes": "True"}
    return words.get(str(value).lower(), str(value))


# ---- locks ---------------------------------------------------------------------------------------------------------


def class_key(host: dict[str, Any], wishes: dict[str, Any], label: str) -> str:
    """Return the name of a host's class in a lock: what the host is, and every wish that is not the default."""
    wishes = checked(wishes)
    wishes["sources"] = [source for source in SOURCES + OPTIONAL_SOURCES if source in wishes["sources"]]
    words = [f"{gpu_words(host)} on {host['system']} with Python {host.get('python')}"]
    for name, default in WISHES.items():
        if wishes[name] != default:
            words.append(f"{name} {' '.join(wishes[name]) if isinstance(default, list) else wishes[name]}")
    return ", ".join([*words, f"shared by {label}"] if label else words)


def _means(host: dict[str, Any]) -> tuple[Any, ...]:
    """Return what hosts of one class are ordered by: what serves the one with the least serves all of them."""
    return number(host["driver_version"] or "9999"), number(host["kernel"]), host["security_updates"]


def _to_lock(key: str, plan: dict[str, Any], site: dict[str, Any], data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what there is to resolve for each framework that is wanted; C(site) has its own packages."""
    torch, flow = plan["pytorch"], plan["tensorflow"]
    glibc = data["python"]["systems"][plan["host_class"].rpartition(" on ")[2]]["glibc"]
    common = {"class": key, "glibc": glibc}
    if torch["version"] and "pytorch" in plan["wanted"]:
        pins = [torch["requirement"], f"torchvision=={torch['torchvision']}"]
        pins += [f"torchaudio=={torch['torchaudio']}"] if torch["torchaudio"] else []
        yield {
            **common,
            "framework": "pytorch",
            "python": torch["python"]["version"],
            "packages": pins + _pinned(plan["science"]) + site["pytorch"],
            "constraints": [],
            "extra_index_urls": [torch["index_url"]] if torch["index_url"] else [],
        }
    if flow["version"] and "tensorflow" in plan["wanted"]:
        yield {
            **common,
            "framework": "tensorflow",
            "python": flow["python"]["version"],
            "packages": [flow["requirement"], *_pinned(flow["science"]), *site["tensorflow"]],
            "constraints": flow["constraints"],
            "extra_index_urls": [],
        }


def _pinned(packages: dict[str, str]) -> list[str]:
    return [f"{name}=={version}" for name, version in packages.items() if name != "reason"]


def made_lock(planned_fleet: dict[str, Any], results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the lock of a fleet from what C(to_lock) was resolved to: a plan and its hashes for each class."""
    classes = {key: {"plan": plan, "locks": {}, "targets": {}} for key, plan in planned_fleet["classes"].items()}
    for result in results:
        item = result["item"]
        classes[item["class"]]["locks"][item["framework"]] = result["lock"]
        target = {name: item[name] for name in ("python", "glibc", "extra_index_urls")}
        classes[item["class"]]["targets"][item["framework"]] = target
    return {"classes": classes}


def from_lock(host: dict[str, Any], wishes: dict[str, Any], label: str, lock: dict[str, Any]) -> dict[str, Any]:
    """Return the plan that a lock keeps for a host's class, with C(lock) in each framework, or C(refused)."""
    try:
        key = class_key(host, wishes, label)
    except Refusal as refusal:
        return {"refused": str(refusal), "conflict": refusal.conflict, "ways_out": refusal.ways_out}
    kept = (lock.get("classes") or {}).get(key)
    if not kept:
        there = "; ".join(sorted(lock.get("classes") or {})) or "none"
        sentence = (
            f"the lock has no {key}, only {there}; make it anew with plan.yml -e lock=FILE, or leave stack_lock out"
        )
        return {"refused": sentence, "conflict": ["stack_lock"], "ways_out": ["make the lock anew"]}
    plan, driver = kept["plan"], host.get("driver_version")
    for framework in ("pytorch", "tensorflow"):
        floor = plan[framework].get("driver_floor")
        if (
            host["gpus"]
            and driver
            and "nvidia_driver" not in plan["wanted"]
            and floor
            and number(driver) < number(floor)
        ):
            sentence = (
                f"the locked {framework} {plan[framework]['version']} needs driver {floor}, and {driver} is loaded"
            )
            return {"refused": sentence, "conflict": ["stack_lock"], "ways_out": ["upgrade the driver"]}
    locks = kept.get("locks") or {}
    return {**plan, **{name: {**plan[name], "lock": locks[name]} for name in locks}}


def _share(
    members: dict[str, tuple[dict[str, Any], dict[str, Any]]], plans: dict[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    """Give every member of a group the set that all of them can share; their plans are replaced.

    One that has no plan of its own gets nothing, so it takes no part.
    """
    members = {name: member for name, member in members.items() if "refused" not in plans[name]}
    if not members:
        return {"hosts": [], "set": {}, "cost": [], "refused": "none of them has a plan of its own"}
    classes = {json.dumps(member, sort_keys=True): member for member in members.values()}
    shared = _search(list(classes.values()), [plans[name] for name in members], data, list(SHARED), {})
    if shared is None:
        sentence = f"{', '.join(sorted(members))} have no set in common; give them different values of stack_uniform"
        for name in members:
            plans[name] = {"refused": sentence, "conflict": ["stack_uniform"], "ways_out": []}
        return {"hosts": sorted(members), "set": {}, "cost": [], "refused": sentence}
    cost = []
    for name, (host, wishes) in sorted(members.items()):
        own, plans[name] = plans[name], planned(host, {**wishes, **_pins(host, shared)}, data)
        differences = [
            f"{label} {own[part]['version']} -> {plans[name][part]['version']}"
            for part, label in PARTS.items()
            if own[part]["version"] != plans[name][part]["version"] and part not in {*COMPONENTS} - {*own["wanted"]}
        ]
        if differences:
            cost.append(f"{name}: {', '.join(differences)}")
    return {"hosts": sorted(members), "set": shared, "cost": cost}


# What a group shares of the components that all of it wants, the most important first, and where that stands in a plan.
SHARED = {
    "pytorch_version": ("pytorch", "pytorch", "version"),
    "pytorch_variant": ("pytorch", "pytorch", "variant"),
    "python_version": ("pytorch", "python", "version"),
    "tensorflow_version": ("tensorflow", "tensorflow", "version"),
    "cuda_version": ("cuda", "cuda", "toolkit"),
    "driver_branch": ("nvidia_driver", "driver", "branch"),
    "spark_version": ("spark", "spark", "version"),
    "hadoop_version": ("hadoop_client", "hadoop_client", "version"),
}
GPU_ONLY = ("cuda_version", "driver_branch")
PARTS = {
    "driver": "driver",
    "cuda": "CUDA",
    "python": "Python",
    "pytorch": "torch",
    "tensorflow": "TensorFlow",
    "spark": "Spark",
    "hadoop_client": "Hadoop",
}


def _search(
    classes: list[tuple[dict[str, Any], dict[str, Any]]],
    plans: list[dict[str, Any]],
    data: dict[str, Any],
    names: list[str],
    shared: dict[str, str],
) -> dict[str, str] | None:
    """Return the newest values for some wishes with which every class has a plan, or None."""
    if not names:
        return shared
    name, rest = names[0], names[1:]
    component, part, key = SHARED[name]
    with_it = [plan[part][key] for plan in plans if plan[part][key]]
    if not with_it or not all(component in plan["wanted"] for plan in plans):
        return _search(classes, plans, data, rest, shared)  # each host goes its own way
    for value in _values(name, with_it, [host for host, _wishes in classes], data):
        tried = {**shared, name: value}
        if not all(_agrees(name, value, host, wishes) for host, wishes in classes):
            continue
        if all(possible(host, {**wishes, **_pins(host, tried)}, data) for host, wishes in classes):
            found = _search(classes, plans, data, rest, tried)
            if found is not None:
                return found
    return None


def _pins(host: dict[str, Any], shared: dict[str, str]) -> dict[str, str]:
    """Return the shared set as wishes of one host: one without a GPU takes no part in driver and CUDA."""
    return {name: value for name, value in shared.items() if host["gpus"] or name not in GPU_ONLY}


def _agrees(name: str, value: str, host: dict[str, Any], wishes: dict[str, Any]) -> bool:
    """Return whether a value is also what the host's own wish allows."""
    wish = str(wishes.get(name, ""))
    if name == "pytorch_variant":
        return wish in ("", value)
    if name == "python_version" and wish in ("auto", "distribution"):
        return wish == "auto" or value == host["python"]
    return fits(value, wish)


def _values(name: str, planned_now: list[str], hosts: list[dict[str, Any]], data: dict[str, Any]) -> list[str]:
    """Return the values to try, the preferred first: nothing newer than what the host that can do least would get."""
    if name == "pytorch_variant":
        known = list(dict.fromkeys([*planned_now, *data["pytorch"]["driver_floors"]]))
        return sorted(known, key=lambda variant: -planned_now.count(variant))
    if name == "python_version":
        known = list(dict.fromkeys([*planned_now, *data["python"]["managed"]]))
        own = [host["python"] for host in hosts]
        return sorted(known, key=lambda version: (-own.count(version), -planned_now.count(version)))
    rows, key = {
        "pytorch_version": (data["pytorch"]["releases"], "version"),
        "tensorflow_version": (data["tensorflow"]["releases"], "version"),
        "cuda_version": (data["cuda"]["toolkits"], "version"),
        "driver_branch": (data["drivers"]["branches"], "branch"),
        "spark_version": (data["bigdata"]["spark"], "version"),
        "hadoop_version": (data["bigdata"]["hadoop"], "version"),
    }[name]
    ceiling = min(number(version) for version in planned_now)
    return [row[key] for row in rows if number(row[key]) <= ceiling]


# ---- for people ----------------------------------------------------------------------------------------------------

COLUMNS = ("GPUs", "system", "driver", "CUDA", "cuDNN", "Python", "torch", "TensorFlow", "Spark", "Hadoop", "hosts")
HOSTS_SHOWN = 4


def table(plans: dict[str, Any], unread: dict[str, str], uniform: dict[str, Any]) -> list[str]:
    """Return the lines of a table with one row for each class of hosts, the reasons below it, and what has no plan."""
    classes: dict[str, list[str]] = {}
    for name, plan in sorted(plans.items()):
        classes.setdefault(json.dumps(plan, sort_keys=True), []).append(name)
    good = [(json.loads(text), names) for text, names in classes.items() if "refused" not in json.loads(text)]
    refused = [(json.loads(text)["refused"], names) for text, names in classes.items() if "refused" in json.loads(text)]
    lines = _columns([list(COLUMNS), *(_row(plan, names) for plan, names in good)]) if good else []
    for plan, names in good:
        lines += ["", f"{_some(names)}: {plan['host_class']}"]
        lines += _reasons(plan)
    for label, group in uniform.items():
        lines += ["", f"stack_uniform {label}: {_some(group['hosts'])}"]
        lines += [f"  {group['refused']}"] if "refused" in group else [f"  costs {line}" for line in group["cost"]]
        lines += [f"  not asked, for it was not read: {name}" for name in group["without"]]
        if not group["cost"] and "refused" not in group:
            lines.append("  costs nothing: every host would have had this set by itself")
    for sentence, names in refused:
        lines += ["", f"{_some(names)}: NO PLAN: {sentence}"]
    lines += ["", *(f"{name}: NOT READ: {why}" for name, why in sorted(unread.items()))] if unread else []
    return lines


def _row(plan: dict[str, Any], names: list[str]) -> list[str]:
    gpus, _, system = plan["host_class"].rpartition(" on ")
    driver, torch = plan["driver"], plan["pytorch"]
    cells = [
        gpus,
        system,
        f"{driver['version']} {driver['flavor'] or driver['source']}" if driver["version"] else None,
        plan["cuda"]["version"],
        plan["cuda"]["cudnn"],
        plan["python"]["version"],
        f"{torch['version']}+{torch['variant']}" if torch["version"] else None,
        plan["tensorflow"]["version"],
        plan["spark"]["version"],
        plan["hadoop_client"]["version"],
        _some(names),
    ]
    return [cell or "-" for cell in cells]


def _reasons(plan: dict[str, Any]) -> Iterator[str]:
    for part, label in PARTS.items():
        yield f"  {label:<10} {plan[part]['reason']}"
        if plan[part].get("would_change"):
            yield f"  {'':<10} newer: {plan[part]['would_change']}"
    if plan["driver"]["fabric_manager"]["wanted"]:
        yield f"  {'fabric':<10} fabric manager: {plan['driver']['fabric_manager']['reason']}"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:HOSTS_SHOWN])
    more = len(names) - HOSTS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
