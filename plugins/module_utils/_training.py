# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the training program in each environment and makes the fact ``training`` of its answers. Private.

The program measures, _training_judge judges; here both are put together.
"""

import json
import math
import os
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._training_findings import finding
from ansible_collections.gpufleet.workstation.plugins.module_utils._training_judge import (
    judge_probe,
    judge_run,
    last_line,
    least_accuracy,
    verdict,
)

FRAMEWORKS = ("pytorch", "tensorflow")
# What the program has beyond its own limit to tell what it knows, before it is killed: at most so many seconds, and no
# more than this share of its time.
GRACE_SECONDS = 15
GRACE_SHARE = 0.1
PROBE_SECONDS = 300
# The option of the program for each option of the module that is passed on.
WORDS = (
    "data",
    "checksum",
    "dataset",
    "device",
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "seed",
    "threads",
    "cpu_workers",
    "cache_dir",
    "ca_file",
    "hdfs",
    "nvidia_smi",
)
FLAGS = (("fast", "--no-fast"), ("benchmark", "--no-benchmark"), ("together", "--no-together"))
LOOP = ("loss_per_epoch", "accuracy", "seconds", "images_per_second")
NOT_RUN = "not run: check mode"

Answer = Tuple[Optional[Dict[str, Any]], Optional[str], Optional[int], str]


def command(options: Dict[str, Any], what: str, framework: str, limit: float, report: str) -> List[str]:
    """Return the command that runs the program and lets it write its answer to ``report``."""
    python = os.path.join(options["environments"][framework], "bin", "python")
    argv = [python, options["program"], what, "--framework=" + framework, "--json", report, "--with-parent"]
    argv.append(f"--time-limit={limit:.2f}")
    for name in WORDS:
        if options.get(name) not in (None, ""):
            argv.append("--{}={}".format(name.replace("_", "-"), options[name]))
    return argv + [word for name, word in FLAGS if not options[name]]


def wanted(options: Dict[str, Any], framework: str) -> Dict[str, Any]:
    """Return what the measurements are judged against."""
    gpus = options["gpus"] or []
    return {
        "python": os.path.join(options["environments"][framework], "bin", "python"),
        "device": options["device"],
        "expected": len(gpus) if options["expected_gpus"] is None else options["expected_gpus"],
        "framework": framework,
        "gpus": gpus,
        "figures": options["figures"] or [],
        "epochs": options["epochs"],
        "minimum_accuracy": options["minimum_accuracy"],
        "curve_tolerance": options["curve_tolerance"],
        "limit": options["timeout"],
    }


def parse(text: str) -> Optional[Dict[str, Any]]:
    """Return the program's answer, or None where the text is none."""
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def check(
    options: Dict[str, Any], ask: Callable[[Callable[[str], List[str]], float], Answer], clock=time.monotonic
) -> Dict[str, Any]:
    """Return the fact for all frameworks. ``ask`` runs a command with a limit and gives JSON, error, status, output."""
    begin = clock()
    end = begin + options["timeout"]
    names = [name for name in FRAMEWORKS if name in options["environments"]]
    fact = empty()
    for number, name in enumerate(names):
        share = (end - clock()) / (len(names) - number)
        fact[name] = check_framework(options, name, ask, clock, clock() + share)
    findings = [dict(one, framework=name) for name in names for one in fact[name]["findings"]]
    fact["result"], fact["reason"] = verdict(findings)
    if len(names) > 1 and fact["reason"]:
        fact["reason"] = " ".join("{}: {}".format(name, fact[name]["reason"]) for name in names if fact[name]["reason"])
    fact["findings"] = findings
    fact["seconds"] = round(clock() - begin, 3)
    return finite(fact)


