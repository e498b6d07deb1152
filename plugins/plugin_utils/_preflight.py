# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The opinions of the role preflight: facts and expectations in, findings out.

Private to the collection. Each rule is a generator of messages below, found by its id in
C(_RULES). A rule that lacks the facts
it needs says nothing: the gap is reported by C(facts.gap), never taken for health.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

GB = 1000**3
TB = 1000**4

# How bad a finding is unless preflight_severity says otherwise. "fail" leaves the host untouched.
SEVERITIES = {
    "gpu.none": "warn",
    "gpu.unknown": "fail",
    "gpu.expected": "fail",
    "gpu.lost": "fail",
    "gpu.nouveau": "warn",
    "gpu.remap_pending": "fail",
    "gpu.remap_failure": "fail",
    "gpu.pages_pending": "fail",
    "gpu.disagreement": "warn",
    "memory.minimum": "warn",
    "memory.uncorrected": "fail",
    "nvme.minimum": "warn",
    "nvme.critical": "fail",
    "nvme.state": "fail",
    "cpu.minimum": "warn",
    "disk.space": "fail",
    "facts.gap": "info",
}
LEVELS = ("info", "warn", "fail")


def findings(facts: dict[str, Any], expectations: dict[str, Any]) -> list[dict[str, str]]:
    """Return every finding on one host, the worst first.

    ``facts`` is C(ansible_facts); ``expectations`` has the keys of the role's variables without
    their prefix. A finding is ``{rule, severity, message}``. ValueError names a rule or a severity
    that does not exist.
    """
    severities = {**SEVERITIES, **_checked(expectations.get("severity") or {})}
    found = [
        {"rule": rule, "severity": severities[rule], "message": message}
        for rule in SEVERITIES
        for message in _RULES[rule](facts, expectations)
    ]
    return sorted(found, key=lambda finding: -LEVELS.index(finding["severity"]))


def _checked(severities: dict[str, str]) -> dict[str, str]:
    for rule, level in severities.items():
        if rule not in SEVERITIES:
            raise ValueError(f"preflight_severity names the rule {rule!r}; there are {', '.join(SEVERITIES)}")
        if level not in LEVELS:
            raise ValueError(f"preflight_severity gives {rule} the severity {level!r}; use {', '.join(LEVELS)}")
    return severities


