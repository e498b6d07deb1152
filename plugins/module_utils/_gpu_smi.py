# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gpu_facts understands of nvidia-smi: its XML, its NVLinks and its topology. Private to the collection.

The parsers are pure: text in, data out, and no input makes them raise. What a GPU does not say is None.
"""

import re
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from xml.etree import ElementTree

from ansible_collections.gpufleet.workstation.plugins.module_utils._pci import first_integer, normal_address

MIB = 1 << 20
XML_LIMIT = 16 << 20
LISTING_LIMIT = 1 << 20
TEXT_LIMIT = 256
QUOTE_LIMIT = 300
PROCESSES_LIMIT = 1000
LINKS_LIMIT = 64
GPUS_LIMIT = 256
# What nvidia-smi writes instead of a value, with or without brackets; of these, the second kind is said of a sick GPU.
NO_VALUE = (
    "n/a",
    "not supported",
    "not found",
    "function not found",
    "argument not found",
    "insufficient permissions",
    "requested functionality has been deprecated",
    "unknown error",
    "invalid argument",
    "in use by another client",
    "no data",
    "not ready",
    "timeout",
    "unknown",
    "err!",
)
SICK = (
    "gpu is lost",
    "gpu requires reset",
    "gpu requires restart",
    "gpu is inaccessible",
    "gpu access blocked by the operating system",
    "reset required",
)
# Long lists that nobody asks for: they are nine tenths of the text on a modern card.
UNREAD = ("supported_clocks", "accounted_processes")
UNITS = {
    "bytes": {"": MIB, "mib": MIB, "mb": MIB, "kib": 1 << 10, "gib": 1 << 30, "b": 1},
    "mhz": {"": 1, "mhz": 1, "ghz": 1000},
    "watts": {"": 1, "w": 1, "kw": 1000},
    "celsius": {"": 1, "c": 1},
    "count": {"": 1, "x": 1, "bank(s)": 1},
}
# No value beyond these is believed.
RANGES = {
    "bytes": (0, 1 << 46),
    "mhz": (0, 100000),
    "watts": (0, 100000),
    "celsius": (-100, 300),
    "count": (0, 1 << 63),
}
REASON = re.compile(r"clocks_(?:throttle|event)_reason_([a-z0-9_]{1,60})$")
Text = Callable[..., Optional[str]]


def tri_state(text: Optional[str]) -> Optional[bool]:
    """Return True for yes, False for no, None for N/A and everything else that is neither."""
    return {
        "yes": True,
        "enabled": True,
        "active": True,
        "true": True,
        "no": False,
        "disabled": False,
        "not active": False,
        "false": False,
    }.get((text or "").strip().lower())


def quantity(text: Optional[str], kind: str) -> Optional[float]:
    """Return a number in the unit of its kind, from C(32768 MiB), C(250.00 W), C(250,00 W), C(16x) or C(640 bank(s)).

    Nothing is guessed: an unknown unit and a value that no device has are None.
    """
    # The white space on the right is stripped, not matched: two runs of it side by side would be tried at each length.
    match = re.match(r"(-?\d{1,19})(?:\.(\d{1,9})|,(\d{1,2}))?\s*([a-zA-Z()]{0,8})$", (text or "").strip(), re.ASCII)
    factor = UNITS[kind].get(match.group(4).lower()) if match else None
    if not match or factor is None:
        return None
    decimals = match.group(2) or match.group(3)
    number = float(match.group(1) + "." + decimals) if decimals else int(match.group(1))
    low, high = RANGES[kind]
    return number * factor if low <= number * factor <= high else None


def whole(text: Optional[str], kind: str = "count") -> Optional[int]:
    """Return a quantity as a whole number."""
    value = quantity(text, kind)
    return None if value is None else int(value)


def watts(text: Optional[str]) -> Optional[float]:
    """Return a power in watts."""
    value = quantity(text, "watts")
    return None if value is None else float(value)


def total(*values: Optional[int]) -> Optional[int]:
    """Return the sum of those that are known, None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def split_answer(answer: str) -> Tuple[str, str]:
    """Return the XML in what nvidia-smi printed, and the words around it on one line.

    It warns before the XML of a GPU that it cannot reach, and after it of a corrupted infoROM.
    """
    root = answer.find("<nvidia_smi_log")
    if root < 0:
        return "", " ".join(answer[:QUOTE_LIMIT].split())
    starts = [answer.find(text, 0, root) for text in ("<?xml", "<!DOCTYPE")]
    start = min([place for place in starts if place >= 0] + [root])
    end = answer.rfind("</nvidia_smi_log>")
    end = len(answer) if end < 0 else end + len("</nvidia_smi_log>")
    around = answer[:start][-QUOTE_LIMIT:] + " " + answer[end:][:QUOTE_LIMIT]
    return answer[start:end], " ".join(around.split())


