# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gpu_facts knows of the GPU drivers from the kernel, its log, DKMS and the libraries. Private to the collection.

The parsers are pure: text in, data out, and no input makes them raise. What nobody says is None.
"""

import os
import re
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._pci import normal_address

EFI_VARIABLES = "/sys/firmware/efi/efivars/"
SECURE_BOOT = EFI_VARIABLES + "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MODULES = (
    "nvidia",
    "nvidia_uvm",
    "nvidia_modeset",
    "nvidia_drm",
    "nvidia_peermem",
    "nv_peer_mem",
    "nouveau",
    "amdgpu",
)
DEVICE_NODE = re.compile(r"nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset|-caps|-nvswitch\d+|-nvswitchctl)$")
# Where the distributions, NVIDIA's installer and container platforms put the libraries; the first that has them counts.
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/powerpc64le-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib64",
    "/usr/lib64/nvidia",
    "/usr/lib",
    "/usr/lib/nvidia",
    "/usr/local/nvidia/lib64",
)
LIBRARY = re.compile(r"(libnvidia-ml|libcuda)\.so\.(\d{2,4}\.\d{1,4}(?:\.\d{1,4})?)$")
# nvidia.ko and Debian's nvidia-current.ko, but not nvidia-uvm.ko and its siblings.
MODULE_FILE = re.compile(
    r"nvidia(?!.*(uvm|modeset|drm|peermem|fs))(-(current|tesla|legacy|open)[-\w]*)?\.ko(\.(xz|gz|zst))?$"
)
DKMS = "/var/lib/dkms"
DKMS_NAME = re.compile(r"nvidia(-(open|current|tesla|legacy|srv|server|\d).{0,40})?$")
DKMS_STATES = ("installed", "built", "failed", "broken", "added")
KERNELS_LIMIT = 50
VERSION_LIMIT = 4096
MESSAGE_LIMIT = 300
EVENTS_LIMIT = 100
KINDS_LIMIT = 1000
# A line of the log in the form of /dev/kmsg, or of dmesg with and without a level before it.
KMSG = re.compile(r"\d{1,6},(\d{1,18}),(\d{1,15}),[^;]{0,80};(.*)")
DMESG = re.compile(r"(?:<\d{1,3}>)?\[ {0,8}(\d{1,9}\.\d{1,9})\](?:\[[^\]]{1,20}\])? (.*)")
XID = re.compile(r"NVRM: Xid ?(?:\(([^)]{1,80})\))?: (\d{1,5})\b[, ]*(.*)")
SWITCH_ERROR = re.compile(r"nvidia-nvswitch\d*: SXid \(([^)]{1,80})\): (.*)")
ADDRESS = re.compile(r"\b(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-7]))?\b")
OLD_ADDRESS = re.compile(r"00([0-9a-fA-F]{2}):([0-9a-fA-F]{2})$")
COMPLAINTS = (
    ("fallen_off_bus", "fallen off the bus"),
    ("needs_older_driver", "Legacy drivers"),
    ("needs_proprietary_modules", "not supported by open nvidia.ko"),
    ("needs_open_modules", "requires use of the NVIDIA open kernel modules"),
    ("version_mismatch", "API mismatch"),
    ("init_failed", "RmInitAdapter failed"),
    ("init_failed", "rm_init_adapter failed"),
    ("init_failed", "Cannot initialize GSP firmware"),
)


def parse_driver_version(text: str) -> Tuple[Optional[str], Optional[str]]:
    """Return version and flavour of the loaded driver from C(/proc/driver/nvidia/version).

    The open modules call themselves "NVIDIA UNIX Open Kernel Module"; the others do not say what they are.
    """
    match = re.search(
        r"^NVRM version:.*?\b(Open )?Kernel Module\b.*?\s(\d{2,4}\.\d{1,4}(?:\.\d{1,4})?)\b",
        text[:VERSION_LIMIT],
        re.MULTILINE,
    )
    if not match:
        return None, None
    return match.group(2), "open" if match.group(1) else "proprietary"


def parse_modules(text: str) -> List[str]:
    """Return those of the modules that matter here which C(/proc/modules) lists."""
    loaded = {line.split(" ", 1)[0] for line in text.splitlines()}
    return [name for name in MODULES if name in loaded]


def parse_secure_boot(variable: bytes) -> Optional[bool]:
    """Return whether Secure Boot is on, from the EFI variable: four bytes of attributes, then the value."""
    return bool(variable[4]) if len(variable) == 5 else None


def parse_signature_policy(sig_enforce: str, lockdown: str) -> Optional[bool]:
    """Return whether unsigned modules are refused, from the module parameter and from C([none] integrity ...)."""
    chosen = re.search(r"\[(\w{1,40})\]", lockdown[:VERSION_LIMIT])
    says = [{"Y": True, "1": True, "N": False, "0": False}.get(sig_enforce.strip())]
    says.append(None if not chosen else chosen.group(1) != "none")
    return True if True in says else False if False in says else None


def parse_modinfo(text: str) -> Dict[str, Any]:
    """Return version, flavour and signature of a module from what C(modinfo) prints of it."""
    fields = {}  # type: Dict[str, str]
    for line in text[: 1 << 20].splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip():
            fields.setdefault(name.strip(), value.strip()[:MESSAGE_LIMIT])
    known = "version" in fields or "license" in fields
    return {
        "version": fields.get("version"),
        "flavor": {"NVIDIA": "proprietary", "Dual MIT/GPL": "open"}.get(fields.get("license", "")),
        "signed": bool({"sig_id", "sig_key", "signer", "signature"} & set(fields)) if known else None,
        "signer": fields.get("signer"),
    }


def log_address(text: str) -> Optional[str]:
    """Return the address in C(PCI:0000:3b:00), C(0000:3b:00.0) or the C(0003:00) of old drivers; None without one."""
    old = OLD_ADDRESS.match(text)
    match = ADDRESS.search(text)
    if old:
        return normal_address("{}:{}.0".format(*old.groups()))
    if not match:
        return None
    return normal_address("{}:{}:{}.{}".format(match.group(1) or "0000", *match.groups("0")[1:]))


def _lines(text: str) -> Iterator[Tuple[Optional[int], Optional[float], str]]:
    """Yield number, seconds after the boot and words of each line of the log; what is not said is None."""
    for line in text.split("\n"):
        match = KMSG.match(line)
        if match:
            number, seconds = int(match.group(1)), int(match.group(2)) / 1e6
            for part in match.group(3).replace("\\x0a", "\n").split("\n"):  # one record may hold several lines
                yield number, seconds, part
            continue
        match = DMESG.match(line)
        if match:
            yield None, float(match.group(1)), match.group(2)
        elif line and not line.startswith(" "):  # /dev/kmsg indents the names and values after a record
            yield None, None, line


def parse_kernel_log(text: str) -> Dict[str, Any]:
    """Return the Xid events and the driver's other complaints in the kernel's log, and whether it is all there."""
    events, complaints = [], []  # type: Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]
    counts = {}  # type: Dict[Tuple[str, int], Dict[str, Any]]
    complete, first = None, True
    sentence, started = "", None  # type: Tuple[str, Optional[float]]
    for number, seconds, words in _lines(text):
        if first:
            first = False
            complete = number == 0 if number is not None else None if seconds is None else seconds == 0
        place = words.find("NVRM: ")
        if place < 0:
            sentence = ""
            match = SWITCH_ERROR.search(words) if "SXid" in words else None
            if match:
                complaints.append(_complaint("nvswitch_error", match.group(1), seconds, match.group(0)))
            continue
        match = XID.search(words, place)
        if match:
            sentence = ""
            address, xid = log_address(match.group(1) or ""), int(match.group(2))
            message = match.group(3).strip()[:MESSAGE_LIMIT]
            events.append({"address": address, "xid": xid, "time_seconds": seconds, "message": message})
            key = (address or "", xid)
            if key in counts:
                counts[key]["count"] += 1
                counts[key]["last_seconds"] = seconds
            elif len(counts) < KINDS_LIMIT:
                counts[key] = {"address": address, "xid": xid, "count": 1, "first_seconds": seconds}
                counts[key]["last_seconds"] = seconds
            continue
        # "The NVIDIA GPU 0000:b3:00.0 ... installed in this system has fallen off the bus" comes in several lines.
        said = " ".join(words[place + len("NVRM: ") :].split())
        if sentence and not re.match(r"(The NVIDIA|GPU|API|No NVIDIA|loading)\b", said):
            sentence = (sentence + " " + said)[: 4 * MESSAGE_LIMIT]
        else:
            sentence, started = said[: 4 * MESSAGE_LIMIT], seconds
        for kind, clue in COMPLAINTS:
            if clue in sentence:
                complaints.append(_complaint(kind, sentence, started, sentence))
                sentence = ""
                break
    return {
        "log_complete": complete,
        "xid_events": events[-EVENTS_LIMIT:],
        "xid_counts": [counts[key] for key in sorted(counts)],
        "driver_complaints": complaints[-EVENTS_LIMIT:],
    }


def _complaint(kind: str, place: str, seconds: Optional[float], message: str) -> Dict[str, Any]:
    return {
        "kind": kind,
        "address": log_address(place),
        "time_seconds": seconds,
        "message": message.strip()[:MESSAGE_LIMIT],
    }


def version_key(version: str) -> Tuple[int, ...]:
    """Return what orders driver versions as numbers: 580.95.05 is newer than 580.9."""
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version))


def read_log(host, timeout: float, journalctl: str, dmesg: str) -> Tuple[Dict[str, Any], Optional[str]]:
    """Return what the kernel's log says, and why it is not known if that is so.

    The kernel's own buffer forgets its oldest lines; where it did, or is closed to us, the journal may remember.
    """
    text, complaint = host.read_records("/dev/kmsg")
    log = parse_kernel_log(text)
    tried = [complaint or "empty"]
    journal = [journalctl, "--dmesg", "--boot", "--output=short-monotonic", "--no-pager", "--quiet"]
    for argv in (journal, [dmesg]):
        if log["log_complete"] or (text and argv == [dmesg]) or not _may_run(host, argv[0]):
            continue
        answer = host.run(argv, timeout)
        other = parse_kernel_log(answer.stdout) if answer.rc == 0 and answer.stdout.strip() else None
        if other and (other["log_complete"] or not text):
            text, log, complaint = answer.stdout, other, None
        tried.append("{}: {}".format(argv[0], answer.error or answer.stderr.strip()[:MESSAGE_LIMIT] or "empty"))
    if not text:
        log, complaint = dict.fromkeys(log), "; ".join(tried)
    return {"log_readable": bool(text), **log}, complaint


def _may_run(host, command: str) -> bool:
    """Say whether a command speaks of this host: below another root than C(/) only one whose path was given does."""
    return host.root == "/" or os.path.isabs(command)


def libraries(host) -> Tuple[List[Dict[str, str]], Optional[str]]:
    """Return the driver's libraries, and the version of the one that programs load."""
    found = []  # type: List[Dict[str, str]]
    linked = {}  # type: Dict[str, str]
    for folder in LIBRARY_FOLDERS:
        for file in host.listdir(folder, quiet=True):
            match = LIBRARY.match(file)
            if match:
                found.append({"path": folder + "/" + file, "version": match.group(2)})
        for name in ("libnvidia-ml", "libcuda"):
            target = LIBRARY.match(host.readlink_name(f"{folder}/{name}.so.1") or "")
            if target:
                linked.setdefault(name, target.group(2))
    for name in ("libnvidia-ml", "libcuda"):
        versions = {row["version"] for row in found if "/" + name + ".so" in row["path"]}
        if versions:
            return found, linked[name] if linked.get(name) in versions else max(versions, key=version_key)
    return found, None


