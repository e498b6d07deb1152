"""Compares the compatibility data with what the package index really serves; make verify-matrix.

Wheels are read by range requests, so this costs seconds. What was read can be written down (--record) and compared
again without a network (--recorded), which the unit tests do. Differences end in status 1; releases that the data
does not have are printed as rows to paste.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

DATA = Path(__file__).resolve().parents[2] / "plugins" / "plugin_utils" / "data"
RECORDED = Path(__file__).with_name("recorded.json")
AT_ONCE = 8
LIBRARIES = {"cudnn": "nvidia-cudnn-cu{}", "nccl": "nvidia-nccl-cu{}"}


def load() -> dict[str, Any]:
    """Return the data that is compared, by subject."""
    subjects = ("bigdata", "cuda", "python", "pytorch", "tensorflow")
    return {subject: yaml.safe_load((DATA / f"{subject}.yml").read_text(encoding="utf-8")) for subject in subjects}


# ---- reading


def read(data: dict[str, Any]) -> dict[str, Any]:
    """Return what the index says of everything that the data is about, and of what is newer."""
    import wheels  # noqa: PLC0415 (needs the network's libraries; comparing does not)

    def release(project: str, version: str, details: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        entries = found[project].get(Version(version))
        if not entries:
            return {}
        return {
            "python": sorted({python for entry in entries for python in entry["pythons"]}, key=Version),
            "glibc": min((entry["glibc"] for entry in entries), key=Version),
            "date": (entries[0].get("upload-time") or "")[:10],
            **details(entries[-1]),
        }

    def companion(entry: dict[str, Any]) -> dict[str, Any]:
        return {"torch": wheels.requirements(entry, "torch").get("torch", "")}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        projects = ["torch", "torchvision", "tensorflow", "cuda-toolkit"]
        projects += sorted(
            {LIBRARIES[name].format(major) for name in LIBRARIES for row in data["cuda"][name] for major in row["cuda"]}
        )
        projects += sorted({name for row in data["python"]["science"] for name in row["packages"]})
        found = dict(zip(projects, pool.map(wheels.wheels, projects)))
        versions = {name: sorted(map(str, found[name]), key=Version) for name in projects}
        versions["pyspark"] = sorted(map(str, wheels.versions("pyspark")), key=Version)
        jobs = []
        for project, subject, details in (
            ("torch", "pytorch", wheels.torch),
            ("tensorflow", "tensorflow", wheels.tensorflow),
        ):
            known = [row["version"] for row in data[subject]["releases"]]
            jobs += [(project, version, details) for version in [*known, *missing(known, versions[project])]]
        pairs = {row["torchvision"] for row in data["pytorch"]["releases"]}
        jobs += [("torchvision", version, companion) for version in sorted(pairs | {versions["torchvision"][-1]})]
        answers = list(pool.map(lambda job: release(*job), jobs))
    truth: dict[str, Any] = {"read": time.strftime("%Y-%m-%d"), "versions": versions, "science": {}}
    for (project, version, _details), answer in zip(jobs, answers):
        truth.setdefault(project, {})[version] = answer
    for row in data["python"]["science"]:
        for name, version in row["packages"].items():
            entries = found[name].get(Version(version), [])
            pythons = {python for entry in entries for python in entry["pythons"]}
            anyone = any(entry["glibc"] == "0" for entry in entries)
            truth["science"][f"{name}=={version}"] = "any" if anyone else sorted(pythons, key=Version)
    return truth


def missing(known: list[str], served: list[str]) -> list[str]:
    """Return the served releases that are newer than the newest known one, or a newer patch of a known series."""
    newest = {Version(version).release[:2]: Version(version) for version in sorted(known, key=Version)}
    return [
        version
        for version in served
        if Version(version) > max(newest.values())
        or Version(version) > newest.get(Version(version).release[:2], Version("99999"))
    ]


# ---- comparing


def differences(data: dict[str, Any], truth: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for everything that the data says otherwise than the index."""
    for row in data["pytorch"]["releases"]:
        yield from _release("torch", row, truth["torch"].get(row["version"]))
        yield from _torch(row, truth)
    for row in data["tensorflow"]["releases"]:
        yield from _release("tensorflow", row, truth["tensorflow"].get(row["version"]))
        yield from _tensorflow(row, truth["tensorflow"].get(row["version"]) or {})
    for row in data["python"]["science"]:
        for name, version in row["packages"].items():
            there = truth["science"].get(f"{name}=={version}")
            if there is None or (there != "any" and row["python"] not in there):
                yield f"{name} {version}: the data has it for Python {row['python']}, the index for {there or 'none'}"
    for name, project in LIBRARIES.items():
        for row in data["cuda"][name]:
            for major in row["cuda"]:
                if row["version"] not in truth["versions"][project.format(major)]:
                    yield f"{name} {row['version']}: the index has no {project.format(major)} of that version"
    served = {Version(version).release[:3] for version in truth["versions"]["cuda-toolkit"]}
    for row in data["cuda"]["toolkits"]:
        if (Version(row["latest"]).release in served) != row["pypi"]:
            yield f"cuda {row['latest']}: the data says pypi {row['pypi']}, the index the opposite"
    for row in data["bigdata"]["spark"]:
        if row["version"] not in truth["versions"]["pyspark"]:
            yield f"spark {row['version']}: the index has no pyspark of that version"


