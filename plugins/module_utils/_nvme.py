# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvme_facts knows of sysfs, of what is built on drives, and of their health log. Private to the collection.

The parsers are pure, and no input makes them raise. What a drive does not say, or says absurdly, is None.
"""

import array
import itertools
import json
import os
import re
import struct
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._pci import (
    normal_address,
    read_link,
    read_numa_node,
)

CLASS = "/sys/class/nvme"
SUBSYSTEMS = "/sys/class/nvme-subsystem"
BTRFS = "/sys/fs/btrfs"
SECTOR = 512  # sysfs counts sizes in these, whatever the drive's block is
KIB = 1 << 10
DATA_UNIT = 512000  # bytes; so the specification counts what was read and written
FABRICS = ("tcp", "rdma", "fc", "loop")
DM_KINDS = {"LVM": "lvm", "CRYPT": "crypt", "mpath": "mpath"}  # how the UUIDs of device-mapper begin
HIDDEN = re.compile(r"nvme\d+c\d+n\d+$")
DEPTH = 16  # of devices on devices; the kernel allows fewer
ADMIN_COMMAND = 0xC0484E41  # NVME_IOCTL_ADMIN_CMD, _IOWR('N', 0x41, struct nvme_admin_cmd)
GET_LOG_PAGE, HEALTH_LOG, HEALTH_BYTES, ALL_NAMESPACES = 0x02, 0x02, 512, 0xFFFFFFFF
# The critical-warning bits from bit 0 up, with the names that nvme-cli gives them.
WARNINGS = (
    ("spare_below_threshold", "available_spare"),
    ("temperature", "temp_threshold"),
    ("reliability_degraded", "reliability_degraded"),
    ("read_only", "ro"),
    ("volatile_backup_failed", "vmbu_failed"),
    ("persistent_memory_unreliable", "pmr_ro"),
)
ZERO_CELSIUS = 273
COLDEST, HOTTEST = -60, 200  # degrees Celsius that a drive can believably tell
SENSORS_OFFSET, SENSORS = 200, 8
SENSOR_NAMES = tuple(f"temperature_sensor_{number}" for number in range(1, SENSORS + 1))
JSON_LIMIT = 1 << 20
LIST_LIMIT = 512  # of entries in one list that is believed
QUOTE_LIMIT = 200
COUNT_LIMIT = (1 << 53) - 1  # what every reader of JSON holds exactly
DATA_UNIT_LIMIT = (1 << 63) // DATA_UNIT - 1
HOURS_LIMIT = 10**6  # 114 years
MINUTES_LIMIT = 60 * HOURS_LIMIT


class Field(NamedTuple):
    """Where a number stands in the log, what is too much for it, and what nvme-cli and smartctl call it."""

    name: str
    offset: int
    size: int
    most: int
    words: Tuple[str, ...]


FIELDS = (
    Field("available_spare_percent", 3, 1, 100, ("avail_spare", "available_spare")),
    Field("spare_threshold_percent", 4, 1, 100, ("spare_thresh", "available_spare_threshold")),
    Field("percentage_used", 5, 1, 255, ("percent_used", "percentage_used")),
    Field("data_read_bytes", 32, 16, DATA_UNIT_LIMIT, ("data_units_read",)),
    Field("data_written_bytes", 48, 16, DATA_UNIT_LIMIT, ("data_units_written",)),
    Field("power_cycles", 112, 16, COUNT_LIMIT, ("power_cycles",)),
    Field("power_on_hours", 128, 16, HOURS_LIMIT, ("power_on_hours",)),
    Field("unsafe_shutdowns", 144, 16, COUNT_LIMIT, ("unsafe_shutdowns",)),
    Field("media_errors", 160, 16, COUNT_LIMIT, ("media_errors",)),
    Field("error_log_entries", 176, 16, COUNT_LIMIT, ("num_err_log_entries",)),
    Field("warning_temperature_minutes", 192, 4, MINUTES_LIMIT, ("warning_temp_time",)),
    Field("critical_temperature_minutes", 196, 4, MINUTES_LIMIT, ("critical_comp_time",)),
)


def parse_health(log: bytes) -> Optional[Dict[str, Any]]:
    """Return the health log (NVM Express base specification, log page 02h), or None where it is not one.

    All zeros is what some virtual drives give for "not supported"; all ones is what a drive gives that is gone.
    """
    log = log[:HEALTH_BYTES]
    if len(log) < HEALTH_BYTES or log in (b"\0" * HEALTH_BYTES, b"\xff" * HEALTH_BYTES):
        return None
    warning, kelvin = struct.unpack_from("<BH", log)
    sensors = struct.unpack_from(f"<{SENSORS}H", log, SENSORS_OFFSET)
    numbers = {field.name: int.from_bytes(log[field.offset : field.offset + field.size], "little") for field in FIELDS}
    return _health("ioctl", warning, kelvin - ZERO_CELSIUS, [value - ZERO_CELSIUS for value in sensors], numbers)


def parse_nvme_smart_log(text: str) -> Optional[Dict[str, Any]]:
    """Return the health that C(nvme smart-log -o json) printed, or None where it printed none.

    Its generations differ. Counters are integers, floats or strings; the critical warning is a number or a dictionary
    of bits; some keys begin with a capital. Temperatures are Kelvin in all.
    """
    log = _lower(_load(text))
    warning, bits = _number(log.get("critical_warning")), _lower(log.get("critical_warning"))
    if bits:
        named = [_number(bits.get(word)) for _name, word in WARNINGS]
        warning = _number(bits.get("value"))
        if warning is None and None not in named[:5]:  # the sixth is younger than the dictionary
            warning = sum(bool(bit) << place for place, bit in enumerate(named))
    kelvin = [_number(log.get(name)) for name in ("temperature", *SENSOR_NAMES)]
    celsius = [None if value is None else value - ZERO_CELSIUS for value in kelvin]
    return _health_of_json("nvme", log, warning, celsius[0], celsius[1:])


def parse_smartctl(text: str) -> Optional[Dict[str, Any]]:
    """Return the health that C(smartctl -j -a) printed, or None where it printed none. Temperatures are Celsius."""
    log = _lower(_lower(_load(text)).get("nvme_smart_health_information_log"))
    sensors = log.get("temperature_sensors")
    sensors = [_number(value) for value in sensors[:SENSORS]] if isinstance(sensors, list) else []
    warning, celsius = _number(log.get("critical_warning")), _number(log.get("temperature"))
    return _health_of_json("smartctl", log, warning, celsius, sensors)


def _health_of_json(source, log, warning, celsius, sensors) -> Optional[Dict[str, Any]]:
    numbers = {}
    for field in FIELDS:
        numbers[field.name] = next((_number(log[word]) for word in field.words if word in log), None)
    health = _health(source, warning, celsius, sensors, numbers)
    said = [health["temperature_celsius"], *health["critical_warning"].values()]
    return health if any(said + [health[field.name] for field in FIELDS]) else None


def _health(source, warning, celsius, sensors, numbers) -> Dict[str, Any]:
    if warning is not None and not 0 <= warning < 0xFF:
        warning = None
    health = {
        "source": source,
        "critical_warning": {
            name: None if warning is None else bool(warning >> bit & 1) for bit, (name, _word) in enumerate(WARNINGS)
        },
        "temperature_celsius": _believable(celsius),
        "sensors": [
            {"number": place + 1, "temperature_celsius": value}
            for place, value in enumerate(sensors)
            if _believable(value) is not None
        ],
    }
    for field in FIELDS:
        value = numbers[field.name]
        health[field.name] = value if value is not None and 0 <= value <= field.most else None
    for name in ("data_read_bytes", "data_written_bytes"):
        health[name] = health[name] * DATA_UNIT if health[name] else None
    return health


def _believable(celsius: Optional[int]) -> Optional[int]:
    return celsius if celsius is not None and COLDEST <= celsius <= HOTTEST else None


def parse_nvme_list(text: str) -> Dict[str, Dict[str, Any]]:
    """Return the controllers that C(nvme list -o json) printed, by name, with what it says of each.

    Its generations differ. The first lists namespaces; the next subsystems with controllers with namespaces; and the
    last lists hosts around those. Where the kernel's multipath is at work, a subsystem has the namespaces.
    """
    drives: Dict[str, Dict[str, Any]] = {}
    for item, subsystem in itertools.islice(_listed(_load(text), {}, 0), LIST_LIMIT):
        name = _word(item.get("controller")) or _word(item.get("devicepath")) or ""
        match = re.match(r"(?:/dev/)?(nvme\d{1,6})(n\d{1,6})?$", name)
        if not match:
            continue
        if match.group(2):
            namespaces = [item]
        else:
            own = [space for space in _dicts(item.get("namespaces")) if not HIDDEN.search(str(space.get("namespace")))]
            namespaces = own or _dicts(subsystem.get("namespaces"))
        drive = drives.setdefault(match.group(1), {"namespaces": []})
        for key, word in (
            ("model", "modelnumber"),
            ("serial", "serialnumber"),
            ("firmware", "firmware"),
            ("transport", "transport"),
            ("address", "address"),
            ("state", "state"),
        ):
            drive[key] = drive.get(key) or _word(item.get(word))
        drive["subsystem"] = _word(subsystem.get("subsystem"))
        drive["subsystem_nqn"] = _word(subsystem.get("subsystemnqn"))
        for space in namespaces:
            path = _word(space.get("devicepath")) or _word(space.get("namespace")) or ""
            found = re.match(r"(?:/dev/)?(nvme\d{1,6})(?:c\d{1,6})?(n\d{1,6})$", path)
            if found:
                nsid = _number(space.get("nsid")) or _number(space.get("namespace")) or 0
                size, block = _listed_size(space)
                drive["namespaces"].append(
                    {
                        "name": found.group(1) + found.group(2),
                        "nsid": nsid if 0 < nsid < ALL_NAMESPACES else None,
                        "size_bytes": size,
                        "lba_bytes": block,
                    }
                )
    return drives


def _listed(value: Any, subsystem: Dict[str, Any], depth: int) -> Iterator[Tuple[Dict[str, Any], Dict[str, Any]]]:
    """Yield each dictionary under a list's devices, with the subsystem around it."""
    item = _lower(value)
    if "controllers" in item:
        subsystem = item
    yield item, subsystem
    if depth < DEPTH:
        for key in ("devices", "subsystems", "controllers"):
            for inner in _dicts(item.get(key)):
                yield from _listed(inner, subsystem, depth + 1)


