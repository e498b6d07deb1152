# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The opinions of the role preflight about GPUs and their driver. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._describe import PASSED_THROUGH, model_words
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules import (
    amount,
    get,
    items,
    rule,
    texts,
    wanted,
)

RETIRED_PAGES = 64  # what the table of a GPU before Ampere holds
HARDWARE_SLOWDOWN = {
    "hw_slowdown": "the hardware",
    "hw_thermal_slowdown": "the hardware for heat",
    "hw_power_brake_slowdown": "the power supply",
    "sw_thermal_slowdown": "the driver for heat",
}
# What is known for certain; another number is named without words.
FATAL_XIDS = {
    48: "an uncorrectable memory error",
    62: "its microcontroller halted",
    64: "a bad memory page or row could not be recorded",
    74: "an NVLink error",
    79: "it fell off the bus",
    95: "an uncorrectable memory error that may have reached other programs",
    119: "its system processor (GSP) did not answer",
    120: "an error in its system processor (GSP)",
}
WARNING_XIDS = {
    63: "a bad memory page or row was recorded and is replaced at the next reset",
    92: "many corrected memory errors in a short time",
    94: "an uncorrectable memory error, kept to the program that met it",
}
PROGRAM_XIDS = {
    13: "a program's exception in an engine of the GPU",
    31: "a program's access to memory that is not its own",
    43: "a program was stopped after a fault of its own",
    45: "a program was cleaned up after an earlier error",
}
COMPLAINTS = {
    "fallen_off_bus": "it fell off the bus: power the host off and on, then reseat the card",
    "init_failed": "its initialisation failed: reboot, then try another driver branch",
    "needs_older_driver": "the installed driver is too new for it: install the branch that the plan names",
    "needs_proprietary_modules": "it needs the proprietary kernel modules: install those in place of the open ones",
    "needs_open_modules": "it needs the open kernel modules: install those in place of the proprietary ones",
}


