# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI addresses, links and nodes as sysfs writes them. Private to the collection."""

import re
from typing import Any, Dict, Optional


def normal_address(text: str) -> str:
    """Return a PCI address as the kernel writes it: C(0000:3b:00.0), also from C(00000000:3B:00.0)."""
    match = re.match(r"\s*(?:([0-9a-fA-F]{4,16}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])\s*$", text or "")
    if not match:
        return (text or "").strip().lower()
    domain, bus, slot, function = match.groups()
    return "{:04x}:{}:{}.{}".format(int(domain or "0", 16), bus.lower(), slot.lower(), function)


def first_number(text: Optional[str]) -> Optional[float]:
    """Return the number that a text such as C(250.00 W), C(16.0 GT/s PCIe) or C(32768 MiB) begins with, or None."""
    match = re.match(r"\s*(-?\d{1,15}(?:\.\d{1,9})?)\b", text or "")
    return float(match.group(1)) if match else None


def first_integer(text: Optional[str]) -> Optional[int]:
    """Return the whole number that a text begins with, or None."""
    value = first_number(text)
    return None if value is None else int(value)


def link(speed: str, width: str, max_speed: str, max_width: str) -> Dict[str, Any]:
    """Return a PCIe link from the four sysfs texts; 0 lanes and 255 lanes are how the kernel writes "unknown"."""
    lanes = [first_integer(text) for text in (width, max_width)]
    lanes = [None if value in (None, 0, 255) else value for value in lanes]
    return {
        "speed_gts": first_number(speed),
        "width": lanes[0],
        "max_speed_gts": first_number(max_speed),
        "max_width": lanes[1],
    }


def read_link(host, folder: str) -> Dict[str, Any]:
    """Return the PCIe link of the device whose sysfs folder this is."""
    names = ("current_link_speed", "current_link_width", "max_link_speed", "max_link_width")
    return link(*[host.read_text(folder + "/" + name, quiet=True) for name in names])


def read_numa_node(host, folder: str) -> Optional[int]:
    """Return a device's NUMA node; the kernel's -1 means that the firmware did not say."""
    node = first_integer(host.read_text(folder + "/numa_node", quiet=True))
    return None if node is None or node < 0 else node
