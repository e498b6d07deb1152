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
        yield "training", _training(facts["training"])
    if "failed" in facts:
        yield "FAILED", " ".join(facts["failed"].split())


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
    driver, python, pytorch = plan["driver"], plan["python"], plan["pytorch"]
    if driver["branch"]:
        what = (
            driver["version"]
            if driver["source"] == "loaded"
            else f"{driver['version']} {driver['flavor']}, planned only"
        )
        yield "driver", f"{what}: {driver['reason']}"
    yield "python", f"{python['version']} from {python['source']}: {python['reason']}"
    yield "pytorch", f"{pytorch['version']} ({pytorch['variant']}): {pytorch['reason']}"


def _training(training: dict[str, Any]) -> str:
    if training.get("accuracy") is None:
        return f"{training['result']}: {training.get('reason') or ''}".rstrip(": ")
    text = (
        f"{training['result']}: accuracy {training['accuracy']:.3f} "
        f"(at least {training['minimum_accuracy']:.2f} wanted), {training['epochs']} epochs on {training['data']}; "
        f"{training['images_per_second']:.0f} images/s, {training['seconds']:.1f} s on {_device(training)}"
    )
    return text if training["result"] == "passed" else f"{text}. {training.get('reason') or ''}"


def _device(training: dict[str, Any]) -> str:
    if training["device"] == "cpu":
        return "the CPU"
    return f"{training['device']} ({training.get('device_name')})"