def _without(xml: str, tag: str) -> str:
    """Return a text without the elements of this name; one that is not closed is where the text was cut off."""
    first, *rest = xml.split(f"<{tag}>")
    return first + "".join(part.partition(f"</{tag}>")[2] for part in rest)


def _escaped_names(xml: str) -> str:
    """Return a text in which no process name is mistaken for markup: it is what a user called a program."""
    first, *rest = xml.split("<process_name>")
    fixed = [first]
    for part in rest:
        name, closing, after = part.partition("</process_name>")
        if closing and len(name) < 4 * TEXT_LIMIT:
            name = re.sub(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)", "&amp;", name)
            name = name.replace("<", "&lt;")
        fixed.append("<process_name>" + name + closing + after)
    return "".join(fixed)


def _elements(xml: str, gaps: List[str]) -> Iterator[Any]:
    """Yield the elements that are complete; that a text is cut off or broken becomes a gap."""
    parser = ElementTree.XMLPullParser(["end"])
    try:
        # Of the control characters XML allows three.
        parser.feed(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "?", xml))
        parser.close()
    except ElementTree.ParseError as error:
        gaps.append(f"nvidia-smi's XML is cut off or broken: {error}")
    try:
        for _event, element in parser.read_events():
            yield element
    except ElementTree.ParseError:
        pass  # the same complaint again, now at the end of the events that were whole


def parse_smi(answer: str) -> Tuple[Optional[Dict[str, Any]], List[str]]:
    """Return what C(nvidia-smi -q -x) says, and what was wrong with it.

    All schemas since driver 375 have the same skeleton; what was renamed is looked for under each name. A text
    that is cut off still gives the GPUs that are whole. A document that declares entities is refused.
    """
    xml, words = split_answer(answer[:XML_LIMIT].encode("utf-8", "replace").decode("utf-8"))
    if not xml:
        return None, ["nvidia-smi answered with something that is not its XML" + (words and ": " + words)]
    if "<!ENTITY" in xml:
        return None, ["nvidia-smi's XML declares entities, which the real one never does"]
    for tag in UNREAD:
        xml = _without(xml, tag)
    gaps, gpus, head = [], [], {}  # type: Tuple[List[str], List[Dict[str, Any]], Dict[str, str]]
    if words:
        gaps.append("nvidia-smi says: " + words)
    for element in _elements(_escaped_names(xml), gaps):
        if element.tag == "gpu" and len(gpus) < GPUS_LIMIT:
            address = element.get("id") or element.findtext("pci/pci_bus_id")
            if not address:
                continue
            gpus.append(_gpu(element, len(gpus), normal_address(address)[:TEXT_LIMIT]))
            complaint = gpus[-1]["complaint"]
            if complaint:
                gaps.append("nvidia-smi says of the GPU at {}: {}".format(gpus[-1]["address"], complaint))
        elif element.tag in ("driver_version", "kmd_version", "cuda_version", "cuda_umd_version", "attached_gpus"):
            head.setdefault(element.tag, (element.text or "").strip()[:TEXT_LIMIT])
    attached = whole(head.get("attached_gpus"))
    if attached is not None and attached != len(gpus):
        gaps.append(f"nvidia-smi counts {attached} GPUs and describes {len(gpus)}")
    schema = re.search(r"<!DOCTYPE[^>\[]{0,80}nvsmi_device_v(\d{1,3})\.dtd", xml[:1000])
    smi = {
        "schema": int(schema.group(1)) if schema else None,
        # "kmd" and "umd" replace the old names, which driver 615 announces to go with CUDA 14.
        "driver_version": _value(head.get("kmd_version")) or _value(head.get("driver_version")),
        "cuda_version": _value(head.get("cuda_umd_version")) or _value(head.get("cuda_version")),
        "attached_gpus": attached,
        "topology": None,
        "gpus": gpus,
    }
    return smi, gaps


def _value(text: Optional[str]) -> Optional[str]:
    """Return a text that is a value, None for what stands in place of one."""
    bare = (text or "").strip().strip("[]").strip()
    return text if bare and bare.lower() not in NO_VALUE + SICK else None


