#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a host's NVMe drives."""

DOCUMENTATION = r"""
module: nvme_facts
short_description: Read a host's NVMe drives
version_added: 0.1.0
description:
  - Reads controllers and namespaces from sysfs, the mounts on them, and each local drive's health log by ioctl.
    No command is run.
  - The health log needs root and the real device. Where it cannot be had the gap is named, and the rest is read.
extends_documentation_fragment:
  - gpufleet.workstation.facts
"""

EXAMPLES = r"""
- name: Read the NVMe drives
  gpufleet.workstation.nvme_facts:

- name: Show what they hold together, in TB
  ansible.builtin.debug:
    msg: >-
      {{ ansible_facts['nvme'].controllers | map(attribute='namespaces') | flatten
      | sum(attribute='size_bytes') / 1000 ** 4 }}
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: always
  type: dict
  contains:
    nvme:
      description: The drives. Null is what a drive does not say.
      type: dict
      contains:
        root: {description: Where it was read. Not V(/) means a recording or a stand-in., type: str, sample: /}
        gaps:
          description: What could not be read, one sentence each.
          type: list
          elements: str
          sample: ["nvme0: the health log could not be read: Permission denied"]
        controllers:
          description: Each controller.
          type: list
          elements: dict
          contains:
            name: {description: Name in the kernel., type: str, sample: nvme0}
            model: {description: Model., type: str, sample: SAMSUNG MZWLJ3T8HBLS-00007}
            serial: {description: Serial number., type: str, sample: S4YPNE0R100001}
            firmware: {description: Firmware revision., type: str, sample: EPK9CB5Q}
            transport:
              description: "V(pcie) for a local drive; V(tcp), V(rdma), V(fc) for fabrics."
              type: str
              sample: pcie
            state: {description: State of the controller. V(live) is the good one., type: str, sample: live}
            pci_address: {description: PCI address. Null for fabrics., type: str, sample: "0000:5e:00.0"}
            numa_node: {description: NUMA node. Null if the firmware does not say., type: int, sample: 0}
            link:
              description: PCIe link.
              type: dict
              contains:
                speed_gts: {description: Speed now in GT/s., type: float, sample: 8.0}
                width: {description: Lanes now., type: int, sample: 4}
                max_speed_gts: {description: Highest speed in GT/s., type: float, sample: 8.0}
                max_width: {description: Most lanes., type: int, sample: 4}
            namespaces:
              description: Its namespaces.
              type: list
              elements: dict
              contains:
                name: {description: Name of the block device., type: str, sample: nvme0n1}
                size_bytes: {description: Size in bytes., type: int, sample: 3840755982336}
                lba_bytes: {description: Size of a logical block in bytes., type: int, sample: 512}
                mounts:
                  description: >-
                    Filesystems mounted from it or from its partitions. What lies behind device-mapper is not
                    traced.
                  type: list
                  elements: dict
                  contains:
                    device: {description: Device file., type: str, sample: /dev/nvme0n1p2}
                    mountpoint: {description: Mount point., type: str, sample: /}
                    fstype: {description: Kind of filesystem., type: str, sample: ext4}
            health:
              description: The drive's own health log. Null if it could not be had; then a gap says why.
              type: dict
              contains:
                critical_warning:
                  description: The critical-warning bits, one by one.
                  type: dict
                  contains:
                    spare_below_threshold: {description: Spare blocks run out., type: bool, sample: false}
                    temperature: {description: Too hot or too cold., type: bool, sample: false}
                    reliability_degraded: {description: Media errors degrade it., type: bool, sample: false}
                    read_only: {description: It has gone read-only., type: bool, sample: false}
                    volatile_backup_failed: {description: The power-loss protection failed., type: bool, sample: false}
                temperature_celsius: {description: Temperature in degrees Celsius., type: int, sample: 38}
                available_spare_percent: {description: Spare left in percent., type: int, sample: 100}
                spare_threshold_percent:
                  description: Spare under which the drive warns in percent.
                  type: int
                  sample: 10
                percentage_used: {description: Rated life used in percent. It may exceed 100., type: int, sample: 3}
                power_on_hours: {description: Hours powered on., type: int, sample: 21034}
                unsafe_shutdowns: {description: Power losses without notice., type: int, sample: 12}
                media_errors: {description: Unrecovered media errors., type: int, sample: 0}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._nvme import collect


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    module.exit_json(ansible_facts={"nvme": collect(Host(module.params["root"]))})


if __name__ == "__main__":
    main()
