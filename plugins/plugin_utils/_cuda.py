# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role cuda hands to the host: wheels and packages of each toolkit, or why one cannot be. Private."""

from __future__ import annotations

from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._describe import from_facts
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._options import (
    NVCC_IN_WHEELS,
    Question,
    against_cuda,
    against_cudnn,
    in_repository,
    repository,
)
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import number

KEYS = ("version", "source", "cudnn", "nccl", "components")
SOURCES = ("pypi", "distribution", "nvidia")
HOST_COMPILER = {"debian": "g++", "el": "gcc-c++"}  # what nvcc from a wheel needs and does not bring
# Names of cuDNN and NCCL in NVIDIA's repository; a version stands behind the "=".
LIBRARIES = {
    "debian": {
        "cudnn": ["libcudnn9-cuda-{major}={version}-*", "libcudnn9-dev-cuda-{major}={version}-*"],
        "nccl": ["libnccl2={version}-*+cuda{major}.*", "libnccl-dev={version}-*+cuda{major}.*"],
    },
    "el": {
        "cudnn": ["libcudnn9-cuda-{major}={version}-*", "libcudnn9-devel-cuda-{major}={version}-*"],
        "nccl": ["libnccl={version}-*+cuda{major}.*", "libnccl-devel={version}-*+cuda{major}.*"],
    },
}


class Impossible(Exception):
    """Carries why one toolkit cannot be: a predicate that stands behind its name."""


def toolkits_for(
    wishes: list[dict[str, Any]], facts: dict[str, Any], driver: str, data: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the toolkits in the form of the module's option, the host's compute capabilities, and what is refused."""
    question = Question(from_facts(facts, data), {}, data)
    made, refused = [], []
    for wish in wishes:
        unknown = sorted(set(wish) - set(KEYS))
        if unknown or not wish.get("version"):
            raise ValueError(f"a toolkit has {', '.join(unknown) or 'no version'}; there are {', '.join(KEYS)}")
        try:
            made.append(_toolkit(wish, question, driver or question.host["driver_version"]))
        except Impossible as why:
            refused.append(f"CUDA {wish['version']} {why}")
    there = repository(question) if question.system in data["cuda"]["systems"] else {}
    capabilities = {gpu["compute_capability"] for gpu in question.host["gpus"] if gpu["compute_capability"]}
    return {
        "toolkits": made,
        "refused": refused,
        "architectures": sorted(capabilities, key=number),
        "runnable": bool(question.host["driver_version"]) and not question.host["emulated"] and bool(capabilities),
        "repository": there.get("url") or "",
        "key": there.get("key") or "",
        "fingerprint": there.get("fingerprint") or "",
        "nvidia": any(wish.get("source") == "nvidia" for wish in wishes),
        "distribution": any(wish.get("source") == "distribution" for wish in wishes),
    }


def _toolkit(wish: dict[str, Any], question: Question, driver: str | None) -> dict[str, Any]:
    row = _row(str(wish["version"]), question.data["cuda"]["toolkits"])
    against = against_cuda(question, driver, row)
    if against:
        raise Impossible(against)
    cudnn = wish.get("cudnn")
    against = against_cudnn(question, cudnn) if cudnn else None
    if against:
        raise Impossible(f"is asked for with cuDNN {cudnn}, which {against}")
    source = wish.get("source", "pypi")
    if source not in SOURCES:
        raise Impossible(f"has the source {source!r}; there are {', '.join(SOURCES)}")
    make = {"pypi": _of_wheels, "distribution": _of_distribution, "nvidia": _of_repository}[source]
    return {"version": row["version"], **make(wish, row, question)}


def _row(version: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = number(version)
    for row in rows:
        if number(row["version"]) == wanted[:2] and len(wanted) >= 2:
            return {**row, "release": version if len(wanted) > 2 else row["latest"]}
    raise Impossible(f"is not known; there are {', '.join(row['version'] for row in rows)}")


def _of_wheels(wish: dict[str, Any], row: dict[str, Any], question: Question) -> dict[str, Any]:
    if not row["pypi"]:
        raise Impossible("has no wheels; choose another source or version")
    major = number(row["version"])[0]
    components = wish.get("components") or ["all"]
    pins = [f"cuda-toolkit[{','.join(components)}]=={row['release']}"]
    pins += [f"nvidia-{name}-cu{major}=={wish[name]}" for name in ("cudnn", "nccl") if wish.get(name)]
    needs_compiler = major >= NVCC_IN_WHEELS and {"all", "nvcc"} & set(components)
    return {"pins": pins, "packages": [HOST_COMPILER[_family(question)]] if needs_compiler else []}


def _of_distribution(wish: dict[str, Any], row: dict[str, Any], question: Question) -> dict[str, Any]:
    own = question.data["cuda"]["distribution"].get(question.system)
    if not own or own["version"] != row["version"]:
        has = f"has {own['version']}" if own else "has none"
        raise Impossible(f"is not what {question.system} brings; it {has}")
    return {"packages": own["packages"], "prefix": own["prefix"], "nvcc": own["nvcc"]}


def _of_repository(wish: dict[str, Any], row: dict[str, Any], question: Question) -> dict[str, Any]:
    there = question.data["cuda"]["systems"].get(question.system)
    if not there or not in_repository(there, row["version"]):
        raise Impossible(f"is not in NVIDIA's repository for {question.system}")
    names = LIBRARIES[_family(question)]
    packages = [f"cuda-toolkit-{row['version'].replace('.', '-')}"]
    for name in ("cudnn", "nccl"):
        if wish.get(name):
            major = number(row["version"])[0]
            packages += [package.format(major=major, version=wish[name]) for package in names[name]]
    return {"packages": packages, "prefix": f"/usr/local/cuda-{row['version']}"}


def _family(question: Question) -> str:
    return "el" if question.system.startswith("el") else "debian"