def module_files(host, release: str) -> List[str]:
    """Return the nvidia modules of a kernel, the one that modprobe prefers first."""
    top = "/lib/modules/" + release
    folders = [(top + "/" + name, 4) for name in ("updates", "extra")]
    folders += [
        (top + "/kernel/" + name, 1) for name in host.listdir(top + "/kernel", quiet=True) if name.startswith("nvidia-")
    ]
    folders += [(top + "/kernel/drivers/video", 2), (top + "/weak-updates", 3)]
    return [path for folder, depth in folders for path in _modules_below(host, folder, depth)]


def _modules_below(host, folder: str, depth: int) -> Iterator[str]:
    for name in host.listdir(folder, quiet=True):
        if MODULE_FILE.match(name):
            yield folder + "/" + name
        elif depth > 1 and ".ko" not in name:
            yield from _modules_below(host, folder + "/" + name, depth - 1)


def dkms_trees(host) -> List[Dict[str, Any]]:
    """Return each version of NVIDIA's driver that DKMS knows: its kernels, and whether its source is there."""
    trees = []
    for name in host.listdir(DKMS, quiet=True):
        if not DKMS_NAME.match(name):
            continue
        module = DKMS + "/" + name
        links = {}  # type: Dict[str, str]
        versions = []
        for entry in host.listdir(module, quiet=True):
            if entry.startswith("kernel-"):
                links[entry] = host.readlink(module + "/" + entry) or ""
            elif entry[:1].isdigit():
                versions.append(entry)
        for version in versions:
            folder = module + "/" + version
            source = host.readlink(folder + "/source")
            failed = re.search(r" for kernel (\S+)", host.read_text(folder + "/build/make.log", VERSION_LIMIT, True))
            trees.append(
                {
                    "version": version,
                    "built": host.listdir(folder, quiet=True),
                    "installed": [target for target in links.values() if target.split("/")[0] == version],
                    "failed": failed.group(1) if failed else None,
                    "broken": source is not None and not host.leads_somewhere(folder + "/source"),
                }
            )
    return trees


