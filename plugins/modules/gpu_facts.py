#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a host's GPUs."""

DOCUMENTATION = r"""
module: gpu_facts
short_description: Read a host's GPUs
version_added: 0.1.0
description:
  - Reads three layers, each of which may be missing without harm to the others. The PCI bus in sysfs, what the
    kernel says of the loaded driver, and C(nvidia-smi).
  - It has no opinion. Where two layers disagree, both values are given and the disagreement is named.
extends_documentation_fragment:
  - gpufleet.workstation.facts
options:
  nvidia_smi:
    description: The C(nvidia-smi) to ask, a name on the search path or a path. It is not looked for below O(root).
    type: str
    default: nvidia-smi
  timeout:
    description: >-
      Seconds after which C(nvidia-smi) is given up; a sick GPU can hang it for ever. The other layers are
      still read.
    type: int
    default: 30
  models:
    description:
      - Names of PCI devices. Left out, the collection's own GPU table is taken.
    type: list
    elements: dict
    suboptions:
      vendor_id:
        description: PCI vendor, four hexadecimal digits, lower case.
        type: str
        required: true
      device_id:
        description: PCI device, four hexadecimal digits, lower case.
        type: str
        required: true
      kind:
        description: What it is.
        type: str
        choices: [gpu, nvswitch]
        default: gpu
      key:
        description: Short name.
        type: str
      name:
        description: Marketing name.
        type: str
      architecture:
        description: Architecture, such as V(volta).
        type: str
      compute_capability:
        description: Compute capability, such as V(7.0).
        type: str
"""

EXAMPLES = r"""
- name: Read the GPUs
  gpufleet.workstation.gpu_facts:

- name: Refuse a host without a V100
  ansible.builtin.assert:
    that: ansible_facts['gpu'].pci | selectattr('architecture', 'equalto', 'volta') | length > 0
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: always
  type: dict
  contains:
    gpu:
      description: The GPUs, as the bus, the kernel and C(nvidia-smi) see them.
      type: dict
      contains:
        root:
          description: Where it was read. Not V(/) means a recording or a stand-in.
          type: str
          sample: /
        gaps:
          description: What could not be read, one sentence each.
          type: list
          elements: str
          sample: ["nvidia-smi: timed out after 30 s"]
        disagreements:
          description: What one layer says and another denies.
          type: list
          elements: str
          sample: ["the loaded driver is 580.126.16, nvidia-smi says 580.178.04"]
        pci:
          description: Every NVIDIA and AMD GPU and every known NVSwitch on the PCI bus, also those without a driver.
          type: list
          elements: dict
          contains:
            address: {description: Address as the kernel writes it., type: str, sample: "0000:3b:00.0"}
            kind: {description: V(gpu) or V(nvswitch)., type: str, sample: gpu}
            vendor: {description: V(nvidia) or V(amd)., type: str, sample: nvidia}
            vendor_id: {description: PCI vendor., type: str, sample: 10de}
            device_id: {description: PCI device., type: str, sample: 1db6}
            subsystem_vendor_id: {description: PCI subsystem vendor., type: str, sample: 10de}
            subsystem_device_id: {description: PCI subsystem device., type: str, sample: 124a}
            class_code: {description: PCI base class and subclass., type: str, sample: "0302"}
            model:
              description: Name in the GPU table. Null if it is not there.
              type: str
              sample: Tesla V100 PCIe 32GB
            model_key: {description: Key in the GPU table., type: str, sample: v100_pcie_32}
            architecture: {description: Architecture., type: str, sample: volta}
            compute_capability: {description: Compute capability., type: str, sample: "7.0"}
            kernel_driver: {description: Kernel driver bound to it. Null if none is., type: str, sample: nvidia}
            numa_node: {description: NUMA node. Null if the firmware does not say., type: int, sample: 0}
            iommu_group: {description: IOMMU group. Null without an IOMMU., type: int, sample: 31}
            link:
              description: PCIe link. An idle GPU may run its link slower than it can.
              type: dict
              contains:
                speed_gts: {description: Speed now in GT/s., type: float, sample: 8.0}
                width: {description: Lanes now., type: int, sample: 16}
                max_speed_gts: {description: Highest speed in GT/s., type: float, sample: 8.0}
                max_width: {description: Most lanes., type: int, sample: 16}
        kernel:
          description: What the kernel says of the drivers.
          type: dict
          contains:
            driver_version: {description: Version of the loaded NVIDIA driver., type: str, sample: 580.178.04}
            flavor: {description: V(open) or V(proprietary) kernel modules., type: str, sample: proprietary}
            modules:
              description: Loaded modules of GPU drivers.
              type: list
              elements: str
              sample: [nvidia, nvidia_uvm]
            device_nodes:
              description: NVIDIA's device nodes in C(/dev).
              type: list
              elements: str
              sample: [nvidia0, nvidiactl]
            secure_boot: {description: Whether Secure Boot is on. Null without EFI., type: bool, sample: false}
        smi:
          description: >-
            What C(nvidia-smi -q -x) says. Null if it did not answer. Null fields are what the GPU does not
            support.
          type: dict
          contains:
            driver_version: {description: Driver version., type: str, sample: 580.178.04}
            cuda_version: {description: Newest CUDA that the driver supports., type: str, sample: "13.0"}
            attached_gpus: {description: How many GPUs it counts., type: int, sample: 2}
            gpus:
              description: Each GPU that it describes.
              type: list
              elements: dict
              contains:
                address: {description: PCI address as the kernel writes it., type: str, sample: "0000:3b:00.0"}
                name: {description: Product name., type: str, sample: Tesla V100-PCIE-32GB}
                uuid: {description: UUID., type: str, sample: GPU-7f0c9e52-1c55-4b8c-9b1e-0d3c6a0e5a10}
                serial: {description: Serial number., type: str, sample: "0323618000001"}
                vbios: {description: Version of the video BIOS., type: str, sample: 88.00.48.00.02}
                memory_total_bytes: {description: Frame buffer in bytes., type: int, sample: 34359738368}
                ecc_mode: {description: Whether ECC is on., type: bool, sample: true}
                persistence: {description: Whether persistence mode is on., type: bool, sample: true}
                mig_mode: {description: Whether MIG is on., type: bool, sample: false}
                compute_mode: {description: Compute mode., type: str, sample: Default}
                power_draw_watts: {description: Power drawn now in watts., type: float, sample: 26.4}
                power_limit_watts: {description: Power limit in force in watts., type: float, sample: 250.0}
                temperature_celsius: {description: Temperature in degrees Celsius., type: int, sample: 34}
                retired_pages_pending:
                  description: Whether memory pages wait to be retired (before Ampere).
                  type: bool
                  sample: false
                row_remap_pending:
                  description: Whether memory rows wait to be remapped (Ampere and later).
                  type: bool
                  sample: false
                row_remap_failure: {description: Whether a memory row could not be remapped., type: bool, sample: false}
                processes: {description: How many processes use it., type: int, sample: 0}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._gpu import collect
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
            "timeout": {"type": "int", "default": 30},
            "models": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "vendor_id": {"type": "str", "required": True},
                    "device_id": {"type": "str", "required": True},
                    "kind": {"type": "str", "choices": ["gpu", "nvswitch"], "default": "gpu"},
                    "key": {"type": "str", "no_log": False},
                    "name": {"type": "str"},
                    "architecture": {"type": "str"},
                    "compute_capability": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    options = module.params
    gpu = collect(Host(options["root"]), options["models"] or [], options["nvidia_smi"], options["timeout"])
    module.exit_json(ansible_facts={"gpu": gpu})


if __name__ == "__main__":
    main()