def _listed_size(space: Dict[str, Any]) -> Tuple[Optional[int], Optional[int]]:
    """Return a namespace's size and block in bytes. Old versions cut the size to 32 bits, so blocks are counted."""
    block, size = _number(space.get("sectorsize")), _number(space.get("physicalsize"))
    blocks = _number(space.get("maximumlba", space.get("maximiumlba")))
    block = block if block in (512, 520, 4096, 4104, 4160) else None
    counted = blocks * block if blocks and block else None
    if counted is not None and 0 < counted < 1 << 63 and (size == counted or size in (None, -(1 << 31), (1 << 31) - 1)):
        return counted, block
    return None, block


def _load(text: str) -> Any:
    """Return what a text holds in JSON, from its first brace on, or None. No number in it may be absurdly long."""
    start = text.find("{")
    if start < 0 or len(text) > JSON_LIMIT:
        return None
    try:
        return json.JSONDecoder(parse_int=_short_integer).raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _short_integer(text: str) -> Optional[int]:
    return int(text) if len(text) <= 40 else None  # 40 hold 128 bits and a sign


def _lower(value: Any) -> Dict[str, Any]:
    """Return a dictionary with its keys in lower case, or an empty one for what is no dictionary."""
    return {key.lower().replace(" ", "_"): entry for key, entry in value.items()} if isinstance(value, dict) else {}


