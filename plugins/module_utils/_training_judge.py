# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict of the training check: what was measured in, findings and a result out. Private to the collection.

Pure functions. What is missing in a measurement is a finding, never a pass.
"""

import math
import re
import statistics
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._training_findings import FAIL, finding

# A GPU under this share of its twins' median throughput is a straggler.
STRAGGLER = 0.85
# Curves of the same seed on identical GPUs, compared epoch by epoch: further apart is wrong, closer but not equal is
# told. The plain loop uses deterministic kernels, so that equal is what a good pair of GPUs is.
CURVE_TOLERANCE = 0.01
ROUNDING = 1e-6
# Fast mode may be worse than the plain loop by one point; the sampling error of both on the test images comes on top.
FAST_POINTS = 0.01
SIGMAS = 2.0
# The second is of a device alone with the usual number of epochs; fewer, or larger steps taken together, reach less.
MINIMUM_ACCURACY = {"digits": (0.90, 0.90), "cifar10": (0.50, 0.65)}
USUAL_EPOCHS = 10
# What a training that counts cannot lack.
NEEDED = ("loss_per_epoch", "accuracy", "images_per_second", "seconds")

LIBRARY = re.compile(r"(lib[\w+.-]+?\.so[\w.]*): cannot open shared object file")
TENSORFLOW_LIBRARY = re.compile(r"Could not load dynamic library '([^']+)'")
GLIBC = re.compile(r"version `(GLIBC_[\d.]+)' not found")
NUMPY_ABI = re.compile(
    r"compiled using NumPy 1\.x|_ARRAY_API not found|numpy\.core\.(multiarray|umath) failed to import|"
    r"numpy\.dtype size changed|ndarray size changed|module compiled against (ABI|API) version|Numpy is not available|"
    r"numpy has no attribute|module 'numpy' has no attribute"
)
DRIVER_OLD = re.compile(r"driver .{0,60}(too old|insufficient)|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", re.IGNORECASE)
DRIVER_MISSING = re.compile(r"no NVIDIA driver|couldn't communicate with the NVIDIA driver", re.IGNORECASE)
FABRIC = re.compile(r"system not yet initialized|SYSTEM_NOT_READY")
BUSY = re.compile(r"busy or unavailable|DEVICE_UNAVAILABLE")
MEMORY = re.compile(
    r"out of memory|OutOfMemory|ResourceExhausted|OOM when|Cannot allocate memory|DefaultCPUAllocator|_ALLOC_FAILED"
)
ECC = re.compile(r"ECC error|uncorrectable", re.IGNORECASE)
FAULT = re.compile(
    r"CUDA error|CUDA_ERROR|cuDNN error|CUDNN_STATUS|CUBLAS_STATUS|cublas|illegal memory access|unspecified launch|"
    r"misaligned address|device-side assert|NCCL|GPU is lost|fallen off the bus",
    re.IGNORECASE,
)


BROKEN = (("training.ecc", ECC), ("training.busy", BUSY), ("training.memory", MEMORY), ("training.fault", FAULT))
# How a process that calls abort() says why.
ABORTED = re.compile(ECC.pattern + r"|Check failed|Non-OK-status|what\(\):|handling error|CUDA error|CUDA_ERROR", re.I)
# What the fast loop may fail by on a good GPU.
UNSUPPORTED = re.compile(r"captur|NOT_SUPPORTED")


def last_line(text: Optional[str], limit: int = 300) -> str:
    """Return the last thing that somebody said."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1][:limit] if lines else "it said nothing"


def line_with(pattern: "re.Pattern[str]", text: Optional[str]) -> Optional[str]:
    """Return the first line that has something in it, or None."""
    return next((line.strip()[:300] for line in (text or "").splitlines() if pattern.search(line)), None)


def code_runs(flag: str, capability: Tuple[int, int]) -> Optional[str]:
    """Return how code for an architecture runs on a device: as C(sm), as C(ptx), or None.

    Machine code runs on later devices of the same generation, with a letter on its very device only; PTX on every
    later device.
    """
    match = re.match(r"(sm|compute)_(\d+)(\d)([a-z]?)$", flag)
    if not match:
        return None
    made_for = (int(match.group(2)), int(match.group(3)))
    if match.group(4):
        return "sm" if capability == made_for and match.group(1) == "sm" else None
    if made_for > capability:
        return None
    if match.group(1) == "compute":
        return "ptx"
    return "sm" if made_for[0] == capability[0] else None