def _gpu(element, index: int, address: str) -> Dict[str, Any]:
    """Return one GPU; its complaint is what nvidia-smi says in place of its values if the GPU is lost."""
    complaints = []  # type: List[str]

    def text(*paths: str) -> Optional[str]:
        """Return the first of these fields that says anything."""
        for path in paths:
            value = (element.findtext(path) or "").strip()[:TEXT_LIMIT]
            bare = value.strip("[]").strip()
            if bare.lower() in SICK:
                complaints.append(bare)
            elif _value(value):
                return value
        return None

    device = {
        "index": index,
        "address": address,
        "name": text("product_name"),
        "uuid": text("uuid"),
        "serial": text("serial"),
        "vbios": text("vbios_version"),
        "minor_number": whole(text("minor_number")),
        "memory_total_bytes": whole(text("fb_memory_usage/total"), "bytes"),
        "memory_used_bytes": whole(text("fb_memory_usage/used"), "bytes"),
        "recovery_action": text("gpu_recovery_action"),
        "reset_required": tri_state(text("gpu_reset_status/reset_required")),
        "performance_state": text("performance_state"),
        "clocks": _clocks(text, "clocks", ("graphics", "sm", "memory", "video")),
        "clocks_max": _clocks(text, "max_clocks", ("graphics", "sm", "memory", "video")),
        "clocks_application": _clocks(text, "applications_clocks", ("graphics", "memory")),
        "persistence": tri_state(text("persistence_mode")),
        "compute_mode": text("compute_mode"),
        "temperature_celsius": whole(text("temperature/gpu_temp"), "celsius"),
        "temperature_memory_celsius": whole(text("temperature/memory_temp"), "celsius"),
        "temperature_slowdown_celsius": whole(text("temperature/gpu_temp_slow_threshold"), "celsius"),
        "temperature_shutdown_celsius": whole(text("temperature/gpu_temp_max_threshold"), "celsius"),
        "temperature_max_operating_celsius": whole(text("temperature/gpu_temp_max_gpu_threshold"), "celsius"),
        "temperature_memory_max_operating_celsius": whole(text("temperature/gpu_temp_max_mem_threshold"), "celsius"),
        "temperature_margin_celsius": whole(text("temperature/gpu_temp_tlimit"), "celsius"),
        "link": {
            "generation": whole(text("pci/pci_gpu_link_info/pcie_gen/current_link_gen")),
            "width": whole(text("pci/pci_gpu_link_info/link_widths/current_link_width")) or None,
            "max_generation": whole(text("pci/pci_gpu_link_info/pcie_gen/max_link_gen")),
            "max_width": whole(text("pci/pci_gpu_link_info/link_widths/max_link_width")) or None,
            "replays": whole(text("pci/replay_counter")),
        },
        "nvlinks": None,
        "nvlinks_active": None,
        "fabric_state": text("fabric/state"),
        "fabric_status": text("fabric/status"),
        "fabric_health": text("fabric/health/summary"),
        "processes": _processes(element.find("processes")),
    }
    device.update(_ecc(text))
    device.update(_spare_memory(text))
    device.update(_power(text))
    device.update(_reasons(element))
    device.update(_mig(text, element))
    device["complaint"] = complaints[0] if complaints else None
    return device


def _clocks(text: Text, section: str, names: Tuple[str, ...]) -> Dict[str, Optional[int]]:
    tags = {"memory": "mem"}
    return {name + "_mhz": whole(text(f"{section}/{tags.get(name, name)}_clock"), "mhz") for name in names}


def _ecc(text: Text) -> Dict[str, Any]:
    """Return ECC's state and counters: by single and double bit until Volta, by kind of memory since Turing."""
    ecc = {
        "ecc_mode": tri_state(text("ecc_mode/current_ecc")),
        "ecc_mode_pending": tri_state(text("ecc_mode/pending_ecc")),
        "ecc_sram_threshold_exceeded": tri_state(text("ecc_errors/aggregate/sram_threshold_exceeded")),
        "ecc_repair_pending": any_of(
            tri_state(text("ecc_errors/channel_repair_pending")), tri_state(text("ecc_errors/tpc_repair_pending"))
        ),
        "ecc_unrepairable_memory": tri_state(text("ecc_errors/unrepairable_memory")),
    }  # type: Dict[str, Any]
    for span in ("volatile", "aggregate"):
        counts = {}  # type: Dict[str, Optional[int]]
        for name, tag, bits in (
            ("corrected", "correctable", "single_bit"),
            ("uncorrected", "uncorrectable", "double_bit"),
        ):
            place = f"ecc_errors/{span}/"
            all_bits = whole(text(f"{place}{bits}/total"))
            dram = whole(text(f"{place}dram_{tag}", f"{place}{bits}/device_memory"))
            sram = whole(text(f"{place}sram_{tag}"))
            if sram is None:
                sram = total(whole(text(f"{place}sram_{tag}_parity")), whole(text(f"{place}sram_{tag}_secded")))
            if sram is None and all_bits is not None and dram is not None and all_bits >= dram:
                sram = all_bits - dram
            counts[name] = all_bits if all_bits is not None else total(dram, sram)
            counts["dram_" + name] = dram
            counts["sram_" + name] = sram
        ecc["ecc_errors_" + span] = counts if any(value is not None for value in counts.values()) else None
    return ecc