def _dicts(value: Any) -> List[Dict[str, Any]]:
    return [_lower(entry) for entry in value[:LIST_LIMIT] if isinstance(entry, dict)] if isinstance(value, list) else []


def _word(value: Any) -> Optional[str]:
    return value.strip("\0 ") or None if isinstance(value, str) else None


def _number(value: Any) -> Optional[int]:
    """Return a whole number from what a tool wrote for one: an integer, a float, or a string of either."""
    if isinstance(value, str):
        text = value.strip()
        if re.match(r"-?\d{1,40}$", text):
            return int(text)
        value = float(text) if re.match(r"-?\d{1,40}(\.\d{1,40})?([eE]\+?\d{1,2})?$", text) else None
    if isinstance(value, float):
        return int(value) if abs(value) < 1e40 else None  # which NaN is not
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def health_command(address: int) -> bytes:
    """Return the struct nvme_admin_cmd that has a drive write its health log to an address.

    It carries no timeout of its own: when one passes, the kernel resets the controller, and a drive that is slow for
    a moment would lose what it was doing, because somebody asked how it is.
    """
    dwords = HEALTH_BYTES // 4 - 1  # counted from 0
    return struct.pack(
        "=BBHIIIQQIIIIIIIIII",
        GET_LOG_PAGE, 0, 0, ALL_NAMESPACES, 0, 0, 0, address, 0, HEALTH_BYTES, dwords << 16 | HEALTH_LOG,
        0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


def read_health_log(device: str) -> bytes:
    """Ask a drive for its health log by ioctl. OSError says why it could not be had."""
    import fcntl  # noqa: PLC0415 (only Linux has it, and the parsers above are tested everywhere)

    log = array.array("B", bytes(HEALTH_BYTES))
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = fcntl.ioctl(descriptor, ADMIN_COMMAND, bytearray(health_command(log.buffer_info()[0])))
    finally:
        os.close(descriptor)
    if status:
        raise OSError(0, f"the drive answered with status 0x{status:04x}")
    return log.tobytes()


def parse_mounts(text: str) -> List[Dict[str, Any]]:
    """Return all mounts, from C(/proc/self/mountinfo), in its order: a later one may hide an earlier one."""
    mounts = []
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        first, second = before.split(" "), after.split(" ")
        if dash and len(first) >= 6 and len(second) >= 2:
            mounts.append(
                {
                    "number": first[2],
                    "device": unescape(second[1]),
                    "mountpoint": unescape(first[4]),
                    "fstype": unescape(second[0]),
                    "read_only": "ro" in first[5].split(",") + "".join(second[2:3]).split(","),
                }
            )
    return mounts


def parse_swaps(text: str) -> List[Dict[str, Any]]:
    """Return the swap in use, from C(/proc/swaps)."""
    swaps = []
    for line in text.split("\n"):
        words = line.split()
        if len(words) >= 5 and words[1] in ("partition", "file"):
            size, used = [_decimal(word) for word in words[2:4]]
            swaps.append(
                {
                    "device": unescape(words[0]),
                    "kind": words[1],
                    "size_bytes": None if size is None else size * KIB,
                    "used_bytes": None if used is None else used * KIB,
                }
            )
    return swaps


def unescape(word: str) -> str:
    """Return a name as it is, from how the kernel writes one with spaces in it: C(my\\040data)."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match.group(1), 8)), word)


def parse_udev(text: str) -> Optional[str]:
    """Return the kind of filesystem in a device's record of udev, or None where it names none."""
    match = re.search(r"^E:ID_FS_TYPE=(\S{1,64})$", text, re.MULTILINE)
    return match.group(1) if match else None


def namespace_names(entries: List[str]) -> List[Tuple[str, Optional[str]]]:
    """Return a controller's namespaces by the names of their block devices, each with its hidden path or None.

    With the kernel's multipath the controller's folder holds the path C(nvme0c1n1), and the block device is
    C(nvme0n1): a path is numbered by its subsystem first, then by its controller. Before Linux 5.4 the subsystem's
    number, which is the block device's, could differ from the controller's even without.
    """
    matches = [re.match(r"(nvme\d+)(c\d+)?(n\d+)$", entry) for entry in _by_number(entries)]
    return [(match.group(1) + match.group(3), match.group() if match.group(2) else None) for match in matches if match]


def _by_number(names: List[str]) -> List[str]:
    """Return the kernel's names in the order of the numbers that they end in: C(nvme0n2) before C(nvme0n10)."""
    return sorted(names, key=lambda name: (len(name), name))


def _decimal(text: str) -> Optional[int]:
    return int(text) if re.match(r"\d{1,18}$", text) else None


def _size(host, folder: str) -> Optional[int]:
    sectors = _decimal(host.read_text(folder + "/size", quiet=True))
    return None if sectors is None else sectors * SECTOR


class Usage(NamedTuple):
    """What the whole machine mounts and swaps to, read once."""

    mounts: List[Dict[str, Any]]
    swaps: List[Dict[str, Any]]
    btrfs: List[List[str]]


def read_usage(host) -> Usage:
    """Return what is mounted and swapped to; and for each btrfs the names of all its devices."""
    pools = [BTRFS + "/" + name + "/devices" for name in host.listdir(BTRFS, quiet=True)]
    return Usage(
        parse_mounts(host.read_text("/proc/self/mountinfo")),
        parse_swaps(host.read_text("/proc/swaps", quiet=True)),
        [host.listdir(folder, quiet=True) for folder in pools],
    )


def block_devices(host, disk: str, folder: str) -> List[Dict[str, Any]]:
    """Return a disk, its partitions and what is built on them, each after what it lies on."""
    found: Dict[str, Dict[str, Any]] = {}
    order: List[str] = []

    def visit(name: str, place: str, kind: str, parent: Optional[str], depth: int) -> None:
        if name in found:
            if parent not in found[name]["parents"]:
                found[name]["parents"].append(parent)
            return
        found[name] = _block_device(host, name, place, kind)
        found[name]["parents"] = [parent] if parent else []
        if depth < DEPTH:
            for holder in reversed(_by_number(host.listdir(place + "/holders", quiet=True))):
                visit(holder, "/sys/block/" + holder, "holder", name, depth + 1)
            for part in reversed(_by_number(host.listdir(place, quiet=True))):
                if part.startswith(name) and host.exists(place + "/" + part + "/partition"):
                    visit(part, place + "/" + part, "partition", name, depth + 1)
        order.insert(0, name)

    visit(disk, folder, "disk", None, 0)
    for device in found.values():
        device["parents"].sort(key=order.index)
    return [found[name] for name in order]


def _block_device(host, name: str, folder: str, kind: str) -> Dict[str, Any]:
    label, number = None, host.read_text(folder + "/dev", quiet=True)
    if kind == "holder":
        label = host.read_text(folder + "/dm/name", quiet=True) or None
        uuid = host.read_text(folder + "/dm/uuid", quiet=True)
        if label or uuid:
            kind = DM_KINDS.get(uuid.partition("-")[0], "dm")
        else:
            kind = "md" if host.exists(folder + "/md") else "other"
    return {
        "name": name,
        "number": number,
        "kind": kind,
        "label": label,
        "size_bytes": _size(host, folder),
        "filesystem": parse_udev(host.read_text("/run/udev/data/b" + number, quiet=True)) if number else None,
    }


def mounts_on(host, devices: List[Dict[str, Any]], usage: Usage) -> List[Dict[str, Any]]:
    """Return what is mounted from any of the devices.

    A filesystem of several devices, as btrfs is, has a number that no device has. It is known by the name of one of
    its devices, and the others by that one.
    """
    names = {device["number"]: device["name"] for device in devices if device["number"]}
    found = []
    for mount in usage.mounts:
        on = names.get(mount["number"])
        if on is None and mount["number"].startswith("0:") and mount["device"].startswith("/dev/"):
            source = host.readlink_name(mount["device"]) or mount["device"][len("/dev/") :]
            pool = next((pool for pool in usage.btrfs if source in pool), [source])
            on = next((device["name"] for device in devices if device["name"] in pool), None)
        if on is not None:
            found.append({"block_device": on, **{key: mount[key] for key in mount if key != "number"}})
    return found


def swaps_on(host, devices: List[Dict[str, Any]], usage: Usage) -> List[Dict[str, Any]]:
    """Return the swap on any of the devices. A file is on the filesystem whose mount point its name begins with."""
    names = [device["name"] for device in devices]
    found = []
    for swap in usage.swaps:
        on = host.readlink_name(swap["device"]) or swap["device"][len("/dev/") :]
        if swap["kind"] == "file":
            around = [mount for mount in usage.mounts if _is_below(swap["device"], mount["mountpoint"])]
            around = sorted(around, key=lambda mount: len(mount["mountpoint"]))[-1:]  # of equal ones the last
            on = next(
                (mount["block_device"] for mount in mounts_on(host, devices, usage._replace(mounts=around))), None
            )
        if on in names:
            found.append({**swap, "block_device": on})
    return found


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def namespace(host, name: str, path: Optional[str], controller_folder: str, usage: Usage) -> Dict[str, Any]:
    """Return one namespace, as its controller reaches it."""
    folder = "/sys/block/" + name
    if not host.exists(folder):
        folder = controller_folder + "/" + (path or name)

    def say(file: str) -> str:
        return host.read_text(folder + "/" + file, quiet=True)

    devices = block_devices(host, name, folder)
    mounts, swaps = mounts_on(host, devices, usage), swaps_on(host, devices, usage)
    for device in devices:
        del device["number"]
    return {
        "name": name,
        "path": path,
        "path_state": host.read_text(f"{controller_folder}/{path}/ana_state", quiet=True) or None if path else None,
        "nsid": _decimal(say("nsid")),
        "wwid": say("wwid") or None,
        "size_bytes": devices[0]["size_bytes"],
        "lba_bytes": _decimal(say("queue/logical_block_size")),
        "physical_block_bytes": _decimal(say("queue/physical_block_size")),
        "read_only": {"0": False, "1": True}.get(say("ro")),
        "devices": devices,
        "mounts": mounts,
        "swaps": swaps,
    }


def controller(host, name: str, usage: Usage, subsystem: Optional[str]) -> Dict[str, Any]:
    """Return one controller with its namespaces, from sysfs; its health is asked for later."""
    folder = CLASS + "/" + name

    def say(file: str) -> Optional[str]:
        return host.read_text(folder + "/" + file, quiet=True).strip("\0 ") or None

    device = folder + "/device"
    transport, address = say("transport"), say("address") or host.readlink_name(device)
    local = is_local(transport, address)
    names = namespace_names(host.listdir(folder, quiet=True))
    return {
        "name": name,
        "model": say("model"),
        "serial": say("serial"),
        "firmware": say("firmware_rev"),
        "transport": transport,
        "local": local,
        "address": address,
        "state": say("state"),
        "subsystem": subsystem,
        "subsystem_nqn": say("subsysnqn"),
        "pci_address": normal_address(address) if local and address else None,
        "numa_node": read_numa_node(host, device) if local else None,
        "link": read_link(host, device),
        "namespaces": [namespace(host, space, path, folder, usage) for space, path in names],
        "health": None,
    }


def is_local(transport: Optional[str], address: Optional[str]) -> Optional[bool]:
    """Say whether a controller is a drive in this machine. Kernels before 4.8 name no transport, and know only PCI."""
    if transport is None:
        return True if re.match(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$", address or "") else None
    return {"pcie": True, **dict.fromkeys(FABRICS, False)}.get(transport)


def _failure(result) -> str:
    """Say in a few words how a tool failed that ran to its end."""
    said = result.stderr.strip().split("\n")[-1].strip()[:QUOTE_LIMIT]
    return f"status {result.rc}, {said or 'and nothing of use'}"


def _is_asked(host, tool: str) -> bool:
    """Say whether a tool is to be run: below another root its bare name would lead to this machine's."""
    return bool(tool) and (host.root == "/" or "/" in tool)


def read_health(host, drive: Dict[str, Any], nvme: str, smartctl: str, timeout: float) -> Optional[Dict[str, Any]]:
    """Return a drive's health from the first that has it: the drive itself, C(nvme), C(smartctl)."""
    name, device = drive["name"], "/dev/" + drive["name"]
    tools = ((nvme, ["smart-log", "-o", "json"], parse_nvme_smart_log), (smartctl, ["-j", "-a"], parse_smartctl))
    asked = [(tool, words, parse) for tool, words, parse in tools if _is_asked(host, tool)]
    if drive["state"] not in (None, "live"):
        host.gaps.append(f"{name}: it is {drive['state']}, so it was not asked for its health")
        return None
    reasons = []
    if host.root == "/":
        log, error = host.in_child(lambda: read_health_log(device), timeout)
        if log is not None:
            health = parse_health(log)
            if health is None:
                host.gaps.append(f"{name}: the drive's health log is empty")
            return health
        reasons.append(error)
        if error.startswith("timed out"):
            asked = []  # they would ask the same drive, and hang as well
    elif not asked:
        reasons.append("a recording has none")
    for tool, words, parse in asked:
        result = host.run([tool, *words, device], timeout)
        health = parse(result.stdout)
        if health is not None:
            return health
        reasons.append(f"{tool}: {result.error or _failure(result)}")
    host.gaps.append(f"{name}: the health log could not be read: {'; '.join(reasons)}")
    return None


def _in_order(entries: List[str]) -> List[str]:
    return sorted((name for name in entries if re.match(r"nvme\d{1,6}$", name)), key=lambda name: int(name[4:]))


def list_controllers(host, usage: Usage, nvme: str, timeout: float) -> List[Dict[str, Any]]:
    """Return the controllers by C(nvme list), for a machine that has drives in C(/dev) and nothing in sysfs."""
    if not _is_asked(host, nvme):
        host.gaps.append(f"{CLASS}: not there, though /dev has drives")
        return []
    result = host.run([nvme, "list", "-o", "json"], timeout)
    listed = parse_nvme_list(result.stdout)
    if not listed:
        host.gaps.append(f"{CLASS}: not there, though /dev has drives; {nvme}: {result.error or _failure(result)}")
    controllers = []
    for name in _in_order(list(listed)):
        said = listed[name]
        drive = {**controller(host, name, usage, None), **said}
        drive["local"] = is_local(said["transport"], said["address"])
        drive["pci_address"] = normal_address(said["address"]) if drive["local"] and said["address"] else None
        drive["namespaces"] = []
        for told in said["namespaces"]:
            space = namespace(host, told["name"], None, CLASS + "/" + name, usage)
            drive["namespaces"].append({**space, **{key: told[key] for key in told if space[key] is None}})
        controllers.append(drive)
    return controllers


def collect(host, nvme: str = "nvme", smartctl: str = "smartctl", timeout: float = 10) -> Dict[str, Any]:
    """Return the C(nvme) fact."""
    names = _in_order(host.listdir(CLASS, quiet=True))
    nodes = [] if names else _in_order(host.listdir("/dev", quiet=True))
    usage = read_usage(host) if names or nodes else Usage([], [], [])
    subsystems = {
        entry: subsystem
        for subsystem in host.listdir(SUBSYSTEMS, quiet=True)
        for entry in host.listdir(SUBSYSTEMS + "/" + subsystem, quiet=True)
    }
    controllers = [controller(host, name, usage, subsystems.get(name)) for name in names]
    if nodes:
        controllers = list_controllers(host, usage, nvme, timeout)
    for drive in controllers:
        if drive["local"] is not False:
            drive["health"] = read_health(host, drive, nvme, smartctl, timeout)
    return {"root": host.root, "gaps": host.gaps, "controllers": controllers}