def kernels(architectures: List[str], capability: Optional[str]) -> Optional[str]:
    """Return C(sm) where a build has machine code for a device, C(ptx), C(none), or None where that is not known."""
    parts = (capability or "").split(".")
    if not architectures or len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    ways = {code_runs(flag, (int(parts[0]), int(parts[1]))) for flag in architectures}
    return "sm" if "sm" in ways else "ptx" if "ptx" in ways else "none"


# --- the environment and the devices, before training


def judge_probe(framework: str, probe: Dict[str, Any], wanted: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the findings about an environment and what it sees.

    ``wanted`` has C(python), C(device), C(expected) (how many GPUs the host has) and C(gpus), its GPUs as the facts
    know them.
    """
    outcome = probe["environment"]
    words = {"framework": framework, "python": wanted["python"]}
    found = list(_environment(outcome, words))
    if not found and wanted["device"] != "cpu":
        found += _devices(framework, probe, wanted)
    return found


def _environment(outcome: Dict[str, Any], words: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield what keeps an environment from being used at all; the first thing is the only one."""
    told, said = outcome.get("result") or {}, outcome.get("said") or ""
    if outcome["hung"]:
        yield finding("environment.hung", limit=outcome["limit"], stuck=f"stopped while {outcome['phase']}", **words)
    elif outcome["signal"]:
        yield finding("environment.killed", signal=outcome["signal"], **words)
    elif told.get("numpy_error"):
        code = "numpy.missing" if _lacks(told["numpy_error"], "numpy") else "framework.broken"
        yield finding(code, said="NumPy: " + told["numpy_error"], **words)
    elif told.get("framework_error"):
        yield _import_failed(told, said, words)
    elif outcome["rc"] != 0 or outcome["error"] or not told.get("framework"):
        yield finding("environment.broken", said=outcome["error"] or last_line(said), **words)
    elif told["round_trip"] is None or told["round_trip"]:
        yield _round_trip(told, said, words)


def _lacks(error: str, module: str) -> bool:
    return bool(re.search(rf"No module named '{module}'$", error))


def _import_failed(told: Dict[str, Any], said: str, words: Dict[str, Any]) -> Dict[str, Any]:
    error = told["framework_error"]
    whole = error + "\n" + said
    module = {"pytorch": "torch"}.get(words["framework"], words["framework"])
    if _lacks(error, module):
        return finding("framework.missing", **words)
    if NUMPY_ABI.search(whole):
        return finding("numpy.abi", numpy=told.get("numpy"), version="", said=error, **words)
    if LIBRARY.search(error):
        return finding("framework.library_missing", library=LIBRARY.search(error).group(1), **words)
    if GLIBC.search(error):
        return finding("framework.glibc", library=GLIBC.search(error).group(1), **words)
    return finding("framework.broken", said=error, **words)


def _round_trip(told: Dict[str, Any], said: str, words: Dict[str, Any]) -> Dict[str, Any]:
    trouble = told["round_trip"] or "it was not tried"
    if NUMPY_ABI.search(trouble + "\n" + said):
        return finding("numpy.abi", numpy=told["numpy"], version=told["framework"], said=trouble, **words)
    return finding("numpy.round_trip", numpy=told["numpy"], said=trouble, **words)


def _devices(framework: str, probe: Dict[str, Any], wanted: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield what is wrong with the devices that a framework sees."""
    told, said = probe["environment"]["result"], probe["environment"].get("said") or ""
    devices = probe["devices"]
    mig = [device for device in devices if device["kind"] == "mig"]
    empty = [device for device in devices if device["kind"] == "gpu" and device.get("mig_mode")]
    for device in empty:
        yield finding("gpu.mig_empty", device["label"], name=device["name"])
    expected = max(wanted["expected"], 1 if wanted["device"] == "gpu" else 0)
    # With MIG a process sees one device, so the cards are counted as nvidia-smi lists them.
    seen = len({device["index"] for device in devices}) if mig or empty else len(told["gpus"])
    if not told["gpus"] and not (empty and not mig):
        seen = 0
    words = {
        "framework": framework,
        "version": told["framework"],
        "cuda": told["cuda"],
        "expected": expected,
        "seen": seen,
        "visible": told.get("visible"),
    }
    if seen < expected:
        yield _too_few(probe, said, wanted["gpus"], words)
    elif seen > expected > 0:
        yield finding("gpu.more", **words)
    yield from _kernels(framework, told, wanted)


def _too_few(probe: Dict[str, Any], said: str, gpus: List[Dict[str, Any]], words: Dict[str, Any]) -> Dict[str, Any]:
    """Return why fewer GPUs are seen than are there, the most basic reason first."""
    told = probe["environment"]["result"]
    trouble = told.get("gpus_error") or ""
    if not told["cuda"]:
        return finding("gpu.cpu_only", **words)
    if words["visible"] is not None:
        return finding("gpu.hidden", **words)
    if DRIVER_OLD.search(trouble + said):
        return finding("gpu.driver_old", said=trouble or last_line(said), **words)
    if not probe["devices"] and (DRIVER_MISSING.search(trouble) or probe["smi_error"]):
        return finding("gpu.driver_missing", said=probe["smi_error"] or trouble, **words)
    library = TENSORFLOW_LIBRARY.search(said)
    if library or "Cannot dlopen some GPU libraries" in said:
        return finding("gpu.libraries", library=library.group(1) if library else "some GPU libraries", **words)
    fabric = line_with(FABRIC, trouble + "\n" + said)
    if fabric:
        return finding("gpu.fabric", said=fabric, **words)
    cause = ": " + trouble if trouble else ""
    listed = {device["pci_address"] for device in probe["devices"]} - {None}
    gone = sorted({gpu["address"] for gpu in gpus if gpu.get("address")} - listed)
    if listed and gone:
        cause += "; nvidia-smi does not list " + " and ".join(gone)
    return finding("gpu.too_few", cause=cause, **words)


def _kernels(framework: str, told: Dict[str, Any], wanted: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield each model of GPU that the build has no code for, those that only the facts know included."""
    models = {(gpu.get("model") or "a GPU", gpu.get("compute_capability")) for gpu in wanted["gpus"]}
    models |= {(gpu["name"], gpu["capability"]) for gpu in told["gpus"]}
    told_of = set()
    for name, capability in sorted(models, key=str):
        way = kernels(told["architectures"], capability)
        if way in ("none", "ptx") and capability not in told_of:
            told_of.add(capability)
            yield finding(
                "gpu.no_kernels" if way == "none" else "gpu.through_ptx",
                framework=framework,
                version=told["framework"],
                name=name,
                capability=capability,
                built=" ".join(told["architectures"]),
            )


# --- the data


def judge_data(outcome: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield what is wrong with the images, or that they are a substitute."""
    told = outcome.get("result") or {}
    if told.get("code"):
        yield finding(told["code"], said=told["sentence"])
    elif not told.get("data"):
        said = outcome["error"] or (
            f"it took longer than {outcome['limit']:.0f} s" if outcome["hung"] else last_line(outcome.get("said"))
        )
        yield finding("data.broken", said=said)
    elif told["data"].get("substitute_for"):
        yield finding("data.substitute", words=told["data"]["words"])


# --- each device


def judge_device(entry: Dict[str, Any], framework: str, dataset: Dict[str, Any], wanted: Dict[str, Any]) -> Iterator:
    """Yield what is wrong with one device by itself."""
    device, outcome = entry["device"], entry["outcome"]
    label = device["label"]
    if outcome is None:
        yield finding("check.out_of_time", label, limit=wanted["limit"])
        return
    broken = broken_off(outcome, label, framework)
    if broken:
        yield broken
    told = outcome.get("result") or {}
    kind = "cpu" if device["kind"] == "cpu" else "cuda"
    if told.get("trained_on") not in (None, kind):
        yield finding("device.wrong", label, trained=told["trained_on"], framework=framework)
    plain = told.get("plain") or {}
    missing = [name for name in NEEDED if plain.get(name) in (None, [])]
    if broken and missing:
        return
    if not told.get("trained_on"):
        missing.append("the device that trained")
    if missing:
        yield finding("training.incomplete", label, missing=", ".join(missing))
        return
    yield from _learning(plain, label, dataset["name"], wanted)
    yield from _fast(told, label, framework, dataset)


def broken_off(outcome: Dict[str, Any], label: str, framework: str) -> Optional[Dict[str, Any]]:
    """Return the finding for a worker that did not reach its end."""
    words = {"phase": outcome["phase"], "framework": framework}
    error = outcome["error"] or ""
    if outcome["hung"]:
        return finding("training.hung", label, limit=outcome["limit"], **words)
    if not error and outcome["rc"] == 0 and outcome["phase"] == "done":
        return None
    aborted = why_aborted(outcome)
    said = error or aborted or last_line(outcome.get("said"))
    code = blame(said) if aborted or not outcome["signal"] else None
    if outcome["signal"] and not code:
        cause = ": " + aborted if aborted else ""
        return finding("training.killed", label, signal=outcome["signal"], cause=cause, **words)
    return finding(code or "training.broken", label, said=said, **words)


def why_aborted(outcome: Dict[str, Any]) -> Optional[str]:
    """Return why a process that called abort() did so, or None."""
    return line_with(ABORTED, outcome.get("said")) if outcome["signal"] == "SIGABRT" else None


def blame(said: str) -> Optional[str]:
    """Return the finding that an error is known as, or None."""
    return next((code for code, pattern in BROKEN if pattern.search(said)), None)


def number(value: Any) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def least_accuracy(dataset: str, wanted: Dict[str, Any], together: bool = False) -> float:
    """Return the accuracy that a device has to reach, or all of them together."""
    asked = wanted.get("minimum_accuracy")
    usual = wanted["epochs"] >= USUAL_EPOCHS and not together
    return asked if asked is not None else MINIMUM_ACCURACY[dataset][usual]


def _learning(plain: Dict[str, Any], label: str, dataset: str, wanted: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    losses, accuracy = plain["loss_per_epoch"], plain["accuracy"]
    for epoch, loss in enumerate(losses, 1):
        if not number(loss):
            yield finding("training.not_finite", label, epoch=epoch, loss=loss)
            return
    if len(losses) > 1 and losses[-1] >= losses[0]:
        yield finding("training.not_falling", label, first=losses[0], last=losses[-1])
    if not number(accuracy) or not 0 <= accuracy <= 1:
        yield finding("training.incomplete", label, missing=f"an accuracy (it says {accuracy!r})")
    elif accuracy < least_accuracy(dataset, wanted):
        yield finding(
            "training.inaccurate", label, accuracy=accuracy, dataset=dataset, minimum=least_accuracy(dataset, wanted)
        )


def allowance(accuracy: float, images: int) -> float:
    """Return by how much fast mode may be worse: a point, and two standard errors of the difference of two shares."""
    share = min(max(accuracy, 0.0), 1.0)
    return FAST_POINTS + SIGMAS * math.sqrt(2 * share * (1 - share) / max(images, 1))


def _fast(told: Dict[str, Any], label: str, framework: str, dataset: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    if told.get("fast_error"):
        said = told["fast_error"]
        code = blame(said) if not UNSUPPORTED.search(said) else None
        code = code if code in ("training.ecc", "training.fault") else "training.fast_failed"
        yield finding(code, label, said=said, framework=framework, phase="in the fast loop")
    fast, accuracy = told.get("fast"), told["plain"]["accuracy"]
    if not fast or not number(accuracy) or not 0 <= accuracy <= 1:
        return
    allowed = allowance(accuracy, dataset["test_images"])
    reached = fast.get("accuracy")
    if not number(reached) or not all(number(loss) for loss in fast.get("loss_per_epoch") or [None]):
        yield finding("training.not_finite", label, epoch="the fast loop", loss="no number")
    elif reached < accuracy - allowed:
        yield finding("training.fast_inaccurate", label, fast=reached, accuracy=accuracy, allowed=allowed)


# --- the devices among each other


def curve_distance(curve: List[float], reference: List[float]) -> float:
    """Return how far two loss curves are apart at most, as a share of the reference; infinite without an answer."""
    if len(curve) != len(reference) or not all(number(loss) for loss in curve + reference):
        return math.inf
    # Late losses are near 0, where a share would say little: a hundredth of the first loss is the least divisor.
    floor = max(abs(reference[0]) * 0.01, 1e-9)
    return max(abs(a - b) / max(abs(b), floor) for a, b in zip(curve, reference))


def twins(entries: List[Dict[str, Any]]) -> List[List[Dict[str, Any]]]:
    """Return the groups of identical devices that trained, two and more in each."""
    groups = {}  # type: Dict[Any, List[Dict[str, Any]]]
    for entry in entries:
        told = (entry["outcome"] or {}).get("result") or {}
        if (told.get("plain") or {}).get("loss_per_epoch"):
            key = (told["name"], told["capability"], told["multiprocessors"], told["memory_bytes"])
            groups.setdefault(key, []).append(entry)
    return [group for group in groups.values() if len(group) > 1]


def distances(group: List[Dict[str, Any]]) -> List[float]:
    """Return how far each twin's curve is from the median of them all."""
    curves = [entry["outcome"]["result"]["plain"]["loss_per_epoch"] for entry in group]
    finite = [curve for curve in curves if all(number(loss) for loss in curve)]
    length = min(len(curve) for curve in curves)
    if not finite:
        return [math.inf for _curve in curves]
    median = [statistics.median(curve[epoch] for curve in finite) for epoch in range(length)]
    return [curve_distance(curve, median) for curve in curves]


def judge_twins(group: List[Dict[str, Any]], tolerance: float) -> Iterator[Dict[str, Any]]:
    """Yield the devices that compute something else than their twins."""
    labels = [entry["device"]["label"] for entry in group]
    if len(group) == 2:
        curves = [entry["outcome"]["result"]["plain"]["loss_per_epoch"] for entry in group]
        apart = curve_distance(*curves)
        if apart > tolerance:
            yield finding("twins.disagree", labels[0], other=labels[1], deviation=apart, tolerance=tolerance)
        elif apart > ROUNDING:
            yield finding("twins.rounding", labels[0], deviation=apart)
        return
    for label, apart in zip(labels, distances(group)):
        if apart > tolerance:
            yield finding("twins.differ", label, others=len(group) - 1, deviation=apart, tolerance=tolerance)
        elif apart > ROUNDING:
            yield finding("twins.rounding", label, deviation=apart)


def throughput(entry: Dict[str, Any], loop: str) -> Optional[float]:
    """Return a device's images per second in a loop, C(fast) or C(plain)."""
    told = (entry["outcome"] or {}).get("result") or {}
    rate = (told.get(loop) or {}).get("images_per_second")
    return rate if number(rate) else None


def why_slow(clocks: Dict[str, Any]) -> str:
    """Return what the clocks say about a slow device, to be put behind a sentence."""
    reasons = [f"{name} in {share:.0%}" for name, share in sorted(clocks["shares"].items())]
    words = [f"its clocks were held down ({', '.join(reasons)} of the samples)"] if reasons else []
    limit, default = clocks["power_limit_watts"], clocks["power_default_limit_watts"]
    if limit and default and limit < default * 0.99:
        words.append(f"its power limit is {limit:.0f} W of {default:.0f} W")
    return "; " + " and ".join(words) if words else ""


def judge_stragglers(group: List[Dict[str, Any]]) -> Iterator[Dict[str, Any]]:
    """Yield the devices that train under 85 % of their twins' median throughput."""
    # Like is compared with like: the fast loop, or the plain one where a twin has no other.
    loop = "fast" if all(throughput(entry, "fast") for entry in group) else "plain"
    rates = [(entry, throughput(entry, loop)) for entry in group]
    known = [rate for _entry, rate in rates if rate is not None]
    if len(known) < 2:
        return
    median = statistics.median(known)
    for entry, rate in rates:
        if rate is not None and rate < STRAGGLER * median:
            yield finding(
                "speed.straggler",
                entry["device"]["label"],
                rate=rate,
                median=median,
                share=rate / median,
                cause=why_slow(entry["clocks"]),
            )


# --- against the table


def figures_of(device: Dict[str, Any], told: Dict[str, Any], wanted: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Return the row of figures for a device: by its PCI address among the facts, else by its name."""
    name = re.sub(r"^NVIDIA ", "", told.get("name") or device.get("name") or "")
    key = None
    for gpu in wanted["gpus"]:
        if device.get("pci_address") and gpu.get("address") == device["pci_address"]:
            key = gpu.get("model_key")
    for row in wanted["figures"]:
        if row["key"] == key or (key is None and name in row["names"]):
            return row
    return None


def judge_speed(entry: Dict[str, Any], dataset: Dict[str, Any], wanted: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield the rates of a device that are under what its model is known for. MIG devices have only their twins."""
    device, told = entry["device"], (entry["outcome"] or {}).get("result") or {}
    label = device["label"]
    if device["kind"] != "gpu" or not told:
        return
    row = figures_of(device, told, wanted)
    if row is None:
        yield finding("speed.unknown", label, name=told.get("name") or device.get("name") or label)
        return
    rates = told.get("rates") or {}
    cause = why_slow(entry["clocks"])
    for precision, rate in sorted((rates.get("matmul_tflops") or {}).items()):
        peak = (row.get("matmul_tflops") or {}).get(precision)
        yield from _under("speed.matmul", label, rate, peak, row["least"]["matmul"], row, cause, precision=precision)
    yield from _under(
        "speed.memory",
        label,
        rates.get("memory_gb_per_second"),
        row.get("memory_gb_per_second"),
        row["least"]["memory"],
        row,
        cause,
    )
    # The digits train in smaller batches, which says nothing of a GPU; the table's figures are those of CIFAR-10.
    known = (row.get("images_per_second") or {}).get(wanted["framework"]) if dataset["name"] == "cifar10" else None
    yield from _under("speed.training", label, throughput(entry, "fast"), known, row["least"]["training"], row, cause)


def _under(code, label, rate, peak, least, row, cause, **words) -> Iterator[Dict[str, Any]]:
    if number(rate) and peak and rate < least * peak:
        yield finding(
            code, label, rate=rate, peak=peak, share=rate / peak, least=least, model=row["key"], cause=cause, **words
        )


def judge_clocks(entry: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield what the clocks did while a device trained."""
    device, clocks = entry["device"], entry["clocks"]
    if device["kind"] == "cpu":
        return
    label = device["label"]
    limit, default = clocks["power_limit_watts"], clocks["power_default_limit_watts"]
    if limit and default and limit < default * 0.99:
        yield finding("clocks.power_limit", label, limit=limit, default=default)
    heat = {"hw_thermal_slowdown", "sw_thermal_slowdown"} & set(clocks["reasons"])
    hardware = {"hw_power_brake_slowdown"} & set(clocks["reasons"])
    if not heat:
        hardware |= {"hw_slowdown"} & set(clocks["reasons"])
    for code, reasons in (("clocks.thermal", heat), ("clocks.hardware", hardware)):
        if reasons:
            yield finding(
                code,
                label,
                reasons=", ".join(sorted(reasons)),
                share=max(clocks["shares"][reason] for reason in reasons),
                temperature=clocks["temperature_celsius"] or 0,
            )
    if not clocks["samples"]:
        yield finding("clocks.unknown", label, said=clocks["error"] or "the training was over too soon")


# --- all together


def judge_together(measured: Dict[str, Any], dataset: Dict[str, Any], wanted: Dict[str, Any]) -> Iterator:
    """Yield what is wrong with all devices training together."""
    joint = measured.get("together")
    if joint is None:
        return
    count = joint["count"]
    if joint["skipped"]:
        yield finding("together.skipped", said=joint["skipped"])
        return
    outcomes = joint["outcomes"]
    broken = [outcome for outcome in outcomes if broken_off(outcome, "", measured["framework"])]
    if broken:
        # Where one rank fails, the others are ended with it: the one with an error is the one to tell of.
        worst = next((one for one in broken if one["error"]), None) or next(
            (one for one in broken if one["signal"] not in (None, "SIGKILL")), broken[0]
        )
        if worst["hung"]:
            yield finding("together.hung", count=count, limit=worst["limit"], phase=worst["phase"])
        else:
            said = worst["error"] or last_line(worst.get("said"))
            if worst["signal"]:
                why = why_aborted(worst)
                said = "ended by " + worst["signal"] + (": " + why if why else "")
            yield finding("together.failed", count=count, phase=worst["phase"], said=said)
        return
    results = [outcome["result"] for outcome in outcomes]
    if any(not result.get("loss_per_epoch") or not number(result.get("accuracy")) for result in results):
        yield finding("training.incomplete", None, device="all devices together", missing="losses or accuracy")
        return
    yield from _joint_results(count, results, dataset, wanted, _figures_of_all(measured, wanted))


def _joint_results(count, results, dataset, wanted, row) -> Iterator[Dict[str, Any]]:
    wrong = [f"rank {rank}" for rank, result in enumerate(results) if not result.get("sum_right")]
    if wrong:
        yield finding("together.wrong_sum", count=count, ranks=", ".join(wrong))
    networks = [result.get("network_sha256") or "none" for result in results]
    networks += results[0].get("networks_sha256") or []
    if len(set(networks)) > 1:
        usual = max(sorted(set(networks)), key=networks.count)
        odd = [f"rank {rank}" for rank, mark in enumerate(networks) if mark != usual]
        yield finding("together.ranks_differ", count=count, ranks=", ".join(odd))
    losses = [loss for result in results for loss in result["loss_per_epoch"]]
    if not all(number(loss) for loss in losses):
        yield finding("together.not_finite", count=count, loss=next(loss for loss in losses if not number(loss)))
    elif results[0]["accuracy"] < least_accuracy(dataset["name"], wanted, together=True):
        yield finding(
            "together.inaccurate",
            count=count,
            accuracy=results[0]["accuracy"],
            dataset=dataset["name"],
            minimum=least_accuracy(dataset["name"], wanted, together=True),
        )
    if row and results[0].get("trained_on") == "cuda":
        rate, peak = results[0].get("all_reduce_gb_per_second"), row.get("all_reduce_gb_per_second")
        least = row["least"]["all_reduce"]
        if number(rate) and peak and rate < least * peak:
            yield finding("speed.all_reduce", count=count, rate=rate, peak=peak, share=rate / peak, least=least)


# --- the whole


def judge_run(measured: Dict[str, Any], wanted: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return all findings about a framework's training."""
    found = list(judge_data(measured["data"]))
    dataset = (measured["data"].get("result") or {}).get("data")
    if not dataset:
        return found
    if not measured["devices"]:
        found.append(finding("check.broken", said="no device trained"))
    for entry in measured["devices"]:
        found += judge_device(entry, measured["framework"], dataset, wanted)
        found += judge_speed(entry, dataset, wanted)
        found += judge_clocks(entry)
    if wanted["device"] == "gpu" or (wanted["device"] == "auto" and wanted["expected"]):
        found += [
            finding("device.wrong", None, device="a GPU", trained="cpu", framework=measured["framework"])
            for entry in measured["devices"]
            if entry["device"]["kind"] == "cpu"
        ]
    for group in twins(measured["devices"]):
        if all(entry["outcome"]["result"]["plain"].get("deterministic", True) for entry in group):
            found += judge_twins(group, wanted["curve_tolerance"])
        else:
            others = " and ".join(entry["device"]["label"] for entry in group)
            found.append(finding("twins.not_compared", others=others, framework=measured["framework"]))
        found += judge_stragglers(group)
    if sum(entry["device"]["kind"] == "mig" for entry in measured["devices"]) > 1:
        found.append(finding("together.mig"))
    found += judge_together(measured, dataset, wanted)
    return excuse(found, measured["devices"])


def excuse(found: List[Dict[str, Any]], entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return the findings, with the slowness of a GPU that others computed on only told."""
    users = {entry["device"]["label"]: entry["others"] for entry in entries}
    everybody = sorted({pid for pids in users.values() for pid in pids})
    result = []
    for one in found:
        pids = users.get(one["device"], everybody)
        if pids and one["severity"] == FAIL and one["code"].startswith("speed."):
            words = {"said": one["sentence"], "pids": ", ".join(str(pid) for pid in pids)}
            result.append(finding("speed.shared", one["device"], **words))
        else:
            result.append(one)
    return result


def _figures_of_all(measured: Dict[str, Any], wanted: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Return the row of figures for the devices together, where all are of one model."""
    rows = [
        figures_of(entry["device"], (entry["outcome"] or {}).get("result") or {}, wanted)
        for entry in measured["devices"]
    ]
    alike = bool(rows) and all(row is not None and row["key"] == rows[0]["key"] for row in rows)
    return rows[0] if alike else None


def verdict(found: List[Dict[str, Any]]) -> Tuple[str, str]:
    """Return C(passed) or C(failed), and the sentences it failed by."""
    failures = [one for one in found if one["severity"] == FAIL]
    sentences = [f"{one['sentence']}: {one['advice']}" for one in failures]
    return ("failed", ". ".join(sentences)) if failures else ("passed", "")
