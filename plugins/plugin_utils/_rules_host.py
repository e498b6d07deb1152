# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The opinions of the role preflight about everything but GPUs. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules import (
    GB,
    TB,
    amount,
    get,
    items,
    rule,
    texts,
    wanted,
)

GIB = 1 << 30
FEW_INODES = 100_000  # an environment with PyTorch has about a third of this
# What the roles install or have to change, by the beginnings of the names.
OURS = ("nvidia", "libnvidia", "cuda", "libcuda", "libcudnn", "libnccl", "linux-headers", "kernel-devel", "dkms")
NVIDIA_HOSTS = ("developer.download.nvidia.com", "nvidia.github.io")
OUR_FILES = "gpufleet"


def _at(path: dict[str, Any]) -> str:
    return f"{path.get('name')} ({path.get('model')}, {path.get('serial')})"


@rule(
    "memory.minimum",
    "warn",
    "Less memory than `preflight_minimum_memory_gb`.",
    "look for a DIMM that is loose or dead, or change preflight_minimum_memory_gb",
)
def _memory_minimum(facts, expectations) -> Iterator[str]:
    total, least = get(facts, "memory", "total_bytes"), wanted(expectations, "minimum_memory_gb")
    if total is not None and least and total < least * GB:
        yield f"{total / GB:.0f} GB of memory, {amount(least)} GB expected"


@rule(
    "memory.uncorrected",
    "fail",
    "Uncorrected memory errors since boot.",
    "replace the DIMM; what the host computed since then may be wrong",
)
def _memory_uncorrected(facts, expectations) -> Iterator[str]:
    yield from _errors(facts, "uncorrected")


@rule("memory.corrected", "info", "Corrected memory errors since boot.", "watch whether the number grows")
def _memory_corrected(facts, expectations) -> Iterator[str]:
    yield from _errors(facts, "corrected")


def _errors(facts: dict[str, Any], kind: str) -> Iterator[str]:
    for controller in items(facts, "memory", "edac"):
        if controller.get(kind):
            where = [
                str(module.get("label") or module.get("name"))
                for module in items(controller, "modules")
                if module.get(kind)
            ]
            place = f", of {', '.join(where)}" if where else ""
            yield f"memory controller {controller.get('controller')} counts {controller[kind]} {kind} errors{place}"


@rule(
    "memory.corrupted",
    "warn",
    "The kernel took bad memory out of use.",
    "replace the DIMM that the kernel's log names",
)
def _memory_corrupted(facts, expectations) -> Iterator[str]:
    bad = get(facts, "memory", "hardware_corrupted_bytes")
    if bad:
        yield f"the kernel took {bad // 1024} KiB of bad memory out of use"


@rule(
    "memory.missing",
    "warn",
    "The DIMMs have more memory than the kernel was given.",
    "look in the firmware for a DIMM that it switched off, for mirroring and sparing",
)
def _memory_missing(facts, expectations) -> Iterator[str]:
    missing, installed = get(facts, "memory", "missing_bytes"), get(facts, "memory", "installed_bytes")
    if missing:
        of = f" of {installed / GIB:.0f} GiB" if installed else ""
        yield f"{missing / GIB:.0f} GiB{of} in the slots do not reach the kernel"


def _mix(facts: dict[str, Any], field: str) -> list[Any]:
    return sorted({dimm[field] for dimm in items(facts, "memory", "dimms") if dimm.get(field) is not None})


@rule(
    "memory.mixed",
    "warn",
    "DIMMs of different size, kind, rated speed or rank.",
    "bring them to one kind; the slowest sets the pace and channels are left unequal",
)
def _memory_mixed(facts, expectations) -> Iterator[str]:
    sizes = [f"{size / GIB:.0f} GiB" for size in _mix(facts, "size_bytes")]
    speeds = [f"{speed} MT/s" for speed in _mix(facts, "speed_mts")]
    ranks = [f"{rank} ranks" for rank in _mix(facts, "rank")]
    for values in (sizes, _mix(facts, "type"), speeds, ranks):
        if len(values) > 1:
            yield f"the DIMMs are a mix of {' and '.join(values)}"


@rule(
    "memory.mixed_parts",
    "info",
    "DIMMs of different manufacturers or part numbers.",
    "harmless if the rest is equal; good to know when one fails",
)
def _memory_mixed_parts(facts, expectations) -> Iterator[str]:
    parts = sorted(
        {
            f"{dimm.get('manufacturer') or 'unknown'} {dimm['part_number']}"
            for dimm in items(facts, "memory", "dimms")
            if dimm.get("part_number")
        }
    )
    if len(parts) > 1:
        yield f"the DIMMs are of {len(parts)} parts: {', '.join(parts)}"


