# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the compatibility data that lies beside this file. Private to the collection."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # every task is a process that reads the data anew: 10 times faster
SUBJECTS = ("ansible", "bigdata", "cuda", "drivers", "gpus", "performance", "python", "pytorch", "tensorflow")


@lru_cache(maxsize=None)
def load(subject: str) -> dict[str, Any]:
    """Return one subject's data, read once for each process. It is shared: do not change it."""
    text = (Path(__file__).parent / "data" / f"{subject}.yml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=LOADER)  # noqa: S506 (a safe loader either way)


def load_all() -> dict[str, dict[str, Any]]:
    """Return every subject's data by its name."""
    return {subject: load(subject) for subject in SUBJECTS}


def gpu_models() -> list[dict[str, Any]]:
    """Return one row for each known PCI device, in the form of the option C(models) of the module gpu_facts."""
    data = load("gpus")
    gpus = [
        {
            "vendor_id": row["vendor_id"],
            "device_id": device_id,
            "kind": "gpu",
            "key": row["key"],
            "name": row["name"],
            "architecture": row["architecture"],
            "compute_capability": data["architectures"][row["architecture"]]["compute_capability"],
        }
        for row in data["gpus"]
        for device_id in row["device_ids"]
    ]
    switches = [
        {"vendor_id": row["vendor_id"], "device_id": row["device_id"], "kind": "nvswitch", "name": row["name"]}
        for row in data["nvswitches"]
    ]
    return gpus + switches


def gpu_figures(own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each GPU is known for, as the option C(figures) of the module training_check has it.

    What a site knows better, it says in ``own``: a row of the same key overrides value by value, another is added.
    """
    data = load("performance")
    known = {row["key"]: row for row in data["figures"]}
    for row in own:
        known[row["key"]] = {**known.get(row["key"], {}), **row}
    return [
        {
            "key": row["key"],
            "names": row.get("names") or [],
            "matmul_tflops": {precision: row.get(precision) for precision in ("fp32", "tf32", "fp16")},
            "memory_gb_per_second": row.get("memory"),
            "all_reduce_gb_per_second": row.get("all_reduce"),
            "images_per_second": row.get("images_per_second") or {},
            "least": {**data["least"], **(row.get("least") or {})},
        }
        for row in known.values()
    ]
