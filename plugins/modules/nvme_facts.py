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
  - Reads controllers and namespaces from sysfs, what is built on them and mounted from them, and each local drive's
    health log by ioctl.
  - The health log needs root and the real device. Where the ioctl gives none, C(nvme smart-log) and then C(smartctl)
    are asked, if they are there. Where those have none either, a gap says why, and the rest is read.
  - It has no opinion, and it changes nothing. A drive that is not V(live) is not asked for its health, because the
    question could hang.
extends_documentation_fragment:
  - gpufleet.workstation.facts
options:
  nvme:
    description:
      - The C(nvme) command of nvme-cli, a name on the search path or a path. It is run only where the ioctl gave
        nothing. Empty means never.
      - Where O(root) is not V(/), only a path is run. A command found by its name would tell of another machine.
    type: str
    default: nvme
  smartctl:
    description: The C(smartctl) command. It is run only where O(nvme) gave nothing either, by the same rules.
    type: str
    default: smartctl
  timeout:
    description: >-
      Seconds after which a drive that does not answer, and each command, is given up. The drive itself is left in
      peace; the kernel goes on waiting for it.
    type: int
    default: 10
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
              description: "V(pcie) for a local drive; V(tcp), V(rdma), V(fc), V(loop) for fabrics."
              type: str
              sample: pcie
            local:
              description: >-
                Whether it is a drive in this machine. False for fabrics, also for V(loop). Null for a transport that is
                not known.
              type: bool
              sample: true
            address:
              description: Address as the kernel writes it. A PCI address, or where a fabric leads.
              type: str
              sample: "0000:5e:00.0"
            state:
              description: State of the controller. V(live) is the good one, V(dead) has been given up.
              type: str
              sample: live
            subsystem:
              description: >-
                Subsystem that it belongs to. Controllers of one subsystem are ways to the same drive. Null before Linux
                4.15.
              type: str
              sample: nvme-subsys0
            subsystem_nqn:
              description: Qualified name of the subsystem.
              type: str
              sample: nqn.1994-11.com.samsung:nvme:PM1733:2.5-inch:S4YPNE0R100001
            pci_address: {description: PCI address. Null for fabrics., type: str, sample: "0000:5e:00.0"}
            numa_node: {description: NUMA node. Null if the firmware does not say., type: int, sample: 0}
            link:
              description: PCIe link. Its values are null for fabrics.
              type: dict
              contains:
                speed_gts: {description: Speed now in GT/s., type: float, sample: 8.0}
                width: {description: Lanes now., type: int, sample: 4}
                max_speed_gts: {description: Highest speed in GT/s., type: float, sample: 8.0}
                max_width: {description: Most lanes., type: int, sample: 4}
            namespaces:
              description: >-
                Its namespaces. One that several controllers reach stands below each of them, by the same name; count it
                once.
              type: list
              elements: dict
              contains:
                name: {description: Name of the block device., type: str, sample: nvme0n1}
                path:
                  description: >-
                    Hidden device by which this controller reaches it, where the kernel's multipath is at work. Null
                    elsewhere.
                  type: str
                  sample: nvme0c0n1
                path_state:
                  description: >-
                    State of that way as the drive tells it (ANA), such as V(optimized) or V(inaccessible). Null without
                    multipath.
                  type: str
                  sample: optimized
                nsid: {description: Number of the namespace in its subsystem., type: int, sample: 1}
                wwid:
                  description: Identifier that no other namespace has.
                  type: str
                  sample: eui.36344630523010010025384500000001
                size_bytes: {description: Size in bytes., type: int, sample: 3840755982336}
                lba_bytes: {description: Size of a logical block in bytes., type: int, sample: 512}
                physical_block_bytes: {description: Size of a physical block in bytes., type: int, sample: 4096}
                read_only: {description: Whether the kernel refuses to write to it., type: bool, sample: false}
                devices:
                  description: >-
                    The block device itself, its partitions, and what device-mapper (LVM, encryption, multipath) and md
                    built on them, each after what it lies on.
                  type: list
                  elements: dict
                  contains:
                    name: {description: Name in the kernel., type: str, sample: dm-0}
                    kind:
                      description: >-
                        V(disk), V(partition), V(lvm), V(crypt), V(mpath), V(md), or V(dm) for another use of
                        device-mapper; V(other) for what is not known.
                      type: str
                      sample: lvm
                    label:
                      description: Name that device-mapper knows it by. Null for what is not its own.
                      type: str
                      sample: vg0-scratch
                    parents:
                      description: Devices of this list that it lies on.
                      type: list
                      elements: str
                      sample: [nvme0n1p3]
                    size_bytes: {description: Size in bytes., type: int, sample: 3839680446464}
                    filesystem:
                      description: >-
                        What udev found on it, mounted or not, such as V(ext4), V(LVM2_member), V(zfs_member). Null if
                        it found nothing, or was not there to look.
                      type: str
                      sample: xfs
                mounts:
                  description: >-
                    What is mounted from any of the devices, as this process sees it. ZFS pools are not traced; their
                    devices say V(zfs_member).
                  type: list
                  elements: dict
                  contains:
                    device: {description: Device as the mount names it., type: str, sample: /dev/mapper/vg0-scratch}
                    block_device: {description: Name of that device among the devices., type: str, sample: dm-0}
                    mountpoint: {description: Mount point., type: str, sample: /scratch}
                    fstype: {description: Kind of filesystem., type: str, sample: xfs}
                    read_only: {description: Whether it is mounted read-only., type: bool, sample: false}
                swaps:
                  description: Swap in use on any of the devices.
                  type: list
                  elements: dict
                  contains:
                    device: {description: The device or the file., type: str, sample: /dev/nvme0n1p2}
                    block_device: {description: Name of the device among the devices., type: str, sample: nvme0n1p2}
                    kind: {description: V(partition) for a device; V(file)., type: str, sample: partition}
                    size_bytes: {description: Size in bytes., type: int, sample: 8589930496}
                    used_bytes: {description: Bytes in use., type: int, sample: 0}
            health:
              description: >-
                The drive's own health log. Null for fabrics, and where it could not be had; then a gap says why. Each
                value is null where the drive does not say it or says what cannot be.
              type: dict
              contains:
                source: {description: "V(ioctl), V(nvme) or V(smartctl).", type: str, sample: ioctl}
                critical_warning:
                  description: The critical-warning bits, one by one.
                  type: dict
                  contains:
                    spare_below_threshold: {description: Spare blocks run out., type: bool, sample: false}
                    temperature: {description: Too hot or too cold., type: bool, sample: false}
                    reliability_degraded: {description: Media errors degrade it., type: bool, sample: false}
                    read_only: {description: It has gone read-only., type: bool, sample: false}
                    volatile_backup_failed: {description: The power-loss protection failed., type: bool, sample: false}
                    persistent_memory_unreliable:
                      description: Its persistent memory region is read-only or unreliable.
                      type: bool
                      sample: false
                temperature_celsius: {description: Temperature in degrees Celsius., type: int, sample: 38}
                sensors:
                  description: The temperature sensors that it has, at most eight.
                  type: list
                  elements: dict
                  contains:
                    number: {description: Number from 1., type: int, sample: 1}
                    temperature_celsius: {description: Temperature in degrees Celsius., type: int, sample: 45}
                available_spare_percent: {description: Spare left in percent., type: int, sample: 100}
                spare_threshold_percent:
                  description: Spare under which the drive warns in percent.
                  type: int
                  sample: 10
                percentage_used:
                  description: Rated life used in percent. It may exceed 100; 255 stands for all above 254.
                  type: int
                  sample: 3
                data_read_bytes:
                  description: Bytes read by the host, to the next 512000. Null for 0, which means not reported.
                  type: int
                  sample: 73412608000
                data_written_bytes:
                  description: Bytes written by the host, to the next 512000. Null for 0, which means not reported.
                  type: int
                  sample: 190312448000
                power_cycles: {description: Times powered on., type: int, sample: 41}
                power_on_hours: {description: Hours powered on., type: int, sample: 21034}
                unsafe_shutdowns: {description: Power losses without notice., type: int, sample: 12}
                media_errors: {description: Unrecovered media errors., type: int, sample: 0}
                error_log_entries:
                  description: Entries ever made in its error log. Harmless commands that it does not know count too.
                  type: int
                  sample: 118
                warning_temperature_minutes:
                  description: Minutes above its warning temperature.
                  type: int
                  sample: 0
                critical_temperature_minutes:
                  description: Minutes above its critical temperature.
                  type: int
                  sample: 0
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._nvme import collect


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "nvme": {"type": "str", "default": "nvme"},
            "smartctl": {"type": "str", "default": "smartctl"},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    fact = collect(Host(params["root"]), params["nvme"], params["smartctl"], params["timeout"])
    module.exit_json(ansible_facts={"nvme": fact})


if __name__ == "__main__":
    main()