def _gpus(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [device for device in (facts.get("gpu") or {}).get("pci") or [] if device["kind"] == "gpu"]


def _smi_gpus(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return ((facts.get("gpu") or {}).get("smi") or {}).get("gpus") or []


def _gpu_none(facts, expectations) -> Iterator[str]:
    if "gpu" in facts and not _gpus(facts):
        yield "no NVIDIA or AMD GPU is on the PCI bus; frameworks are installed for the CPU"


def _gpu_unknown(facts, expectations) -> Iterator[str]:
    for gpu in _gpus(facts):
        if gpu["vendor"] == "nvidia" and gpu["architecture"] is None:
            yield (
                f"the GPU at {gpu['address']} has the PCI id {gpu['vendor_id']}:{gpu['device_id']}, which the GPU "
                "table does not know; update the collection, or add a row to its plugins/plugin_utils/data/gpus.yml"
            )


def _gpu_expected(facts, expectations) -> Iterator[str]:
    expected = expectations.get("expected_gpus") or {}
    if not expected or "gpu" not in facts:
        return
    model, count = str(expected.get("model", "")), expected.get("count")
    matching = [gpu for gpu in _gpus(facts) if model.lower() in (gpu["model"] or "").lower()]
    if count is not None and len(matching) != int(count):
        there = ", ".join(gpu["model"] or f"{gpu['vendor_id']}:{gpu['device_id']}" for gpu in _gpus(facts)) or "none"
        yield f"{count} x {model or 'GPU'} expected, {len(matching)} found (all GPUs on the bus: {there})"


def _gpu_lost(facts, expectations) -> Iterator[str]:
    smi = (facts.get("gpu") or {}).get("smi")
    if not smi:
        return
    # A GPU that fell off the bus may still be listed, by its address alone.
    answering = {gpu["address"] for gpu in _smi_gpus(facts) if gpu["uuid"]}
    for gpu in _gpus(facts):
        if gpu["kernel_driver"] == "nvidia" and gpu["address"] not in answering:
            yield (
                f"the GPU at {gpu['address']} is on the bus but does not answer nvidia-smi: "
                "power the host off and on, then reseat the card"
            )


def _gpu_nouveau(facts, expectations) -> Iterator[str]:
    for gpu in _gpus(facts):
        if gpu["kernel_driver"] == "nouveau":
            yield f"nouveau holds the GPU at {gpu['address']}; the NVIDIA driver gets it after a reboot"


def _health(field: str, words: str):
    def rule(facts, expectations) -> Iterator[str]:
        for gpu in _smi_gpus(facts):
            if gpu.get(field):
                yield f"the GPU at {gpu['address']} {words}"

    return rule


def _gpu_disagreement(facts, expectations) -> Iterator[str]:
    yield from (facts.get("gpu") or {}).get("disagreements") or []


def _memory_minimum(facts, expectations) -> Iterator[str]:
    total, wanted = (facts.get("memory") or {}).get("total_bytes"), expectations.get("minimum_memory_gb")
    if total is not None and wanted and total < wanted * GB:
        yield f"{total / GB:.0f} GB of memory, {wanted} GB expected"


def _memory_uncorrected(facts, expectations) -> Iterator[str]:
    for controller in (facts.get("memory") or {}).get("edac") or []:
        errors = controller["uncorrected"]
        if errors:
            yield f"memory controller {controller['controller']} counts {errors} uncorrected errors since boot"


def _nvme_minimum(facts, expectations) -> Iterator[str]:
    wanted = expectations.get("minimum_nvme_tb")
    if "nvme" not in facts or not wanted:
        return
    total = sum(
        namespace["size_bytes"] or 0 for drive in facts["nvme"]["controllers"] for namespace in drive["namespaces"]
    )
    if total < wanted * TB:
        yield f"{total / TB:.2f} TB of NVMe storage, {wanted} TB expected"


def _nvme_critical(facts, expectations) -> Iterator[str]:
    for drive in (facts.get("nvme") or {}).get("controllers") or []:
        raised = [bit for bit, on in ((drive["health"] or {}).get("critical_warning") or {}).items() if on]
        if raised:
            yield f"{drive['name']} ({drive['model']}, {drive['serial']}) warns of {', '.join(raised)}: replace it"


def _nvme_state(facts, expectations) -> Iterator[str]:
    for drive in (facts.get("nvme") or {}).get("controllers") or []:
        if drive["state"] not in (None, "live"):
            yield f"{drive['name']} ({drive['model']}) is {drive['state']}, not live"


def _cpu_minimum(facts, expectations) -> Iterator[str]:
    processors, wanted = (
        facts.get("processor_nproc") or facts.get("processor_vcpus"),
        expectations.get("minimum_processors"),
    )
    if processors is not None and wanted and processors < wanted:
        yield f"{processors} processors, {wanted} expected"


def _disk_space(facts, expectations) -> Iterator[str]:
    mounts = {mount["mount"]: mount for mount in facts.get("mounts") or []}
    for path, wanted in (expectations.get("minimum_free_gb") or {}).items():
        mount = mounts.get(path)
        if mount and mount.get("size_available") is not None and mount["size_available"] < wanted * GB:
            yield f"{mount['size_available'] / GB:.1f} GB are free on {path}, {wanted} GB needed"


def _facts_gap(facts, expectations) -> Iterator[str]:
    for subject in ("gpu", "memory", "nvme"):
        for gap in (facts.get(subject) or {}).get("gaps") or []:
            yield f"{subject}: {gap}"


_RULES = {
    "gpu.none": _gpu_none,
    "gpu.unknown": _gpu_unknown,
    "gpu.expected": _gpu_expected,
    "gpu.lost": _gpu_lost,
    "gpu.nouveau": _gpu_nouveau,
    "gpu.remap_pending": _health(
        "row_remap_pending", "has memory rows waiting to be remapped: reset it before it computes again"
    ),
    "gpu.remap_failure": _health(
        "row_remap_failure", "could not remap a failed memory row: isolate it and have it replaced"
    ),
    "gpu.pages_pending": _health(
        "retired_pages_pending", "has memory pages waiting to be retired: reboot before it computes again"
    ),
    "gpu.disagreement": _gpu_disagreement,
    "memory.minimum": _memory_minimum,
    "memory.uncorrected": _memory_uncorrected,
    "nvme.minimum": _nvme_minimum,
    "nvme.critical": _nvme_critical,
    "nvme.state": _nvme_state,
    "cpu.minimum": _cpu_minimum,
    "disk.space": _disk_space,
    "facts.gap": _facts_gap,
}