def any_of(*states: Optional[bool]) -> Optional[bool]:
    """Return True if one is, False if one is known and none is, None if nobody says."""
    return True if True in states else False if False in states else None


def _spare_memory(text: Text) -> Dict[str, Any]:
    """Return how a GPU has replaced memory that failed: pages until Volta, rows since Ampere, banks since Rubin."""
    place = "remapped_rows/row_remapper_histogram/row_remapper_histogram_"
    banks = {name: whole(text(place + name)) for name in ("max", "high", "partial", "low", "none")}
    return {
        "retired_pages_single_bit": whole(text("retired_pages/multiple_single_bit_retirement/retired_count")),
        "retired_pages_double_bit": whole(text("retired_pages/double_bit_retirement/retired_count")),
        "retired_pages_pending": any_of(
            tri_state(text("retired_pages/pending_retirement")), tri_state(text("retired_pages/pending_blacklist"))
        ),
        "row_remap_corrected": whole(text("remapped_rows/remapped_row_corr")),
        "row_remap_uncorrected": whole(text("remapped_rows/remapped_row_unc")),
        "row_remap_pending": any_of(
            tri_state(text("remapped_rows/remapped_row_pending")),
            tri_state(text("remapped_banks/bank_remapper_pending")),
        ),
        "row_remap_failure": tri_state(text("remapped_rows/remapped_row_failure")),
        "row_remap_banks": banks if any(value is not None for value in banks.values()) else None,
    }


def _power(text: Text) -> Dict[str, Optional[float]]:
    new, old = "gpu_power_readings/", "power_readings/"
    return {
        "power_draw_watts": watts(
            text(new + "instant_power_draw", new + "power_draw", new + "average_power_draw", old + "power_draw")
        ),
        "power_limit_watts": watts(
            text(new + "current_power_limit", new + "power_limit", old + "enforced_power_limit", old + "power_limit")
        ),
        "power_default_limit_watts": watts(text(new + "default_power_limit", old + "default_power_limit")),
        "power_min_limit_watts": watts(text(new + "min_power_limit", old + "min_power_limit")),
        "power_max_limit_watts": watts(text(new + "max_power_limit", old + "max_power_limit")),
    }


def _reasons(element) -> Dict[str, Any]:
    """Return why the clocks are not at their highest; being idle is no trouble and stands apart."""
    states = {}  # type: Dict[str, bool]
    for section in ("clocks_event_reasons", "clocks_throttle_reasons"):
        for child in element.findall(section + "/*"):
            match = REASON.match(str(child.tag))
            state = tri_state(child.text)
            if match and state is not None:
                # Before driver 384 the applications' clocks were the user's.
                states[match.group(1).replace("user_defined_clocks", "applications_clocks_setting")] = state
    idle = states.pop("gpu_idle", None)
    return {
        "clocks_event_reasons": sorted(name for name, state in states.items() if state) if states else None,
        "clocks_idle": idle,
    }


def _mig(text: Text, element) -> Dict[str, Any]:
    mode = tri_state(text("mig_mode/current_mig"))
    devices = []
    for device in element.findall("mig_devices/mig_device")[:LINKS_LIMIT]:
        devices.append(
            {
                "index": whole(device.findtext("index")),
                "uuid": _value((device.findtext("uuid") or "").strip()[:TEXT_LIMIT]),
                "gpu_instance_id": whole(device.findtext("gpu_instance_id")),
                "compute_instance_id": whole(device.findtext("compute_instance_id")),
                "multiprocessors": whole(device.findtext("device_attributes/shared/multiprocessor_count")),
                "memory_total_bytes": whole(device.findtext("fb_memory_usage/total"), "bytes"),
                "memory_used_bytes": whole(device.findtext("fb_memory_usage/used"), "bytes"),
            }
        )
    return {
        "mig_mode": mode,
        "mig_mode_pending": tri_state(text("mig_mode/pending_mig")),
        "mig_devices": devices if devices or mode is not None else None,
    }


