# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describes a host as the resolver knows it, from its facts or from what the inventory assumes of it.

Pure; private to the collection.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import refuse_float

ASSUMED = (
    "gpus",
    "os",
    "os_version",
    "kernel",
    "python",
    "driver_version",
    "nvswitches",
    "machine",
    "security_updates",
)
EXAMPLES = {"kernel": "5.15", "python": "3.10", "driver_version": "580.126.16"}
ENTERPRISE_LINUX = ("almalinux", "centos", "el", "oraclelinux", "redhat", "rhel", "rocky")
SECURITY = re.compile(r"(-security|/updates)$")  # apt's suites of them, of Debian 11 and newer and of older ones
PASSED_THROUGH = ("vfio-pci", "pci-stub")  # the kernel drivers that hold a GPU for a virtual machine
GPUS_LIMIT = 64  # no host has more
SWITCHED_FROM = 8  # boards with this many GPUs join them by NVSwitch


def from_facts(facts: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the host that was read. KeyError names a fact that nobody gathered."""
    gpu = facts["gpu"]
    nvidia = [device for device in gpu["pci"] if device["vendor"] == "nvidia"]
    name, major = facts["distribution"].lower(), facts["distribution_major_version"]
    if facts["os_family"] == "RedHat":
        name = "el"
    system = name + (facts["distribution_version"] if name == "ubuntu" else major)
    return {
        "gpus": [
            {
                "model": device["model"],
                "architecture": device["architecture"],
                "compute_capability": device["compute_capability"],
                "id": f"{device['vendor_id']}:{device['device_id']} at {device['address']}",
                **_limits(device["vendor_id"], device["device_id"], data),
            }
            for device in nvidia
            if device["kind"] == "gpu" and device.get("kernel_driver") not in PASSED_THROUGH
        ],
        "nvswitches": sum(1 for device in nvidia if device["kind"] == "nvswitch"),
        "system": system,
        "python": _own_python(facts["python"], system, data),
        "kernel": facts["kernel"],
        "machine": facts["architecture"],
        "driver_version": gpu["kernel"]["driver_version"],
        "security_updates": any(
            SECURITY.search(source["suite"] or "") for source in (facts.get("host") or {}).get("apt_sources") or []
        ),
        "emulated": gpu["root"] != "/",
    }


def _own_python(python: dict[str, Any], system: str, data: dict[str, Any]) -> str:
    """Return the version of the system's Python; Ansible's may be one of its own, in conda or an environment."""
    usual = (data["python"]["systems"].get(system) or {}).get("python")
    if usual and not (python.get("executable") or "/usr/bin/python3").startswith(("/usr/", "/bin/")):
        return usual
    return f"{python['version']['major']}.{python['version']['minor']}"


def _limits(vendor: str, device: str, data: dict[str, Any]) -> dict[str, Any]:
    for row in data["gpus"]["gpus"]:
        if row["vendor_id"] == vendor and device in row["device_ids"]:
            return {"first_driver": row["first_driver"], "fabric_manager": row["fabric_manager"]}
    return {}


def from_assumption(assumed: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the host that the inventory assumes (C(stack_assume)). ValueError says what is wrong with it."""
    if not isinstance(assumed, dict):
        raise ValueError(f"stack_assume is {assumed!r}; it is a dictionary of {', '.join(ASSUMED)}")
    unknown = sorted(set(map(str, assumed)) - set(ASSUMED))
    if unknown:
        raise ValueError(f"stack_assume has {', '.join(unknown)}; there are {', '.join(ASSUMED)}")
    for key, value in assumed.items():
        refuse_float(f"stack_assume: {key}", value)
    if not assumed.get("os") or not assumed.get("os_version"):
        raise ValueError("stack_assume needs os (ubuntu, debian or el) and os_version ('22.04', '12', '9')")
    name, version = str(assumed["os"]).lower(), str(assumed["os_version"])
    if name in ENTERPRISE_LINUX:
        name = "el"
    system = name + ".".join(version.split(".")[: 2 if name == "ubuntu" else 1])
    usual = data["python"]["systems"].get(system)
    if not usual:
        raise ValueError(f"stack_assume is of {system}; the matrix has {', '.join(data['python']['systems'])}")
    for key in ("kernel", "python", "driver_version"):
        if assumed.get(key) and not re.match(r"\d+(\.\d+)", str(assumed[key])):
            raise ValueError(f"stack_assume: {key} is {assumed[key]!r}; it is a version such as {EXAMPLES[key]!r}")
    for needed in ("kernel", "python"):
        if not assumed.get(needed) and not usual[needed]:
            raise ValueError(f"stack_assume needs {needed}: what {system} brings is not in the matrix")
    security = assumed.get("security_updates", True)  # as systems are usually installed
    if not isinstance(security, bool):
        raise ValueError(f"stack_assume: security_updates is {security!r}; it is true or false")
    gpus, switched = [], False
    for group in _groups(assumed):
        row, count = _model(str(group["model"]), data), _count("a GPU's count", group.get("count", 1), 1)
        switched = switched or (row["fabric_manager"] == "nvswitch_only" and count >= SWITCHED_FROM)
        architecture = data["gpus"]["architectures"][row["architecture"]]
        gpus += count * [
            {
                "model": row["name"],
                "architecture": row["architecture"],
                "compute_capability": architecture["compute_capability"],
                "id": f"{row['vendor_id']}:{row['device_ids'][0]} (assumed)",
                "first_driver": row["first_driver"],
                "fabric_manager": row["fabric_manager"],
            }
        ]
    return {
        "gpus": gpus,
        "nvswitches": _count("nvswitches", assumed.get("nvswitches", 1 if switched else 0), 0),
        "system": system,
        "python": str(assumed.get("python") or usual["python"]),
        "kernel": str(assumed.get("kernel") or usual["kernel"]),
        "machine": str(assumed.get("machine", "x86_64")),
        "driver_version": str(assumed["driver_version"]) if assumed.get("driver_version") else None,
        "security_updates": security,
        "emulated": False,
    }


def _groups(assumed: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the kinds of GPUs that are assumed. ValueError says what one of them has to look like."""
    groups = assumed.get("gpus") or []
    if not isinstance(groups, list):
        raise ValueError(f"stack_assume: gpus is a list of {{model: ..., count: ...}}, not {groups!r}")
    for group in groups:
        if not isinstance(group, dict) or not group.get("model") or set(group) - {"model", "count"}:
            raise ValueError(f"stack_assume: a GPU is {{model: ..., count: ...}}, not {group!r}")
    return groups


def _count(what: str, value: Any, least: int) -> int:
    """Return a number of things in one host. ValueError says that it is none."""
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = -1
    if isinstance(value, (bool, float)) or not least <= count <= GPUS_LIMIT:
        raise ValueError(f"stack_assume: {what} is {value!r}; it is a whole number from {least} to {GPUS_LIMIT}")
    return count


def _model(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the GPU that a name means: its key, its PCI id, its whole name, or words that only one name has all of."""
    rows = data["gpus"]["gpus"]
    for row in rows:
        if name.lower() in (row["key"], *row["device_ids"]) or _words(name) == _words(row["name"]):
            return row
    found = [row for row in rows if _words(name) <= _words(row["name"])]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"stack_assume: {name!r} could be {', '.join(row['name'] for row in found)}; say which")
    called = {" ".join(sorted(_words(row["name"]))): row["name"] for row in rows}
    near = get_close_matches(" ".join(sorted(_words(name))), called, n=1)
    meant = f"; is {called[near[0]]} meant" if near else ""
    keys = ", ".join(row["key"] for row in rows)
    raise ValueError(f"stack_assume: no GPU of the table is called {name!r}{meant}; there are {keys}")


def model_words(name: str) -> list[str]:
    """Return the words of a GPU's name: C(V100-SXM2-32GB) and C(Tesla V100 SXM2 32GB) have the same."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return [word for word in words if word not in ("nvidia", "tesla", "geforce", "quadro")]


def _words(name: str) -> frozenset[str]:
    return frozenset(model_words(name))