def dkms_state(trees: List[Dict[str, Any]], release: str, files: List[str]) -> Tuple[Optional[str], Optional[str]]:
    """Return the best state of DKMS's driver for one kernel, and its version."""
    states = []
    for tree in trees:
        if release in tree["built"]:
            linked = any(target.split("/")[1:2] == [release] for target in tree["installed"])
            state = "installed" if linked and files else "built"
        elif tree["failed"] == release:
            state = "failed"
        else:
            state = "broken" if tree["broken"] else "added"
        states.append(
            (DKMS_STATES.index(state), tuple(-part for part in version_key(tree["version"])), tree["version"])
        )
    if not states:
        return None, None
    best = min(states)
    return DKMS_STATES[best[0]], best[2]


def kernels(host, release: Optional[str]) -> List[Dict[str, Any]]:
    """Return every installed kernel, with its NVIDIA modules and what DKMS did for it."""
    trees = dkms_trees(host)
    rows = []
    for name in host.listdir("/lib/modules", quiet=True):
        folder = "/lib/modules/" + name
        # A removed kernel may leave a folder behind that has nothing but the modules which DKMS put there.
        if name != release and not host.exists(folder + "/kernel") and not host.exists(folder + "/modules.builtin"):
            continue
        files = module_files(host, name)
        state, version = dkms_state(trees, name, files)
        row = {"release": name, "running": name == release, "module_files": files}
        row.update(dkms_state=state, dkms_version=version)
        rows.append(row)
    return [row for row in rows if row["running"]] + [row for row in rows if not row["running"]][-KERNELS_LIMIT:]