def finite(value: Any) -> Any:
    """Return a structure with null for each number that JSON has no way to write; the findings have named it."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def empty() -> Dict[str, Any]:
    """Return a fact with nothing in it."""
    return {"result": NOT_RUN, "reason": "", "pytorch": None, "tensorflow": None, "findings": [], "seconds": 0.0}


def check_framework(options, name, ask, clock, end) -> Dict[str, Any]:
    """Return what is to be said of one framework, before ``end``."""
    begin = clock()
    measure = wanted(options, name)
    answer, found = _ask(options, "probe", name, min(PROBE_SECONDS, (end - clock()) / 2), ask, measure)
    probe = (answer or {}).get("probe")
    if probe:
        found = judge_probe(name, probe, measure)
    measured = None  # type: Optional[Dict[str, Any]]
    if verdict(found)[0] == "passed":
        answer, trouble = _ask(options, "run", name, end - clock(), ask, measure)
        found += judge_run(answer, measure) if answer else trouble
        measured = answer
    result = describe(probe, measured, found, measure)
    result["seconds"] = round(clock() - begin, 3)
    return result


def _ask(options, what, name, seconds, ask, measure):
    """Return the program's answer, or None and a finding of why there is none."""
    key = {"probe": "probe", "run": "data"}[what]
    limit = seconds - min(GRACE_SECONDS, seconds * GRACE_SHARE)
    answer, error, status, said = ask(lambda report: command(options, what, name, limit, report), seconds)
    if answer is not None and isinstance(answer.get(key), dict):
        return answer, []
    words = {"framework": name, "python": measure["python"]}
    if error == "not found":
        return None, [finding("environment.missing", **words)]
    if error and error.startswith("timed out"):
        return None, [finding("check.broken", said=f"it {error}")]
    if error:  # such as a file that may not be executed
        return None, [finding("environment.broken", said=error, **words)]
    code = "environment.broken" if what == "probe" else "check.broken"
    return None, [finding(code, said=f"status {status}: {last_line(said)}", **words)]


# --- the result


def describe(probe, measured, found, measure) -> Dict[str, Any]:
    """Return the result of a framework: the same structure whatever happened, null where nothing is known."""
    result, reason = verdict(found)
    told = ((probe or {}).get("environment") or {}).get("result") or {}
    data = (((measured or {}).get("data") or {}).get("result") or {}).get("data")
    devices = [_device(entry, found) for entry in (measured or {}).get("devices") or []]
    headline = next((device for device in devices if device["plain"]), None)
    return {
        "result": result,
        "reason": reason,
        "environment": {
            "python": told.get("python"),
            "framework": told.get("framework"),
            "cuda": told.get("cuda"),
            "cudnn": told.get("cudnn"),
            "numpy": told.get("numpy"),
            "architectures": told.get("architectures") or [],
        },
        "data": data,
        "training": (measured or {}).get("training"),
        "accuracy": headline["plain"]["accuracy"] if headline else None,
        "minimum_accuracy": least_accuracy(data["name"], measure) if data else None,
        "images_per_second": (headline["fast"] or headline["plain"])["images_per_second"] if headline else None,
        "devices": devices,
        "together": _together((measured or {}).get("together"), found),
        "findings": found,
        "seconds": None,
    }


def _device(entry: Dict[str, Any], found: List[Dict[str, Any]]) -> Dict[str, Any]:
    device = entry["device"]
    told = (entry["outcome"] or {}).get("result") or {}
    result, reason = verdict([one for one in found if one["device"] == device["label"]])
    plain, fast = told.get("plain"), told.get("fast")
    rates = told.get("rates") or {}
    return {
        "label": device["label"],
        "kind": device["kind"],
        "id": device["id"],
        "pci_address": device.get("pci_address"),
        "name": told.get("name") or device.get("name"),
        "capability": told.get("capability"),
        "memory_bytes": told.get("memory_bytes"),
        "multiprocessors": told.get("multiprocessors"),
        "trained_on": told.get("trained_on"),
        "result": result,
        "reason": reason,
        "plain": dict({name: plain.get(name) for name in LOOP}, parameters=plain.get("parameters")) if plain else None,
        "fast": dict(
            {name: fast.get(name) for name in LOOP},
            batch_size=fast.get("batch_size"),
            precision=fast.get("precision"),
            graph=fast.get("graph"),
        )
        if fast
        else None,
        "matmul_tflops": rates.get("matmul_tflops"),
        "memory_gb_per_second": rates.get("memory_gb_per_second"),
        "clocks": entry["clocks"],
    }


def _together(joint: Optional[Dict[str, Any]], found: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    if joint is None:
        return None
    told = (joint["outcomes"][0].get("result") or {}) if joint["outcomes"] else {}
    about = ("together.", "speed.all_reduce")
    result, reason = verdict([one for one in found if one["device"] is None and one["code"].startswith(about)])
    return dict(
        {name: told.get(name) for name in LOOP},
        count=joint["count"],
        backend=told.get("backend"),
        all_reduce_gb_per_second=told.get("all_reduce_gb_per_second"),
        result=result,
        reason=reason,
    )


# --- the program's files


def outdated(folder: str, files: Dict[str, str], read: Callable[[str], str], listed: List[str]) -> List[str]:
    """Return the names of the program's files that differ, lack or are too many in a folder."""
    different = [name for name, text in files.items() if read(os.path.join(folder, name)) != text]
    return sorted(different + [name for name in listed if name.endswith(".py") and name not in files])