def bus_gpus(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the GPUs on the PCI bus."""
    return [device for device in items(facts, "gpu", "pci") if device.get("kind") == "gpu"]


def nvidia_gpus(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return NVIDIA's GPUs on the PCI bus that the host has for itself."""
    return [
        gpu
        for gpu in bus_gpus(facts)
        if gpu.get("vendor") == "nvidia" and gpu.get("kernel_driver") not in PASSED_THROUGH
    ]


def smi_gpus(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the GPUs that nvidia-smi describes."""
    return items(facts, "gpu", "smi", "gpus")


def _at(gpu: dict[str, Any]) -> str:
    return f"the GPU at {gpu.get('address')}"


def _answering(facts: dict[str, Any]) -> set[str]:
    # A GPU that fell off the bus may still be listed: by its address alone, or with its UUID and words to that effect.
    return {
        gpu.get("address")
        for gpu in smi_gpus(facts)
        if gpu.get("uuid", True) and "lost" not in (gpu.get("complaint") or "").lower()
    }


def _name(gpu: dict[str, Any]) -> str:
    return gpu.get("model") or f"{gpu.get('vendor_id')}:{gpu.get('device_id')}"


def _of_expected_model(facts: dict[str, Any], expectations: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the GPUs on the bus that C(preflight_expected_gpus) speaks of."""
    model = " ".join(model_words(str(get(expectations, "expected_gpus", "model") or "")))
    return [gpu for gpu in bus_gpus(facts) if model in " ".join(model_words(gpu.get("model") or ""))]


def _architecture(gpu: dict[str, Any]) -> dict[str, Any]:
    """Return what the GPU table knows of a GPU's architecture."""
    return load("gpus")["architectures"].get(gpu.get("architecture")) or {}


@rule(
    "gpu.none",
    "warn",
    "No NVIDIA or AMD GPU is on the PCI bus.",
    "frameworks are installed for the CPU; if there should be one, power the host off and reseat the card",
)
def _none(facts, expectations) -> Iterator[str]:
    unread = any("/sys/bus/pci" in gap for gap in texts(facts, "gpu", "gaps"))
    if get(facts, "gpu", "pci") is not None and not bus_gpus(facts) and not unread:
        yield "no NVIDIA or AMD GPU is on the PCI bus"


@rule(
    "gpu.unknown",
    "fail",
    "The GPU table does not know an NVIDIA GPU, so no version can be chosen for it.",
    "update the collection, or add a row to its plugins/plugin_utils/data/gpus.yml",
)
def _unknown(facts, expectations) -> Iterator[str]:
    for gpu in nvidia_gpus(facts):
        if gpu.get("device_id") and "architecture" in gpu and gpu["architecture"] is None:
            pci_id = f"{gpu.get('vendor_id')}:{gpu['device_id']}"
            yield f"{_at(gpu)} has the PCI id {pci_id}, which the GPU table does not know"


@rule(
    "gpu.expected",
    "fail",
    "The host has another number or model of GPUs than `preflight_expected_gpus` says.",
    "look for a dead or loose card, or change preflight_expected_gpus",
)
def _expected(facts, expectations) -> Iterator[str]:
    expected = expectations.get("expected_gpus") or {}
    if not expected or get(facts, "gpu", "pci") is None:
        return
    model, count = str(expected.get("model") or ""), wanted(expectations, "expected_gpus", "count")
    there = [_name(gpu) for gpu in bus_gpus(facts)]
    matching = _of_expected_model(facts, expectations)
    words = f"{len(matching)} found (all GPUs on the bus: {', '.join(there) or 'none'})"
    if count is not None and len(matching) != count:
        yield f"{amount(count)} x {model or 'GPU'} expected, {words}"
    elif count is None and model and len(matching) != len(there):
        yield f"only {model} expected, {words}"


@rule(
    "gpu.lost",
    "fail",
    "A GPU is on the bus with its driver and does not answer `nvidia-smi`.",
    "power the host off and on, then reseat the card",
)
def _lost(facts, expectations) -> Iterator[str]:
    if get(facts, "gpu", "smi", "gpus") is None or get(facts, "gpu", "smi_status") == "timed_out":
        return  # what nvidia-smi said before it was given up need not be all: gpu.silent tells of it
    if (get(facts, "gpu", "smi", "attached_gpus") or 0) > len(smi_gpus(facts)):
        return  # it counts more than it describes, so its answer was cut off: facts.gap tells of it
    waiting = {gpu.get("address") for gpu in smi_gpus(facts) if _waits_for_reset(gpu)}
    shown = {gpu.get("address") for gpu in smi_gpus(facts)}
    for gpu in bus_gpus(facts):
        if get(facts, "host", "container") and gpu.get("address") not in shown:
            continue  # a container sees the whole bus, and those GPUs answer that it was given
        if gpu.get("kernel_driver") == "nvidia" and gpu.get("address") not in _answering(facts) | waiting:
            yield f"{_at(gpu)} is on the bus but does not answer nvidia-smi"


@rule(
    "gpu.silent",
    "fail",
    "`nvidia-smi` hangs or fails although the driver holds a GPU.",
    "reboot; if it comes back, read the kernel's log for NVRM and take the sick GPU out",
)
def _silent(facts, expectations) -> Iterator[str]:
    words = {"timed_out": "does not come to an end", "failed": "does not answer with its XML"}
    status = words.get(get(facts, "gpu", "smi_status"))
    held = [gpu["address"] for gpu in bus_gpus(facts) if gpu.get("kernel_driver") == "nvidia" and gpu.get("address")]
    if status and held and get(facts, "gpu", "kernel", "userspace_matches") is not False:
        yield f"nvidia-smi {status}, though the driver holds the GPU at {', '.join(held)}"


@rule(
    "gpu.nouveau",
    "warn",
    "nouveau is bound to a GPU.",
    "the NVIDIA driver gets it after nouveau is blacklisted and the host rebooted",
)
def _nouveau(facts, expectations) -> Iterator[str]:
    for gpu in bus_gpus(facts):
        if gpu.get("kernel_driver") == "nouveau":
            yield f"nouveau holds {_at(gpu)}"


@rule(
    "gpu.passed_through",
    "info",
    "A GPU is held for a virtual machine, so no version is chosen for it.",
    "as it should be, if the virtual machine is a host of its own in the inventory",
)
def _passed_through(facts, expectations) -> Iterator[str]:
    for gpu in bus_gpus(facts):
        if gpu.get("kernel_driver") in PASSED_THROUGH:
            yield f"{gpu['kernel_driver']} holds {_at(gpu)}"


@rule(
    "gpu.driver_mismatch",
    "fail",
    "The driver's libraries are of another version than the loaded kernel module; CUDA fails until they agree.",
    "reboot when no program uses a GPU, and keep unattended upgrades off the driver",
)
def _driver_mismatch(facts, expectations) -> Iterator[str]:
    kernel = get(facts, "gpu", "kernel") or {}
    if kernel.get("userspace_matches") is False:
        loaded, installed = kernel.get("driver_version"), kernel.get("userspace_version")
        yield f"the loaded driver is {loaded}, the installed one {installed}"


@rule(
    "gpu.flavor",
    "fail",
    "The kernel modules are open where a GPU needs the proprietary ones (Volta and older), or the reverse (Blackwell).",
    "install the kernel modules of the other flavour",
)
def _flavor(facts, expectations) -> Iterator[str]:
    kernel = get(facts, "gpu", "kernel") or {}
    flavors = {kernel.get("flavor"), get(kernel, "installed_module", "flavor")}
    for gpu in nvidia_gpus(facts):
        open_modules = _architecture(gpu).get("open_modules")
        if "open" in flavors and open_modules == "unsupported":
            yield f"{_at(gpu)} ({_name(gpu)}) cannot use the open kernel modules, which are installed"
        elif "proprietary" in flavors and open_modules == "required":
            yield f"{_at(gpu)} ({_name(gpu)}) cannot use the proprietary kernel modules, which are installed"


@rule(
    "gpu.driver_too_new",
    "fail",
    "The loaded or installed driver is of a branch that no longer drives a GPU; V100 ends with 580.",
    "install the newest driver of the branch that is named here, and hold it there",
)
def _driver_too_new(facts, expectations) -> Iterator[str]:
    kernel = get(facts, "gpu", "kernel") or {}
    versions = [
        version
        for version in (
            kernel.get("driver_version"),
            kernel.get("userspace_version"),
            get(kernel, "installed_module", "version"),
        )
        if re.match(r"\d{1,5}\.", version or "")
    ]
    newest = max(versions, key=lambda version: int(version.partition(".")[0]), default=None)
    for gpu in nvidia_gpus(facts) if newest else []:
        last = _architecture(gpu).get("last_driver")
        if last and int(newest.partition(".")[0]) > last:
            yield f"{_at(gpu)} ({_name(gpu)}) is driven up to the branch {last}, and {newest} is installed"


@rule(
    "gpu.unsigned_module",
    "fail",
    "The kernel accepts signed modules only, and the installed NVIDIA module is not signed.",
    "install signed modules, or sign it and enrol the key at the console, or switch Secure Boot off",
)
def _unsigned_module(facts, expectations) -> Iterator[str]:
    kernel = get(facts, "gpu", "kernel") or {}
    strict = kernel.get("secure_boot") or kernel.get("module_signatures_enforced")
    if strict and not kernel.get("driver_version") and get(kernel, "installed_module", "signed") is False:
        why = "Secure Boot is on" if kernel.get("secure_boot") else "the kernel enforces signatures"
        yield f"{why} and {get(kernel, 'installed_module', 'path')} is not signed"


@rule(
    "gpu.secure_boot",
    "info",
    "Secure Boot is on where an NVIDIA driver is still to be installed.",
    "a module built by DKMS has to be signed with a key that is enrolled at the console; prefer signed packages",
)
def _secure_boot(facts, expectations) -> Iterator[str]:
    kernel = get(facts, "gpu", "kernel") or {}
    installed = kernel.get("driver_version") or kernel.get("installed_module")
    if kernel.get("secure_boot") and not installed and nvidia_gpus(facts):
        yield "Secure Boot is on and no NVIDIA driver is installed yet"


def _without_module(facts: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the running kernel and the one that boots next, each with that word, where an installed driver lacks it."""
    kernels = items(facts, "gpu", "kernel", "kernels")
    newest = get(facts, "host", "kernel", "newest_installed")
    if not any(kernel.get("module_files") or kernel.get("dkms_state") for kernel in kernels):
        return  # no driver is installed at all
    for kernel in kernels:
        words = "runs" if kernel.get("running") else "boots next" if kernel.get("release") == newest else None
        if words and kernel.get("module_files") == []:
            yield kernel, words


@rule(
    "gpu.no_module",
    "warn",
    "The NVIDIA driver is not built for the running kernel, or for the one that the next boot takes.",
    "install that kernel's headers and run `dkms autoinstall`",
)
def _no_module(facts, expectations) -> Iterator[str]:
    for kernel, words in _without_module(facts):
        if kernel.get("dkms_state") != "failed":
            state = f" (DKMS says {kernel['dkms_state']})" if kernel.get("dkms_state") else ""
            yield f"the kernel {kernel.get('release')}, which {words}, has no NVIDIA module{state}"


@rule(
    "gpu.build_failed",
    "warn",
    "DKMS could not build the NVIDIA driver for the running kernel, or for the one that the next boot takes.",
    "mostly the driver is older than the kernel: install the newest release of its branch, or boot an older kernel; "
    "the compiler's words are in DKMS's make.log",
)
def _build_failed(facts, expectations) -> Iterator[str]:
    for kernel, words in _without_module(facts):
        if kernel.get("dkms_state") == "failed":
            version = kernel.get("dkms_version") or "of an unknown version"
            yield f"the driver {version} could not be built for the kernel {kernel.get('release')}, which {words}"


@rule(
    "gpu.complaint",
    "fail",
    "The driver said since boot that it cannot use a GPU, and the GPU does not answer now.",
    "mend that, then reboot",
)
def _complaint(facts, expectations) -> Iterator[str]:
    answering = _answering(facts)
    everybody = {gpu.get("address") for gpu in nvidia_gpus(facts)}
    said = set()
    for complaint in items(facts, "gpu", "kernel", "driver_complaints"):
        address, words = complaint.get("address"), COMPLAINTS.get(complaint.get("kind"))
        solved = address in answering if address else everybody <= answering
        if words and not solved and (address, words) not in said:
            said.add((address, words))
            yield f"the driver says of {'the GPU at ' + address if address else 'a GPU'} that {words}"


@rule(
    "gpu.fabric",
    "fail",
    "The NVSwitch fabric is not up; CUDA fails with error 802.",
    "start nvidia-fabricmanager, of exactly the driver's version",
)
def _fabric(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        state, status = gpu.get("fabric_state"), gpu.get("fabric_status")
        if state and (state.lower() in ("not started", "in progress") or status not in (None, "Success")):
            yield f"the NVSwitch fabric of {_at(gpu)} is {state!r} ({status or 'no status'})"


@rule(
    "gpu.fabric_manager",
    "warn",
    "There are NVSwitches and no Fabric Manager is installed.",
    "install nvidia-fabricmanager of exactly the driver's version, in the same transaction as the driver",
)
def _fabric_manager(facts, expectations) -> Iterator[str]:
    switches = [device for device in items(facts, "gpu", "pci") if device.get("kind") == "nvswitch"]
    if switches and get(facts, "host", "fabric_manager") is False:
        yield f"{len(switches)} NVSwitches are on the bus and nv-fabricmanager is not installed"


def _flag(name: str, severity: str, field: str, meaning: str, words: str, way_out: str) -> None:
    """Register a rule over a field of nvidia-smi that is true for a GPU in trouble, and null where it has no such."""

    @rule(name, severity, meaning, way_out)
    def _check(facts, expectations) -> Iterator[str]:
        for gpu in smi_gpus(facts):
            if gpu.get(field) is True:
                yield f"{_at(gpu)} {words}"


_flag(
    "gpu.remap_pending",
    "fail",
    "row_remap_pending",
    "Memory rows wait to be remapped (Ampere and later).",
    "has memory rows waiting to be remapped",
    "reset it before it computes again",
)
_flag(
    "gpu.remap_failure",
    "fail",
    "row_remap_failure",
    "A memory row could not be remapped (Ampere and later).",
    "could not remap a failed memory row",
    "isolate it and have it replaced; no reboot mends it",
)
_flag(
    "gpu.pages_pending",
    "fail",
    "retired_pages_pending",
    "Memory pages wait to be retired (before Ampere).",
    "has memory pages waiting to be retired",
    "reboot before it computes again",
)
_flag(
    "gpu.sram_threshold",
    "fail",
    "ecc_sram_threshold_exceeded",
    "The caches of a GPU had more uncorrected errors than NVIDIA allows.",
    "has more uncorrected errors in its caches than it may have",
    "have it replaced",
)


@rule(
    "gpu.pages_full",
    "fail",
    f"The table of retired pages is full: {RETIRED_PAGES} pages (before Ampere).",
    "have it replaced; it cannot retire the next bad page",
)
def _pages_full(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        pages = [gpu.get("retired_pages_single_bit"), gpu.get("retired_pages_double_bit")]
        count = sum(number for number in pages if number is not None)
        if count >= RETIRED_PAGES:
            yield f"{_at(gpu)} has retired {count} memory pages of {RETIRED_PAGES}"


@rule(
    "gpu.spare_rows",
    "warn",
    "Memory banks of a GPU have no spare row left (Ampere and later).",
    "plan its replacement; the next bad row there cannot be remapped",
)
def _spare_rows(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        banks = get(gpu, "row_remap_banks", "none")
        if banks:
            yield f"{_at(gpu)} has {banks} memory banks without a spare row"


@rule(
    "gpu.reset",
    "fail",
    "The driver asks for a reset, a drain or a reboot.",
    "do so when no program uses it (`nvidia-smi --gpu-reset`), or reboot",
)
def _reset(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        action = gpu.get("recovery_action")
        if action not in (None, "", "None"):
            yield f"the driver asks for {action!r} of {_at(gpu)}"
        elif gpu.get("reset_required") or _waits_for_reset(gpu):
            yield f"{_at(gpu)} waits for a reset"


def _waits_for_reset(gpu: dict[str, Any]) -> bool:
    return "reset" in (gpu.get("complaint") or "").lower()


@rule(
    "gpu.uncorrected",
    "warn",
    "Uncorrected ECC errors since the driver was loaded.",
    "reset it and look again; if they return, have it replaced",
)
def _uncorrected(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        errors = get(gpu, "ecc_errors_volatile", "uncorrected")
        if errors:
            yield f"{_at(gpu)} counts {errors} uncorrected ECC errors since the driver was loaded"


@rule(
    "gpu.uncorrected_ever",
    "info",
    "Uncorrected ECC errors in the life of a GPU.",
    "watch whether the number grows",
)
def _uncorrected_ever(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        errors = get(gpu, "ecc_errors_aggregate", "uncorrected")
        if errors:
            yield f"{_at(gpu)} counts {errors} uncorrected ECC errors in its life"


@rule(
    "gpu.ecc_off",
    "info",
    "ECC is off on a GPU that has it.",
    "`nvidia-smi --ecc-config=1` and a reboot switch it on",
)
def _ecc_off(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        if gpu.get("ecc_mode") is False:
            yield f"ECC is off on {_at(gpu)}"


def _pending(facts: dict[str, Any], mode: str, words: str) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        now, then = gpu.get(mode), gpu.get(f"{mode}_pending")
        if None not in (now, then) and now != then:
            yield f"{words} of {_at(gpu)} is {'on' if now else 'off'} and will be {'on' if then else 'off'}"


@rule("gpu.ecc_pending", "warn", "A change of the ECC mode waits for a reset.", "reset the GPU or reboot")
def _ecc_pending(facts, expectations) -> Iterator[str]:
    yield from _pending(facts, "ecc_mode", "ECC")


@rule(
    "gpu.mig_pending",
    "warn",
    "A change of the MIG mode waits for a reset.",
    "stop what uses the GPU, then reset it or reboot",
)
def _mig_pending(facts, expectations) -> Iterator[str]:
    yield from _pending(facts, "mig_mode", "MIG")


def _xids(facts: dict[str, Any], words: dict[int, str] | None) -> Iterator[str]:
    """Yield a sentence for each number that these words explain; with None, for each that no words explain."""
    known = {**FATAL_XIDS, **WARNING_XIDS, **PROGRAM_XIDS}
    for row in items(facts, "gpu", "kernel", "xid_counts"):
        xid = row.get("xid")
        if xid is not None and (xid in words if words is not None else xid not in known):
            meaning = f" ({known[xid]})" if xid in known else ""
            times = "once" if row.get("count") in (None, 1) else f"{row['count']} times"
            yield f"the GPU at {row.get('address') or 'an unknown address'} had Xid {xid}{meaning} {times} since boot"


@rule(
    "gpu.xid_fatal",
    "fail",
    f"An Xid that speaks of broken hardware or a stuck GPU since boot: {', '.join(map(str, FATAL_XIDS))}.",
    "reboot; if it returns, have the GPU, its seat and its power looked at",
)
def _xid_fatal(facts, expectations) -> Iterator[str]:
    yield from _xids(facts, FATAL_XIDS)


@rule(
    "gpu.xid_warning",
    "warn",
    f"An Xid of memory errors that the GPU dealt with since boot: {', '.join(map(str, WARNING_XIDS))}.",
    "reset the GPU when it is free, and watch whether it returns",
)
def _xid_warning(facts, expectations) -> Iterator[str]:
    yield from _xids(facts, WARNING_XIDS)


@rule(
    "gpu.xid_program",
    "info",
    f"An Xid that a program most often causes itself: {', '.join(map(str, PROGRAM_XIDS))}.",
    "look at the program; suspect the GPU only if every program meets it",
)
def _xid_program(facts, expectations) -> Iterator[str]:
    yield from _xids(facts, PROGRAM_XIDS)


@rule("gpu.xid_other", "warn", "An Xid that this collection has no words for.", "look it up in NVIDIA's list of Xids")
def _xid_other(facts, expectations) -> Iterator[str]:
    yield from _xids(facts, None)


@rule(
    "gpu.width",
    "warn",
    "A GPU uses fewer PCIe lanes than it has, and the inventory expects no number.",
    "reseat the card; if the slot has no more, say so with preflight_expected_gpus.pcie_width",
)
def _width(facts, expectations) -> Iterator[str]:
    if wanted(expectations, "expected_gpus", "pcie_width") is None:
        for gpu in bus_gpus(facts):
            lanes, most = get(gpu, "link", "width"), get(gpu, "link", "max_width")
            if lanes and most and lanes < most:
                yield f"{_at(gpu)} uses {lanes} of its {most} PCIe lanes"


@rule(
    "gpu.width_expected",
    "fail",
    "A GPU uses fewer PCIe lanes than `preflight_expected_gpus.pcie_width`.",
    "reseat the card and look at the riser",
)
def _width_expected(facts, expectations) -> Iterator[str]:
    expected = wanted(expectations, "expected_gpus", "pcie_width")
    for gpu in _of_expected_model(facts, expectations) if expected is not None else []:
        lanes = get(gpu, "link", "width")
        if lanes and lanes < expected:
            yield f"{_at(gpu)} uses {lanes} PCIe lanes, {amount(expected)} expected"


@rule(
    "gpu.nvlink",
    "warn",
    "Some NVLinks of a GPU are down and others up, and the inventory expects no number. All down means no bridge.",
    "look for Xid 74 and reseat the bridge; if it is by design, say so with preflight_expected_gpus.nvlinks",
)
def _nvlink(facts, expectations) -> Iterator[str]:
    if wanted(expectations, "expected_gpus", "nvlinks") is None:
        for gpu in smi_gpus(facts):
            links = items(gpu, "nvlinks")
            down = [str(link.get("index")) for link in links if link.get("active") is False]
            if down and any(link.get("active") for link in links):
                yield f"NVLink {', '.join(down)} of {_at(gpu)} is down"


@rule(
    "gpu.nvlink_expected",
    "fail",
    "A GPU has another number of NVLinks up than `preflight_expected_gpus.nvlinks`.",
    "look for Xid 74, reseat the bridge, and see that the Fabric Manager runs",
)
def _nvlink_expected(facts, expectations) -> Iterator[str]:
    expected = wanted(expectations, "expected_gpus", "nvlinks")
    meant = _of_expected_model(facts, expectations)
    others = {gpu.get("address") for gpu in bus_gpus(facts) if gpu not in meant}  # such as the one for the screen
    for gpu in smi_gpus(facts) if expected is not None else []:
        active = gpu.get("nvlinks_active")
        if active is not None and active != expected and gpu.get("address") not in others:
            yield f"{_at(gpu)} has {active} NVLinks up, {amount(expected)} expected"


@rule(
    "gpu.power_limit",
    "warn",
    "The power limit of a GPU is below the one it was shipped with.",
    "`nvidia-smi --power-limit` raises it, unless the site wants it so",
)
def _power_limit(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        limit, default = gpu.get("power_limit_watts"), gpu.get("power_default_limit_watts")
        if limit and default and limit < default:
            yield f"{_at(gpu)} is limited to {amount(limit)} W, {amount(default)} W is the default"


@rule(
    "gpu.throttled",
    "warn",
    "A GPU is slowed down for heat or by the hardware.",
    "look at fans, inlets and power cables",
)
def _throttled(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        reasons = [reason for reason in texts(gpu, "clocks_event_reasons") if reason in HARDWARE_SLOWDOWN]
        if reasons:
            yield f"{_at(gpu)} is slowed down by {' and '.join(HARDWARE_SLOWDOWN[reason] for reason in reasons)}"


@rule(
    "gpu.vbios",
    "warn",
    "GPUs of one model have different video BIOSes.",
    "a card was swapped; bring them to one version",
)
def _vbios(facts, expectations) -> Iterator[str]:
    versions: dict[str, set[str]] = {}
    for gpu in smi_gpus(facts):
        if gpu.get("name") and gpu.get("vbios"):
            versions.setdefault(gpu["name"], set()).add(gpu["vbios"])
    for name, found in versions.items():
        if len(found) > 1:
            yield f"the {name} here have the video BIOSes {', '.join(sorted(found))}"


@rule(
    "gpu.uvm",
    "info",
    "The driver is loaded without nvidia_uvm; `nvidia-smi` works then, and CUDA may not.",
    "load it with `modprobe nvidia_uvm`; the role nvidia_driver has it loaded at each start",
)
def _uvm(facts, expectations) -> Iterator[str]:
    modules = texts(facts, "gpu", "kernel", "modules")
    if "nvidia" in modules and "nvidia_uvm" not in modules:
        yield "the kernel module nvidia is loaded and nvidia_uvm, which CUDA needs, is not"


@rule(
    "gpu.persistence",
    "info",
    "Persistence mode is off, so the driver starts anew with each program.",
    "enable the service nvidia-persistenced",
)
def _persistence(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        if gpu.get("persistence") is False:
            yield f"persistence mode of {_at(gpu)} is off"


@rule(
    "gpu.busy",
    "info",
    "Programs use a GPU.",
    "nothing here disturbs them, but the training check shares the GPU, and a reboot ends them",
)
def _busy(facts, expectations) -> Iterator[str]:
    for gpu in smi_gpus(facts):
        # The first word only: what follows is a command line, and may hold what nobody else should read.
        words = [str(process.get("name") or process.get("pid")).split() for process in items(gpu, "processes")]
        names = sorted({word[0] for word in words if word})
        if names:
            yield f"{', '.join(names)} on {_at(gpu)}"


@rule(
    "gpu.disagreement",
    "warn",
    "What one layer says of the GPUs, another denies.",
    "find out which one is right; a reboot makes the driver and its libraries one again",
)
def _disagreement(facts, expectations) -> Iterator[str]:
    yield from texts(facts, "gpu", "disagreements")