def kernel_side(
    host, nvidia: bool, timeout: float, modinfo: str = "modinfo", journalctl: str = "journalctl", dmesg: str = "dmesg"
) -> Dict[str, Any]:
    """Return what the kernel, its log and the file system say about the GPU drivers.

    ``nvidia`` says whether the bus has an NVIDIA device, so that there is something to miss.
    """
    version, flavor = parse_driver_version(host.read_text("/proc/driver/nvidia/version", quiet=True))
    release = host.read_text("/proc/sys/kernel/osrelease", quiet=True) or None
    found, userspace = libraries(host)
    installed = kernels(host, release)
    module = None
    files = [file for row in installed if row["running"] for file in row["module_files"]]
    if files:
        module = {"path": files[0], "version": None, "flavor": None, "signed": None, "signer": None}
        if _may_run(host, modinfo):
            answer = host.run([modinfo, host.path(files[0])], timeout)
            if answer.rc == 0:
                module.update(parse_modinfo(answer.stdout))
            else:
                said = answer.error or answer.stderr.strip()[:MESSAGE_LIMIT] or f"ended with status {answer.rc}"
                host.gaps.append(f"{modinfo}: {said}")
    log, complaint = read_log(host, timeout, journalctl, dmesg)
    if complaint and (nvidia or version):
        host.gaps.append(f"the kernel's log: {complaint}")
    side = {
        "release": release,
        "driver_version": version,
        "flavor": flavor,
        "userspace_version": userspace,
        "userspace_matches": userspace == version if userspace and version else None,
        "libraries": found,
        "modules": parse_modules(host.read_text("/proc/modules", quiet=True)),
        "installed_module": module,
        "kernels": installed,
        "device_nodes": [name for name in host.listdir("/dev", quiet=True) if DEVICE_NODE.match(name)],
        "efi": host.exists("/sys/firmware/efi"),
        "secure_boot": parse_secure_boot(host.read_bytes(SECURE_BOOT, quiet=True)),
        "module_signatures_enforced": parse_signature_policy(
            host.read_text("/sys/module/module/parameters/sig_enforce", quiet=True),
            host.read_text("/sys/kernel/security/lockdown", quiet=True),
        ),
    }
    side.update(log)
    return side