def _processes(section) -> Optional[List[Dict[str, Any]]]:
    if section is None or (section.text or "").strip():
        return None  # N/A: unknown, and not none
    return [
        {
            "pid": whole(process.findtext("pid")),
            "type": _value((process.findtext("type") or "").strip()[:TEXT_LIMIT]),
            "name": _value((process.findtext("process_name") or "").strip()[:TEXT_LIMIT]),
            "memory_used_bytes": whole(process.findtext("used_memory"), "bytes"),
        }
        for process in section.findall("process_info")[:PROCESSES_LIMIT]
    ]


def parse_nvlinks(text: str) -> Dict[str, Optional[List[Dict[str, Any]]]]:
    """Return the NVLinks of each GPU in C(nvidia-smi nvlink -s), by its UUID, or by its index where it has none there.

    A GPU without NVLink is listed with a sentence, or with nothing at all, as driver 580 does: it has none. A GPU of
    which it says something else is None.
    """
    gpus = {}  # type: Dict[str, Optional[List[Dict[str, Any]]]]
    links = None  # type: Optional[List[Dict[str, Any]]]
    key = ""
    for line in text[:LISTING_LIMIT].splitlines():
        header = re.match(r"\s*GPU (\d{1,4})\b", line)
        link = re.match(r"\s*Link (\d{1,3}): (.*)", line)
        if header and len(gpus) < GPUS_LIMIT:
            uuid = re.search(r"\(UUID: (GPU-[0-9a-fA-F-]{1,60})\)", line)
            key = uuid.group(1) if uuid else header.group(1)
            links = gpus.setdefault(key, [])
        if link and links is not None:
            speed = re.match(r"(\d{1,6}(?:[.,]\d{1,9})?) ?GB/s", link.group(2))
            rate = float(speed.group(1).replace(",", ".")) if speed else None
            active = bool(rate) if speed else False if "inactive" in link.group(2).lower() else None
            if len(links) < LINKS_LIMIT:
                links.append(
                    {"index": int(link.group(1)), "active": active, "speed_gb_per_second": rate if active else None}
                )
        elif key and "unable to retrieve" in line.lower() and "inactive" not in line.lower():
            gpus[key] = links = None
    return gpus


def add_nvlinks(smi: Dict[str, Any], found: Dict[str, Optional[List[Dict[str, Any]]]]) -> None:
    """Write the NVLinks into the GPUs to which they belong; where it found nothing to list, no GPU has any."""
    for gpu in smi["gpus"]:
        links = found.get(gpu["uuid"] or "", found.get(str(gpu["index"]))) if found else []
        gpu["nvlinks"] = links
        gpu["nvlinks_active"] = None if links is None else sum(1 for link in links if link["active"])


def parse_topology(text: str) -> Dict[Tuple[int, int], str]:
    """Return the connection of each pair of GPUs in the matrix of C(nvidia-smi topo -m)."""
    columns = []  # type: List[str]
    pairs = {}  # type: Dict[Tuple[int, int], str]
    for line in re.sub(r"\x1b\[[0-9;]{0,20}m", "", text[:LISTING_LIMIT]).splitlines():
        cells = line.split()
        if not columns:
            if cells[:1] == ["GPU0"]:
                columns = cells[:GPUS_LIMIT]
            continue
        row = re.match(r"GPU(\d{1,3})$", cells[0]) if cells else None
        for column, connection in zip(columns, cells[1:]) if row else ():
            other = re.match(r"GPU(\d{1,3})$", column)
            if other and re.match(r"(NV\d{1,3}|PIX|PXB|PHB|NODE|SYS|SOC|PSB)$", connection):
                one, two = int(row.group(1)), int(other.group(1))
                if one != two:
                    pairs.setdefault((min(one, two), max(one, two)), connection)
    return pairs


def place_pairs(smi: Dict[str, Any], pairs: Dict[Tuple[int, int], str]) -> List[Dict[str, Any]]:
    """Return the pairs with the addresses of their GPUs."""
    addresses = {gpu["index"]: gpu["address"] for gpu in smi["gpus"]}
    return [
        {
            "first_index": one,
            "second_index": two,
            "first_address": addresses.get(one),
            "second_address": addresses.get(two),
            "connection": pairs[one, two],
            "nvlinks": first_integer(pairs[one, two][2:]) if pairs[one, two].startswith("NV") else 0,
        }
        for one, two in sorted(pairs)
    ]