@rule(
    "memory.unequal",
    "warn",
    "Groups of slots (arrays, most often one for each processor) hold unequal memory.",
    "populate them alike, or look for a DIMM that is dead; one processor waits for the other's memory",
)
def _memory_unequal(facts, expectations) -> Iterator[str]:
    held = {
        array["handle"]: 0
        for array in items(facts, "memory", "arrays")
        if array.get("use") == "system" and array.get("handle")
    }
    for dimm in items(facts, "memory", "dimms"):
        if dimm.get("array") in held:
            held[dimm["array"]] += dimm.get("size_bytes") or 0
    if len(set(held.values())) > 1:
        each = ", ".join(f"{size / GIB:.0f} GiB in {handle}" for handle, size in held.items())
        yield f"the arrays of slots hold unequal memory: {each}"


@rule(
    "memory.slow",
    "info",
    "DIMMs run below their rated speed.",
    "often as meant, for the processor or two DIMMs a channel; else look in the firmware",
)
def _memory_slow(facts, expectations) -> Iterator[str]:
    slow = [
        dimm
        for dimm in items(facts, "memory", "dimms")
        if dimm.get("configured_speed_mts") and dimm["configured_speed_mts"] < (dimm.get("speed_mts") or 0)
    ]
    if slow:
        worst = min(slow, key=lambda dimm: dimm["configured_speed_mts"])
        yield (
            f"{len(slow)} DIMMs run below their rated speed, such as {worst.get('slot')} "
            f"at {worst['configured_speed_mts']} MT/s of {worst['speed_mts']} MT/s"
        )


@rule(
    "memory.no_ecc",
    "warn",
    "Memory without error correction.",
    "results of long runs cannot be trusted as with it; replace the DIMMs or switch it on in the firmware",
)
def _memory_no_ecc(facts, expectations) -> Iterator[str]:
    without = [str(dimm.get("slot")) for dimm in items(facts, "memory", "dimms") if dimm.get("ecc") is False]
    if without:
        yield f"the DIMMs in {', '.join(without)} correct no errors"


