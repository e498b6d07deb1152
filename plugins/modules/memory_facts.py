#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a host's memory."""

DOCUMENTATION = r"""
module: memory_facts
short_description: Read a host's memory
version_added: 0.1.0
description:
  - Reads the SMBIOS tables, the kernel's memory figures, NUMA nodes and error counters. No command is run.
  - The SMBIOS tables need root, and a container has none. Then the DIMMs are left empty and the gap is named.
extends_documentation_fragment:
  - gpufleet.workstation.facts
"""

EXAMPLES = r"""
- name: Read the memory
  gpufleet.workstation.memory_facts:

- name: Show the DIMMs
  ansible.builtin.debug:
    msg: "{{ ansible_facts['memory'].dimms | map(attribute='size_bytes') }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: always
  type: dict
  contains:
    memory:
      description: The memory. Null is what the host does not say.
      type: dict
      contains:
        root: {description: Where it was read. Not V(/) means a recording or a stand-in., type: str, sample: /}
        gaps:
          description: What could not be read, one sentence each.
          type: list
          elements: str
          sample: ["/sys/firmware/dmi/tables/DMI: Permission denied"]
        total_bytes:
          description: Memory that the kernel manages in bytes. The firmware keeps some.
          type: int
          sample: 269746974720
        available_bytes: {description: Memory to be had without swapping in bytes., type: int, sample: 261156216832}
        swap_total_bytes: {description: Swap in bytes., type: int, sample: 0}
        slots: {description: Slots for memory modules. Boards misstate it at times., type: int, sample: 12}
        max_capacity_bytes: {description: The most that the board takes in bytes., type: int, sample: 1649267441664}
        dimms:
          description: Each memory module. Flash and persistent memory are none.
          type: list
          elements: dict
          contains:
            slot: {description: Name of the slot., type: str, sample: CPU0_DIMM_A1}
            bank: {description: Name of the bank., type: str, sample: NODE 0}
            size_bytes: {description: Size in bytes., type: int, sample: 34359738368}
            type: {description: Kind of memory., type: str, sample: DDR4}
            speed_mts: {description: Rated speed in MT/s., type: int, sample: 2666}
            configured_speed_mts: {description: Speed in use in MT/s., type: int, sample: 2666}
            manufacturer: {description: Manufacturer., type: str, sample: Samsung}
            part_number: {description: Part number., type: str, sample: M393A4K40CB2-CTD}
            serial: {description: Serial number., type: str, sample: "10000001"}
            ecc: {description: Whether errors are corrected., type: bool, sample: true}
            rank: {description: Ranks., type: int, sample: 2}
        huge_pages:
          description: Huge pages of the default size.
          type: dict
          contains:
            size_bytes: {description: Size of one in bytes., type: int, sample: 2097152}
            total: {description: How many there are., type: int, sample: 0}
            free: {description: How many are free., type: int, sample: 0}
        numa_nodes:
          description: NUMA nodes.
          type: list
          elements: dict
          contains:
            node: {description: Number., type: int, sample: 0}
            total_bytes: {description: Its memory in bytes., type: int, sample: 134873487360}
        edac:
          description: Memory controllers whose errors the kernel counts.
          type: list
          elements: dict
          contains:
            controller: {description: Name., type: str, sample: mc0}
            corrected: {description: Corrected errors since boot., type: int, sample: 0}
            uncorrected: {description: Uncorrected errors since boot., type: int, sample: 0}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._memory import collect


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    module.exit_json(ansible_facts={"memory": collect(Host(module.params["root"]))})


if __name__ == "__main__":
    main()
