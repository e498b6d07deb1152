# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fleet_report says about a host: facts in, lines of text out. Private to the collection."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

FACTS = ("gpu", "memory", "nvme", "stack_plan", "training")
GB = 1000**3
WIDTH = 118
INDENT = 14


def block(name: str, facts: dict[str, Any]) -> list[str]:
    """Return the lines about one host: its name, then a labelled paragraph for each thing known of it."""
    lines = [name]
    for label, text in _paragraphs(facts):
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {label:<{INDENT - 2}}",
            subsequent_indent=" " * INDENT,
            break_on_hyphens=False,
        )
    return lines


def _paragraphs(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "gpu" in facts:
        yield "hardware", "; ".join(_hardware(facts))
        if facts["gpu"]["root"] != "/":
            yield (
                "",
                f"EMULATED: this hardware was read from files below {facts['gpu']['root']}, not from the host itself.",
            )
    if facts.get("stack_plan"):
        yield from _plan(facts["stack_plan"])
    if facts.get("training"):
        for number, text in enumerate(_training(facts["training"])):
            yield "" if number else "training", text
    if "failed" in facts:
        yield "FAILED", " ".join(facts["failed"].split())
    elif facts.get("waits") and facts.get("stack_plan"):
        yield "NOT BEGUN", "the batch before this one failed, so nothing of the plan was done here"


def _hardware(facts: dict[str, Any]) -> Iterator[str]:
    gpus = Counter(
        (gpu["model"] or f"unknown {gpu['vendor_id']}:{gpu['device_id']}", gpu["compute_capability"])
        for gpu in facts["gpu"]["pci"]
        if gpu["kind"] == "gpu"
    )
    for (model, capability), count in sorted(gpus.items(), key=str):
        yield f"{count} x {model}" + (f" (compute capability {capability})" if capability else "")
    if not gpus:
        yield "no GPU"
    memory = facts.get("memory") or {}
    if memory.get("total_bytes"):
        yield f"{memory['total_bytes'] / GB:.0f} GB memory"
    for drive in (facts.get("nvme") or {}).get("controllers") or []:
        size = sum(namespace["size_bytes"] or 0 for namespace in drive["namespaces"])
        yield f"{drive['name']} {size / GB:.0f} GB NVMe"


def _plan(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "refused" in plan:  # why stands under FAILED
        return
    driver, python, pytorch = plan["driver"], plan["python"], plan["pytorch"]
    wanted = plan.get("wanted", ["pytorch"])
    if driver["branch"]:
        what = driver["version"]
        if driver["source"] != "loaded":  # from a distribution comes what it has of the branch
            what = driver["branch"] if driver["source"] == "distribution" else what
            what += f" {driver['flavor']}"
            what += f" from {driver['source']}" if "nvidia_driver" in wanted else ", planned only"
        yield "driver", f"{what}: {driver['reason']}"
    yield "python", f"{python['version']} from {python['source']}: {python['reason']}"
    if "pytorch" in wanted:
        yield "pytorch", f"{pytorch['version']} ({pytorch['variant']}): {pytorch['reason']}"
    if "tensorflow" in wanted:
        flow = plan["tensorflow"]
        yield "tensorflow", f"{flow['version']} (build for {flow['build']}): {flow['reason']}"


def _training(training: dict[str, Any]) -> Iterator[str]:
    """Yield a paragraph for each framework, and one for what was found and is no failure."""
    told = [name for name in ("pytorch", "tensorflow") if training.get(name)]
    if not told:
        yield f"{training['result']}: {training.get('reason') or ''}".rstrip(": ")
    for name in told:
        yield f"{name} {_framework(training[name])}"
    warnings = [one["sentence"] for one in training.get("findings") or [] if one["severity"] == "warn"]
    if warnings:
        yield f"but {'; '.join(warnings)}"


def _framework(told: dict[str, Any]) -> str:
    if told["accuracy"] is None:  # why it failed stands under FAILED
        return told["result"]
    text = (
        f"{told['result']}: accuracy {told['accuracy']:.3f} (at least {told['minimum_accuracy']:.2f} wanted), "
        f"{told['training']['epochs']} epochs on {told['data']['words']}; {told['images_per_second']:.0f} images/s "
        f"on {_trained(told['devices'])}, {told['seconds']:.0f} s in all"
    )
    if told["together"] and told["together"]["images_per_second"]:
        text += f"; {told['together']['count']} together {told['together']['images_per_second']:.0f} images/s"
    return text


def _trained(devices: list[dict[str, Any]]) -> str:
    if devices[0]["kind"] == "cpu":
        return "the CPU"
    first = f"{devices[0]['label']} ({devices[0]['name']})"
    return f"{first}, the first of {len(devices)} that trained" if len(devices) > 1 else first
