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
      description: The memory. Null is what the host does not say, or says absurdly.
      type: dict
      contains:
        root: {description: Where it was read. Not V(/) means a recording or a stand-in., type: str, sample: /}
        gaps:
          description: What could not be read or believed, one sentence each.
          type: list
          elements: str
          sample: ["/sys/firmware/dmi/tables/DMI: Permission denied"]
        total_bytes:
          description: Memory that the kernel manages in bytes. The firmware and the kernel itself keep some.
          type: int
          sample: 269926400000
        free_bytes: {description: Memory that nothing uses in bytes., type: int, sample: 260710400000}
        available_bytes: {description: Memory to be had without swapping in bytes., type: int, sample: 263782400000}
        buffers_bytes: {description: Cache of block devices in bytes., type: int, sample: 104857600}
        cached_bytes: {description: Cache of files in bytes., type: int, sample: 2147483648}
        shared_bytes: {description: Shared memory and tmpfs in bytes; a part of the cache., type: int, sample: 16777216}
        slab_bytes: {description: The kernel's own objects in bytes., type: int, sample: 536870912}
        slab_unreclaimable_bytes:
          description: Of those in bytes, what the kernel cannot give back.
          type: int
          sample: 268435456
        page_tables_bytes: {description: Page tables in bytes., type: int, sample: 16777216}
        unevictable_bytes:
          description: Memory that cannot be swapped in bytes, such as what is locked for a GPU.
          type: int
          sample: 0
        committed_bytes: {description: Memory promised to processes in bytes., type: int, sample: 1073741824}
        commit_limit_bytes: {description: The most that may be promised in bytes., type: int, sample: 134963200000}
        hardware_corrupted_bytes:
          description: Memory that the kernel took out of use in bytes, because the hardware found it bad.
          type: int
          sample: 0
        swap_total_bytes: {description: Swap in bytes., type: int, sample: 0}
        swap_free_bytes: {description: Swap that nothing uses in bytes., type: int, sample: 0}
        swap_devices:
          description: What the kernel swaps to.
          type: list
          elements: dict
          contains:
            path: {description: Device or file., type: str, sample: /dev/dm-1}
            type: {description: V(partition) or V(file)., type: str, sample: partition}
            size_bytes: {description: Size in bytes., type: int, sample: 8589930496}
            used_bytes: {description: What is in use of it in bytes., type: int, sample: 0}
            priority: {description: The higher one is used first., type: int, sample: -2}
        smbios_version:
          description: Version of the standard that the tables follow. Null where there are none.
          type: str
          sample: "3.3"
        slots:
          description:
            - Slots for DIMMs, used or empty, as the table lists them one by one.
            - A slot with persistent memory is in RV(ansible_facts.memory.other_modules). Null where none is listed.
          type: int
          sample: 12
        slots_used: {description: Slots with a DIMM in them. Null where none is listed., type: int, sample: 8}
        slots_empty: {description: Slots without a module. Null where none is listed., type: int, sample: 4}
        max_capacity_bytes: {description: The most that the board takes in bytes., type: int, sample: 824633720832}
        installed_bytes:
          description: Sum of the DIMMs in bytes. Null where there is no DIMM, or one of unknown size.
          type: int
          sample: 274877906944
        visible_bytes:
          description: Memory that the kernel was given at boot in bytes, before it takes its own share.
          type: int
          sample: 274609471488
        missing_bytes:
          description:
            - What the DIMMs have and the kernel was not given, in bytes, if it is at least half of the smallest DIMM.
              So it is when the firmware dropped a DIMM at boot, when it mirrors or spares memory, or with C(mem=).
            - V(0) where the difference is less, which the firmware keeps. Null where one side is unknown.
          type: int
          sample: 0
        population:
          description: The values that differ between DIMMs, each once and in order. More than one is a mix.
          type: dict
          contains:
            sizes_bytes: {description: Sizes in bytes., type: list, elements: int, sample: [34359738368]}
            types: {description: Kinds of memory., type: list, elements: str, sample: [DDR4]}
            speeds_mts: {description: Rated speeds in MT/s., type: list, elements: int, sample: [2666]}
            configured_speeds_mts: {description: Speeds in use in MT/s., type: list, elements: int, sample: [2666]}
            manufacturers: {description: Manufacturers., type: list, elements: str, sample: [Samsung]}
            part_numbers: {description: Part numbers., type: list, elements: str, sample: [M393A4K40CB2-CTD]}
            ranks: {description: Numbers of ranks., type: list, elements: int, sample: [2]}
        dimms:
          description: Each memory module. Flash and persistent memory are none.
          type: list
          elements: dict
          contains:
            handle: {description: Handle in the table., type: str, sample: "0x1100"}
            array: {description: Handle of its array., type: str, sample: "0x1000"}
            slot: {description: Name of the slot., type: str, sample: CPU0_DIMM_A1}
            bank: {description: Name of the bank., type: str, sample: NODE 0}
            form_factor: {description: Shape., type: str, sample: DIMM}
            size_bytes: {description: Size in bytes., type: int, sample: 34359738368}
            type: {description: Kind of memory., type: str, sample: DDR4}
            buffering:
              description: V(registered), V(unbuffered) or V(load-reduced).
              type: str
              sample: registered
            speed_mts: {description: Rated speed in MT/s., type: int, sample: 2666}
            configured_speed_mts: {description: Speed in use in MT/s., type: int, sample: 2666}
            configured_millivolts: {description: Voltage in use in mV., type: int, sample: 1200}
            manufacturer: {description: Manufacturer., type: str, sample: Samsung}
            part_number: {description: Part number., type: str, sample: M393A4K40CB2-CTD}
            serial: {description: Serial number., type: str, sample: "10000001"}
            ecc:
              description:
                - Whether errors are corrected. The array says so, or else the module is wider than its data.
                - The correction inside of DDR5 chips does not count.
              type: bool
              sample: true
            rank: {description: Ranks., type: int, sample: 2}
            data_width_bits: {description: Width of the data in bits., type: int, sample: 64}
            total_width_bits: {description: The same and the bits for error correction., type: int, sample: 72}
        other_modules:
          description: Modules of the table that are no main memory, such as flash, NVDIMM and persistent memory.
          type: list
          elements: dict
          contains:
            handle: {description: Handle in the table., type: str, sample: "0x2100"}
            array: {description: Handle of its array., type: str, sample: "0x2000"}
            slot: {description: Name of the slot., type: str, sample: SYSTEM ROM}
            size_bytes: {description: Size in bytes., type: int, sample: 33554432}
            kind: {description: What it is., type: str, sample: flash}
            manufacturer: {description: Manufacturer., type: str, sample: Intel}
            part_number: {description: Part number., type: str, sample: NMA1XXD128GPS}
            serial: {description: Serial number., type: str, sample: "00000aef"}
        arrays:
          description: Groups of slots.
          type: list
          elements: dict
          contains:
            handle: {description: Handle in the table., type: str, sample: "0x1000"}
            location: {description: Where it is., type: str, sample: system board}
            use: {description: What it is for. Only V(system) is main memory., type: str, sample: system}
            error_correction:
              description: V(none), V(parity), V(single-bit), V(multi-bit) or V(CRC).
              type: str
              sample: multi-bit
            max_capacity_bytes: {description: The most that it takes in bytes., type: int, sample: 824633720832}
            slots:
              description: Slots that it claims to have. Boards misstate it at times.
              type: int
              sample: 12
        huge_pages:
          description: Huge pages. The counts beside RV(ansible_facts.memory.huge_pages.sizes) are of the default size.
          type: dict
          contains:
            size_bytes: {description: Size of one in bytes., type: int, sample: 2097152}
            total: {description: How many there are., type: int, sample: 0}
            free: {description: How many are free., type: int, sample: 0}
            transparent: {description: "V(always), V(madvise) or V(never).", type: str, sample: madvise}
            sizes:
              description: Every size that the kernel has, the smallest first.
              type: list
              elements: dict
              contains:
                size_bytes: {description: Size of one in bytes., type: int, sample: 1073741824}
                total: {description: How many there are., type: int, sample: 0}
                free: {description: How many are free., type: int, sample: 0}
                reserved: {description: How many of the free are promised., type: int, sample: 0}
                surplus: {description: How many there are beyond what was asked for., type: int, sample: 0}
        numa_nodes:
          description: NUMA nodes, by number.
          type: list
          elements: dict
          contains:
            node: {description: Number., type: int, sample: 0}
            total_bytes: {description: Its memory in bytes., type: int, sample: 134963200000}
            free_bytes: {description: What is free of it in bytes., type: int, sample: 130867200000}
            cpus: {description: Its CPUs. Empty for memory without any., type: str, sample: "0-15,32-47"}
            cpu_count: {description: How many CPUs those are., type: int, sample: 32}
            distances:
              description: Distance to each node, in the order of this list. Itself is V(10).
              type: list
              elements: int
              sample: [10, 21]
            huge_pages:
              description: Its huge pages of every size, the smallest first.
              type: list
              elements: dict
              contains:
                size_bytes: {description: Size of one in bytes., type: int, sample: 2097152}
                total: {description: How many there are., type: int, sample: 0}
                free: {description: How many are free., type: int, sample: 0}
                surplus: {description: How many there are beyond what was asked for., type: int, sample: 0}
        edac:
          description: Memory controllers whose errors the kernel counts. Empty where it counts none.
          type: list
          elements: dict
          contains:
            controller: {description: Name., type: str, sample: mc0}
            name: {description: Name that its driver gives., type: str, sample: Skylake Socket#0 IMC#0}
            size_bytes: {description: Its memory in bytes., type: int, sample: 68719476736}
            corrected: {description: Corrected errors since boot or a reset., type: int, sample: 0}
            uncorrected: {description: Uncorrected errors since boot or a reset., type: int, sample: 0}
            corrected_unplaced: {description: "Of the corrected, those of no known module.", type: int, sample: 0}
            uncorrected_unplaced: {description: "Of the uncorrected, those of no known module.", type: int, sample: 0}
            seconds_since_reset: {description: How long it has counted in seconds., type: int, sample: 86400}
            modules:
              description: DIMMs or ranks, whichever its driver knows.
              type: list
              elements: dict
              contains:
                name: {description: Name in the kernel., type: str, sample: dimm0}
                label: {description: Label of the slot., type: str, sample: CPU_SrcID#0_MC#0_Chan#0_DIMM#0}
                location: {description: Place below the controller., type: str, sample: channel 0 slot 0}
                size_bytes: {description: Size in bytes., type: int, sample: 34359738368}
                corrected: {description: Corrected errors. Null in old kernels., type: int, sample: 0}
                uncorrected: {description: Uncorrected errors. Null in old kernels., type: int, sample: 0}
            csrows:
              description: Rows of chips, where the kernel still shows them.
              type: list
              elements: dict
              contains:
                name: {description: Name in the kernel., type: str, sample: csrow0}
                labels: {description: Labels of its channels., type: list, elements: str, sample: [DIMM_A1]}
                size_bytes: {description: Size in bytes., type: int, sample: 34359738368}
                corrected: {description: Corrected errors., type: int, sample: 0}
                uncorrected: {description: Uncorrected errors., type: int, sample: 0}
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