def _drives(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return items(facts, "nvme", "controllers")


def local_namespaces(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each namespace of a drive in this machine once, however many controllers lead to it."""
    found = {
        namespace.get("wwid") or namespace.get("name"): namespace
        for drive in _drives(facts)
        if drive.get("local") is not False
        for namespace in items(drive, "namespaces")
    }
    return list(found.values())


@rule(
    "nvme.minimum",
    "warn",
    "Less local NVMe storage than `preflight_minimum_nvme_tb`.",
    "look for a drive that is missing, or change preflight_minimum_nvme_tb",
)
def _nvme_minimum(facts, expectations) -> Iterator[str]:
    least = wanted(expectations, "minimum_nvme_tb")
    if not least or get(facts, "nvme", "controllers") is None:
        return
    sizes = [namespace.get("size_bytes") for namespace in local_namespaces(facts)]
    total = sum(size or 0 for size in sizes)
    known = None not in sizes and all(isinstance(drive.get("namespaces"), list) for drive in _drives(facts))
    if known and total < least * TB:
        yield f"{total / TB:.2f} TB of NVMe storage, {amount(least)} TB expected"


@rule(
    "nvme.critical",
    "fail",
    "A drive raises a critical warning other than its temperature: spare, reliability, read-only, backup of its cache.",
    "save what is on it and replace it",
)
def _nvme_critical(facts, expectations) -> Iterator[str]:
    for drive in _drives(facts):
        bits = get(drive, "health", "critical_warning") or {}
        raised = [bit for bit, on in bits.items() if on and bit != "temperature"]
        if raised:
            yield f"{_at(drive)} warns of {', '.join(raised)}"


@rule("nvme.hot", "warn", "A drive warns of its temperature.", "look at fans and at what covers the drive")
def _nvme_hot(facts, expectations) -> Iterator[str]:
    for drive in _drives(facts):
        if get(drive, "health", "critical_warning", "temperature"):
            celsius = get(drive, "health", "temperature_celsius")
            yield f"{_at(drive)} warns of its temperature" + ("" if celsius is None else f", {celsius} degrees Celsius")


def _down(facts: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield each controller that is not live, and whether it is a way over a fabric beside one that is live."""
    live = {drive.get("subsystem_nqn") for drive in _drives(facts) if drive.get("state") == "live"} - {None}
    for drive in _drives(facts):
        if drive.get("state") not in (None, "live"):
            yield drive, drive.get("local") is False and drive.get("subsystem_nqn") in live


@rule(
    "nvme.state",
    "fail",
    "A controller is not live.",
    "read the kernel's log for nvme; power the host off and on, then replace the drive",
)
def _nvme_state(facts, expectations) -> Iterator[str]:
    for drive, is_path in _down(facts):
        if not is_path:
            yield f"{_at(drive)} is {drive['state']}, not live"


@rule(
    "nvme.path",
    "warn",
    "One of several ways over a fabric to a drive is not live.",
    "look at the network and at the target; the other way carries everything",
)
def _nvme_path(facts, expectations) -> Iterator[str]:
    for drive, is_path in _down(facts):
        if is_path:
            yield f"{_at(drive)} is {drive['state']}, and another way to it is live"


@rule(
    "nvme.read_only",
    "fail",
    "A namespace has gone read-only.",
    "read the kernel's log for the error that made it so; replace the drive if it is its own",
)
def _nvme_read_only(facts, expectations) -> Iterator[str]:
    for drive in _drives(facts):
        for namespace in items(drive, "namespaces"):
            if namespace.get("read_only"):
                yield f"{namespace.get('name')} of {_at(drive)} is read-only"


@rule(
    "nvme.spare",
    "warn",
    "A drive has fewer spare blocks than its own threshold.",
    "save what is on it and plan its replacement",
)
def _nvme_spare(facts, expectations) -> Iterator[str]:
    for drive in _drives(facts):
        spare, least = (
            get(drive, "health", "available_spare_percent"),
            get(drive, "health", "spare_threshold_percent"),
        )
        if spare is not None and least is not None and spare < least:
            yield f"{_at(drive)} has {spare} % of its spare blocks left, its threshold is {least} %"


@rule(
    "nvme.worn",
    "warn",
    "A drive has used up its rated life to `preflight_maximum_nvme_wear`.",
    "plan its replacement; it may go on for long",
)
def _nvme_worn(facts, expectations) -> Iterator[str]:
    most = wanted(expectations, "maximum_nvme_wear")
    for drive in _drives(facts):
        used = get(drive, "health", "percentage_used")
        if used is not None and most is not None and used >= most:
            yield f"{_at(drive)} has used {used} % of its rated life"


@rule(
    "nvme.media_errors",
    "warn",
    "A drive could not read what was written.",
    "compare with the last run; replace it if the number grows",
)
def _nvme_media_errors(facts, expectations) -> Iterator[str]:
    for drive in _drives(facts):
        errors = get(drive, "health", "media_errors")
        if errors:
            yield f"{_at(drive)} counts {errors} media errors"


@rule("nvme.width", "warn", "A drive uses fewer PCIe lanes than it has.", "reseat it, or move it to a wider slot")
def _nvme_width(facts, expectations) -> Iterator[str]:
    for drive in _drives(facts):
        lanes, most = get(drive, "link", "width"), get(drive, "link", "max_width")
        if lanes and most and lanes < most:
            yield f"{_at(drive)} uses {lanes} of its {most} PCIe lanes"


@rule(
    "cpu.minimum",
    "warn",
    "Fewer logical processors than `preflight_minimum_processors`.",
    "look whether a socket or hyper-threading is off, or change preflight_minimum_processors",
)
def _cpu_minimum(facts, expectations) -> Iterator[str]:
    processors = facts.get("processor_nproc") or get(facts, "host", "processors", "logical")
    least = wanted(expectations, "minimum_processors")
    if processors is not None and least and processors < least:
        yield f"{processors} processors, {amount(least)} expected"


def _held_together(facts: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each filesystem once, with the words for it: where it is mounted, and which of the paths it holds."""
    paths: dict[Any, list[dict[str, Any]]] = {}
    for entry in items(facts, "host", "filesystems"):
        if entry.get("path"):
            paths.setdefault(entry.get("mountpoint") or entry["path"], []).append(entry)
    for mountpoint, entries in paths.items():
        others = [entry["path"] for entry in entries if entry["path"] != mountpoint]
        yield (
            {
                **entries[0],
                "paths": [entry["path"] for entry in entries],
                "exists": {entry["path"]: entry.get("exists") for entry in entries},
            },
            mountpoint + (f" (which holds {', '.join(others)})" if others else ""),
        )


def _short_of_space(facts, expectations, built: bool) -> Iterator[str]:
    """Yield a sentence for each filesystem with too little space, of what is needed still or of what was built already.

    Once the root is there, the minimum of its filesystem was for what lies on it by now; a role that builds anew asks
    for the room that it needs by itself.
    """
    limits, root = expectations.get("minimum_free_gb") or {}, expectations.get("root")
    for entry, words in _held_together(facts):
        needs = {path: wanted(expectations, "minimum_free_gb", path) or 0 for path in entry["paths"] if path in limits}
        used = {root, "/"} if entry["exists"].get(root) else set()
        due = max((least for path, least in needs.items() if path not in used), default=0)
        least = max(needs.values(), default=0) if built else due
        free = entry.get("free_bytes")
        if free is not None and free < least * GB and (not built or free >= due * GB):
            yield f"{free / GB:.1f} GB are free on {words}, {amount(least)} GB needed"


@rule(
    "disk.space",
    "fail",
    "Less space on the filesystem that holds a path than `preflight_minimum_free_gb`.",
    "make room there (old kernels, caches, logs), or change preflight_minimum_free_gb",
)
def _disk_space(facts, expectations) -> Iterator[str]:
    yield from _short_of_space(facts, expectations, built=False)


@rule(
    "disk.space_left",
    "warn",
    "The host was provisioned, and what is free now would not do for it once more.",
    "make room before the next upgrade, which builds beside what is in use; or change preflight_minimum_free_gb",
)
def _disk_space_left(facts, expectations) -> Iterator[str]:
    yield from _short_of_space(facts, expectations, built=True)


@rule(
    "disk.inodes",
    "warn",
    f"A filesystem can take fewer than {FEW_INODES} more files.",
    "remove small files (caches, mail, logs); the space that is left is of no use",
)
def _disk_inodes(facts, expectations) -> Iterator[str]:
    limits = expectations.get("minimum_free_gb") or {}
    for entry, words in _held_together(facts):
        free, most = entry.get("free_inodes"), entry.get("inodes")
        # A small filesystem such as /boot never could take so many.
        if free is not None and most is not None and free < FEW_INODES < most and set(entry["paths"]) & set(limits):
            yield f"{free} more files fit on {words}"


@rule(
    "disk.read_only",
    "fail",
    "A filesystem that the roles write to is mounted read-only.",
    "read the kernel's log for the error that made it so, and mount it read-write",
)
def _disk_read_only(facts, expectations) -> Iterator[str]:
    limits = expectations.get("minimum_free_gb") or {}
    for entry, words in _held_together(facts):
        if entry.get("read_only") and set(entry["paths"]) & set(limits):
            yield f"{words} is mounted read-only"


@rule(
    "disk.noexec",
    "fail",
    "Programs may not be started on the filesystem that will hold the environments.",
    "mount it without noexec, or set workstation_root to another place",
)
def _disk_noexec(facts, expectations) -> Iterator[str]:
    for entry in items(facts, "host", "filesystems"):
        if entry.get("noexec") and entry.get("path") and entry["path"] == expectations.get("root"):
            yield f"{entry.get('mountpoint')}, which holds {entry['path']}, is mounted noexec"


@rule(
    "disk.noexec_tmp",
    "info",
    "Programs may not be started in /tmp.",
    "the roles do not need it; an installer of your own may",
)
def _disk_noexec_tmp(facts, expectations) -> Iterator[str]:
    for entry in items(facts, "host", "filesystems"):
        if entry.get("noexec") and entry.get("path") == "/tmp":  # noqa: S108 (looked at)
            yield f"{entry.get('mountpoint')}, which holds /tmp, is mounted noexec"


@rule(
    "clock.offset",
    "fail",
    "The clock is further off the controller's than `preflight_maximum_clock_offset`.",
    "set the clock and let NTP keep it; packages, certificates and Kerberos are judged by it",
)
def _clock_offset(facts, expectations) -> Iterator[str]:
    offset, most = get(facts, "host", "clock_offset_seconds"), wanted(expectations, "maximum_clock_offset")
    if offset is not None and most is not None and abs(offset) > most:
        yield (
            f"the clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the controller's, "
            f"{amount(most)} s allowed"
        )


@rule(
    "clock.unsynchronized",
    "info",
    "Nothing keeps the clock right.",
    "enable chrony or systemd-timesyncd, unless the virtual machine's host does it",
)
def _clock_unsynchronized(facts, expectations) -> Iterator[str]:
    if get(facts, "host", "clock_synchronized") is False:
        yield "the kernel knows of nothing that keeps its clock right"


@rule(
    "kernel.headers",
    "warn",
    "The headers of the running kernel are missing, so no driver can be built for it.",
    "install them, or reboot into a kernel that has them",
)
def _kernel_headers(facts, expectations) -> Iterator[str]:
    gpus = [device for device in items(facts, "gpu", "pci") if device.get("vendor") == "nvidia"]
    if gpus and not get(facts, "host", "container") and get(facts, "host", "kernel", "headers") is False:
        yield f"there are no headers for the running kernel {get(facts, 'host', 'kernel', 'release')}"


@rule(
    "kernel.newer",
    "warn",
    "A newer kernel is installed than the one that runs.",
    "reboot before a driver is built for a kernel that is about to go",
)
def _kernel_newer(facts, expectations) -> Iterator[str]:
    running, newest = get(facts, "host", "kernel", "release"), get(facts, "host", "kernel", "newest_installed")
    if running and newest and running != newest:
        yield f"the kernel {running} runs and {newest} is installed"


@rule("kernel.reboot", "warn", "A package asks for a reboot.", "reboot when no program uses the host")
def _kernel_reboot(facts, expectations) -> Iterator[str]:
    if get(facts, "host", "reboot_required"):
        by = texts(facts, "host", "reboot_required_by")
        yield "a reboot is due" + (f" for {', '.join(by)}" if by else "")


@rule(
    "packages.interrupted",
    "fail",
    "dpkg was cut off and left packages half done.",
    "run `dpkg --configure -a`; the role bootstrap does, except in check mode",
)
def _packages_interrupted(facts, expectations) -> Iterator[str]:
    packages = get(facts, "host", "packages") or {}
    if packages.get("lock_pid"):
        return  # dpkg is at work now; see packages.busy
    half = [f"{package.get('name')} ({package.get('state')})" for package in items(packages, "interrupted")]
    if half:
        yield f"dpkg was cut off at {', '.join(half)}"
    elif packages.get("journal"):
        yield f"dpkg was cut off and left {len(packages['journal'])} notes in /var/lib/dpkg/updates"


@rule(
    "packages.busy",
    "info",
    "A package manager is at work.",
    "nothing; the roles wait for its lock and never break it",
)
def _packages_busy(facts, expectations) -> Iterator[str]:
    pid = get(facts, "host", "packages", "lock_pid")
    if pid:
        yield f"process {pid} holds dpkg's lock"


def _touches_ours(pattern: str) -> bool:
    """Say whether a name, glob or regular expression may mean a package of ours; it is never run as a pattern."""
    stem = re.match(r"[\w-]*", pattern.lstrip("^")).group(0).lower()
    stem = re.sub(r"-\d.*", "", stem)
    return any(stem.startswith(name) or name.startswith(stem) for name in OURS)  # no stem: it means every package


@rule(
    "packages.held",
    "warn",
    "Packages on hold that the roles may have to change, and that no role put there.",
    "`apt-mark unhold` those that no longer need it",
)
def _packages_held(facts, expectations) -> Iterator[str]:
    ours = texts(facts, "host", "packages", "held_by_roles")
    held = [name for name in texts(facts, "host", "packages", "held") if name.startswith(OURS) and name not in ours]
    if held:
        yield f"on hold: {', '.join(held)}"


@rule(
    "packages.excluded",
    "warn",
    "dnf or yum leaves out or locks packages that the roles may have to change.",
    "take them out of excludepkgs and versionlock while the host is provisioned",
)
def _packages_excluded(facts, expectations) -> Iterator[str]:
    for key, words in (("excluded", "left out by dnf"), ("version_locked", "locked at a version by dnf")):
        names = [name for name in texts(facts, "host", "packages", key) if _touches_ours(name)]
        if names:
            yield f"{words}: {', '.join(names)}"


@rule(
    "packages.blacklisted",
    "info",
    "Unattended upgrades leave the driver's packages alone.",
    "as it should be; such packages get their security fixes from you",
)
def _packages_blacklisted(facts, expectations) -> Iterator[str]:
    names = [name for name in texts(facts, "host", "packages", "blacklisted") if _touches_ours(name)]
    if names:
        yield f"unattended upgrades leave alone: {', '.join(names)}"


@rule(
    "packages.unattended",
    "warn",
    "Unattended upgrades may change the NVIDIA driver below a running program.",
    "hold the driver's packages, or put them on the Unattended-Upgrade::Package-Blacklist",
)
def _packages_unattended(facts, expectations) -> Iterator[str]:
    packages = get(facts, "host", "packages") or {}
    kept = [name for name in texts(packages, "held") + texts(packages, "blacklisted") if "nvidia" in name]
    if packages.get("unattended_upgrades") and get(facts, "gpu", "kernel", "driver_version") and not kept:
        yield "unattended upgrades are on, and nothing keeps them from the NVIDIA driver"


def _sources(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [source for source in items(facts, "host", "apt_sources") if source.get("uri") and source.get("file")]


def _address(source: dict[str, Any]) -> tuple[str, Any]:
    # To apt, http and https of one address are one source; letters in upper case are another.
    return re.sub(r"^[a-z+]+://", "", str(source.get("uri"))).rstrip("/"), source.get("suite")


def _place(source: dict[str, Any]) -> str:
    return f"{source['file']}:{source['line']}" if source.get("line") else source["file"]


def _conflicts(facts: dict[str, Any]) -> dict[tuple[str, Any], tuple[dict[str, Any], dict[str, Any]]]:
    """Return the first two sources of one address whose keys differ, by address, as apt compares them.

    A source with a key after one without is taken; the reverse, and another key, makes apt refuse all of its sources.
    """
    first: dict[tuple[str, Any], dict[str, Any]] = {}
    found: dict[tuple[str, Any], tuple[dict[str, Any], dict[str, Any]]] = {}
    for source in _sources(facts):
        known = first.setdefault(_address(source), source)
        if known.get("signed_by") and source.get("signed_by") != known["signed_by"]:
            found.setdefault(_address(source), (known, source))
        elif not known.get("signed_by"):
            first[_address(source)] = source
    return found


@rule(
    "apt.conflict",
    "fail",
    "Two apt sources of one address are bound to different keys, so apt does nothing at all any more.",
    "remove one of the two, or give both the same Signed-By",
)
def _apt_conflict(facts, expectations) -> Iterator[str]:
    for known, source in _conflicts(facts).values():
        yield (
            f"{_place(known)} binds {source.get('uri')} {source.get('suite')} to {known['signed_by']}, "
            f"{_place(source)} to {source.get('signed_by') or 'no key'}"
        )


@rule("apt.duplicate", "warn", "An apt source stands in two places.", "remove it from one of them")
def _apt_duplicate(facts, expectations) -> Iterator[str]:
    seen: dict[Any, list[dict[str, Any]]] = {}
    for source in _sources(facts):
        for component in source.get("components") or [""]:
            seen.setdefault((source.get("type"), *_address(source), component), []).append(source)
    said = set(_conflicts(facts))
    for sources in seen.values():
        if len(sources) > 1 and _address(sources[0]) not in said:
            said.add(_address(sources[0]))
            places = dict.fromkeys(map(_place, sources))
            yield f"{sources[0].get('uri')} {sources[0].get('suite')} stands in {' and '.join(places)}"


@rule(
    "apt.foreign_nvidia",
    "warn",
    "An apt source of NVIDIA's that is not from this collection.",
    "let one hand own it; with another key beside ours, apt does nothing at all any more",
)
def _apt_foreign_nvidia(facts, expectations) -> Iterator[str]:
    for source in _sources(facts):
        host = _address(source)[0].partition("/")[0].lower()
        if host in NVIDIA_HOSTS and not source["file"].rpartition("/")[2].startswith(OUR_FILES):
            yield f"{_place(source)} leads to {source['uri']}"


@rule(
    "host.container",
    "info",
    "The host is a container; drivers, kernels and the clock belong to the machine around it.",
    "provision the driver on that machine",
)
def _host_container(facts, expectations) -> Iterator[str]:
    if get(facts, "host", "container"):
        yield f"this is a container ({facts['host']['container']})"


@rule(
    "facts.gap",
    "info",
    "Something could not be read, so nothing is said about it.",
    "become root, or take note that it was not judged",
)
def _facts_gap(facts, expectations) -> Iterator[str]:
    for subject in ("gpu", "memory", "nvme", "host"):
        for gap in texts(facts, subject, "gaps"):
            yield f"{subject}: {gap}"
    read = {entry.get("path") for entry in items(facts, "host", "filesystems")}
    for path in expectations.get("minimum_free_gb") or {}:
        if read and path not in read:
            yield f"host: preflight_minimum_free_gb names {path}, which facts_paths does not"