def _release(project: str, row: dict[str, Any], there: dict[str, Any] | None) -> Iterator[str]:
    where = f"{project} {row['version']}"
    if not there:
        yield f"{where}: the index has no Linux wheel of it"
        return
    if row["python"] != there["python"]:
        yield f"{where}: the data has Python {', '.join(row['python'])}, the index {', '.join(there['python'])}"
    if Version(row["glibc"]) < Version(there["glibc"]):
        yield f"{where}: the data has glibc {row['glibc']}, the wheel's tag {there['glibc']}"


def _torch(row: dict[str, Any], truth: dict[str, Any]) -> Iterator[str]:
    there = truth["torch"].get(row["version"]) or {}
    if not there:
        return
    where = f"torch {row['version']}"
    if row["pypi"] != there["variant"]:
        yield f"{where}: the data has {row['pypi']} on the index, the wheel is {there['variant']}"
    elif row["variants"][row["pypi"]] != there["architectures"]:
        had, has = ", ".join(row["variants"][row["pypi"]]), ", ".join(there["architectures"])
        yield f"{where} ({row['pypi']}): the data has the architectures {had}, the wheel {has}"
    if (row["cudnn"] or "") != there["cudnn"].removeprefix("=="):
        yield f"{where}: the data has cuDNN {row['cudnn']}, the wheel {there['cudnn'] or 'none'}"
    pair = truth["torchvision"].get(row["torchvision"])
    if not pair:
        yield f"{where}: the index has no torchvision {row['torchvision']}"
    elif pair["torch"] and row["version"] not in SpecifierSet(pair["torch"]):
        yield f"{where}: torchvision {row['torchvision']} wants torch {pair['torch']}"


def _tensorflow(row: dict[str, Any], there: dict[str, Any]) -> Iterator[str]:
    if not there:
        return
    where = f"tensorflow {row['version']}"
    for name in ("cuda", "architectures"):
        if there[name] and row[name] != there[name]:
            yield f"{where}: the data has {name} {row[name]}, the wheel {there[name]}"
    if (row["libraries"] == "wheels") != bool(there["and_cuda"]):
        asks = there["and_cuda"] or "nothing"
        yield f"{where}: the data has libraries {row['libraries']}, the extra and-cuda asks {asks}"
    elif there["and_cuda"] and set(row["cudnn"].split(",")) != set(there["and_cuda"].split(",")):
        yield f"{where}: the data has cuDNN {row['cudnn']}, the extra and-cuda {there['and_cuda']}"


# ---- what the data lacks


def drafts(data: dict[str, Any], truth: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield file and row for each release that the data does not have."""
    source = f"PyPI wheel and its metadata, read {truth['read']}"
    for version in missing([row["version"] for row in data["pytorch"]["releases"]], truth["versions"]["torch"]):
        there = truth["torch"].get(version) or {}
        if there:
            pairs = [
                name for name, pair in truth["torchvision"].items() if pair and version in SpecifierSet(pair["torch"])
            ]
            row = {"version": version, **{name: there[name] for name in ("date", "python", "glibc")}}
            row["torchvision"] = max(pairs, key=Version) if pairs else "TO BE FOUND"
            row.update(torchaudio=None, pypi=there["variant"], cudnn=there["cudnn"].removeprefix("==") or None)
            yield "pytorch.yml", {**row, "variants": {there["variant"]: there["architectures"]}, "source": source}
    for version in missing([row["version"] for row in data["tensorflow"]["releases"]], truth["versions"]["tensorflow"]):
        there = truth["tensorflow"].get(version) or {}
        if there:
            row = {"version": version, **{name: there[name] for name in ("date", "python", "glibc", "cuda")}}
            row.update(cudnn=there["and_cuda"] or "TO BE FOUND", libraries="wheels" if there["and_cuda"] else "system")
            row.update(driver_floor="TO BE FOUND", architectures=there["architectures"], numpy=there["numpy"])
            yield "tensorflow.yml", {**row, "constraints": [], "source": source}
    for version in missing([row["version"] for row in data["bigdata"]["spark"]], truth["versions"]["pyspark"]):
        yield "bigdata.yml", {"version": version, "source": f"PyPI file list, read {truth['read']}"}


def main() -> int:
    """Compare, print, and return the status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--record", action="store_true", help=f"write what was read to {RECORDED.name}")
    parser.add_argument("--recorded", action="store_true", help=f"compare with {RECORDED.name} instead of the index")
    options = parser.parse_args()
    data, began = load(), time.monotonic()
    truth = json.loads(RECORDED.read_text(encoding="utf-8")) if options.recorded else read(data)
    if options.record:
        RECORDED.write_text(json.dumps(truth, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    found = list(differences(data, truth))
    print("\n".join(found) if found else "The data says what the index says.")
    for file, row in drafts(data, truth):
        print(f"\n# new, for plugins/plugin_utils/data/{file}")
        print(yaml.safe_dump([row], sort_keys=False, default_flow_style=None, width=200), end="")
    count = len(truth["torch"]) + len(truth["tensorflow"])
    print(f"\n{count} releases, as read on {truth['read']}; {time.monotonic() - began:.0f} s; {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
