# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module training_check makes of the program's answer. Private to the collection."""

import json
import math
from typing import Any, Dict, List, Optional

# The option of the program for each option of the module that is passed on.
WORDS = (
    "data",
    "checksum",
    "dataset",
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "seed",
    "device",
    "expected_gpus",
    "threads",
    "minimum_accuracy",
    "cache_dir",
    "ca_file",
)
# What a result that says "passed" cannot do without.
NEEDED = (
    "accuracy",
    "minimum_accuracy",
    "loss_per_epoch",
    "images_per_second",
    "seconds",
    "device",
    "data",
    "versions",
)
TAIL_LINES = 5


def command(options: Dict[str, Any], report: str) -> List[str]:
    """Return the command that runs the program and lets it write its result to ``report``."""
    argv = [options["python"], options["program"], "--json", report]
    for name in WORDS:
        if options.get(name) not in (None, ""):
            argv.append("--{}={}".format(name.replace("_", "-"), options[name]))
    return argv


def parse_result(text: str) -> Optional[Dict[str, Any]]:
    """Return the program's result, or None where the text is not one that can be believed."""
    try:
        result = json.loads(text)
    except ValueError:
        return None
    if not isinstance(result, dict) or result.get("result") not in ("passed", "failed"):
        return None
    if result["result"] == "failed":
        return result if isinstance(result.get("reason"), str) and result["reason"] else None
    accuracy, minimum = result.get("accuracy"), result.get("minimum_accuracy")
    if any(name not in result for name in NEEDED) or not _is_share(accuracy) or not _is_share(minimum):
        return None
    return result if accuracy >= minimum else None


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def broken_off(error: Optional[str], rc: Optional[int], output: str, python: str) -> str:
    """Return the sentence for a program that gave no result."""
    if error == "not found":
        return (
            f"there is no {python}; run the role pytorch first, or name the environment in training_check_environment"
        )
    what = error or f"ended with status {rc} and without a result"
    said = " / ".join(line.strip() for line in output.strip().splitlines()[-TAIL_LINES:])
    return "the training {}{}".format(what, ": " + said if said else "")
