# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter fleet_table makes of a fleet: facts in, lines of text out. Private to the collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._preflight import LEVELS
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules import GB, TB, get, items
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules_gpu import bus_gpus
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules_host import local_namespaces

HEADING = ("host", "GPUs", "driver", "memory", "NVMe", "findings")
UNKNOWN = "-"


def fleet_table(names: Iterable[str], hostvars: Mapping[str, Any]) -> list[str]:
    """Return a heading and a line for each host, in the order of the names."""
    rows = [HEADING, *(_row(name, hostvars) for name in names)]
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(HEADING))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def _row(name: str, hostvars: Mapping[str, Any]) -> tuple[str, ...]:
    variables = hostvars.get(name, {})
    facts = variables.get("ansible_facts", {})
    facts = {subject: facts[subject] for subject in ("gpu", "memory", "nvme") if subject in facts}
    found = variables.get("preflight_findings", None)
    if not facts or found is None:  # facts without findings are those that a cache kept of an earlier run
        return (name, "not read")
    return (name, _gpus(facts), _driver(facts), _memory(facts), _nvme(facts), _findings(found))


def _gpus(facts: dict[str, Any]) -> str:
    if get(facts, "gpu", "pci") is None:
        return UNKNOWN
    models = Counter(gpu.get("model") or f"{gpu.get('vendor_id')}:{gpu.get('device_id')}" for gpu in bus_gpus(facts))
    words = ", ".join(f"{count} x {model}" for model, count in sorted(models.items())) or "none"
    return words if get(facts, "gpu", "root") in (None, "/") else f"{words} (EMULATED)"


def _driver(facts: dict[str, Any]) -> str:
    return get(facts, "gpu", "kernel", "driver_version") or get(facts, "gpu", "smi", "driver_version") or UNKNOWN


def _memory(facts: dict[str, Any]) -> str:
    total = get(facts, "memory", "total_bytes")
    return UNKNOWN if total is None else f"{total / GB:.0f} GB"


def _nvme(facts: dict[str, Any]) -> str:
    if get(facts, "nvme", "controllers") is None:
        return UNKNOWN
    sizes = [namespace.get("size_bytes") for namespace in local_namespaces(facts)]
    return f"{sum(size or 0 for size in sizes) / TB:.2f} TB" if sizes else "none"


def _findings(found: Any) -> str:
    counts = Counter(finding["severity"] for finding in items({"found": list(found)}, "found"))
    worst = next((level for level in reversed(LEVELS) if counts[level]), None)
    if worst is None:
        return "nothing"
    rules = dict.fromkeys(finding["rule"] for finding in found if finding["severity"] == worst)
    others = [f"{counts[level]} {level}" for level in reversed(LEVELS) if counts[level] and level != worst]
    return f"{worst}: {', '.join(rules)}" + (f" (and {', '.join(others)})" if others else "")
