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
  - Reads three layers, each of which may be missing without harm to the others. The PCI bus in sysfs; the kernel, its
    log, DKMS and the installed libraries; and C(nvidia-smi).
  - It has no opinion. Where two layers disagree, both values are given and the disagreement is named.
extends_documentation_fragment:
  - gpufleet.workstation.facts
options:
  nvidia_smi:
    description: The C(nvidia-smi) to ask, a name on the search path or a path. It is not looked for below O(root).
    type: str
    default: nvidia-smi
  dmesg:
    description: >-
      The C(dmesg) to ask for the kernel's log where neither C(/dev/kmsg) nor the journal is readable, a name or a path.
      Below another O(root) than V(/) only a path is asked.
    type: str
    default: dmesg
  journalctl:
    description: >-
      The C(journalctl) to ask for the kernel's log where C(/dev/kmsg) is not readable or has lost its beginning, a name
      or a path. Below another O(root) than V(/) only a path is asked.
    type: str
    default: journalctl
  modinfo:
    description: >-
      The C(modinfo) to ask of the installed module, a name or a path. It is not looked for below O(root); below
      another O(root) than V(/) only a path is asked.
    type: str
    default: modinfo
  timeout:
    description: >-
      Seconds after which a command is given up; a sick GPU can hang C(nvidia-smi) for ever. What it would have said is
      a gap, and everything else is still read.
    type: int
    default: 30
  nvlink:
    description: Whether to ask C(nvidia-smi nvlink -s), because the XML is silent about NVLink.
    type: bool
    default: true
  topology:
    description: Whether to ask C(nvidia-smi topo -m) how the GPUs are connected. It takes seconds on a large host.
    type: bool
    default: false
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

- name: Name the GPUs that have fallen off the bus since the boot
  ansible.builtin.debug:
    msg: "{{ ansible_facts['gpu'].kernel.xid_counts | default([], true) | selectattr('xid', 'equalto', 79) | list }}"
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
        smi_status:
          description: >-
            V(answered), V(missing) if there is no C(nvidia-smi), V(timed_out), or V(failed) if it said something else
            than its XML. An answer may still have gaps.
          type: str
          sample: answered
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
                max_width: {description: Most lanes of the GPU itself., type: int, sample: 16}
        kernel:
          description: What the kernel, its log and the file system say of the drivers.
          type: dict
          contains:
            release: {description: Version of the running kernel., type: str, sample: 5.15.0-119-generic}
            driver_version:
              description: Version of the loaded NVIDIA driver. Null if none is loaded.
              type: str
              sample: 580.178.04
            flavor:
              description: V(open) or V(proprietary) kernel modules, of those that are loaded.
              type: str
              sample: proprietary
            userspace_version:
              description: >-
                Version of the installed C(libnvidia-ml), or of C(libcuda) without it: the one that the soname link
                names, else the newest. Null if there is neither.
              type: str
              sample: 580.178.04
            userspace_matches:
              description: >-
                Whether the installed libraries are of the loaded version. V(false) means that C(nvidia-smi) and CUDA
                fail until the modules are loaded anew. Null if one of the two is not there.
              type: bool
              sample: true
            libraries:
              description: The driver's libraries in the usual folders. CUDA's compat folders are not among them.
              type: list
              elements: dict
              contains:
                path:
                  description: File, below RV(ansible_facts.gpu.root).
                  type: str
                  sample: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.178.04
                version: {description: Version in its name., type: str, sample: 580.178.04}
            modules:
              description: Loaded modules of GPU drivers.
              type: list
              elements: str
              sample: [nvidia, nvidia_uvm]
            installed_module:
              description: The C(nvidia) module that the running kernel would load. Null if none is installed for it.
              type: dict
              contains:
                path:
                  description: File, below RV(ansible_facts.gpu.root).
                  type: str
                  sample: /lib/modules/5.15.0-119-generic/updates/dkms/nvidia.ko
                version:
                  description: Its version, from C(modinfo). Null if that did not say.
                  type: str
                  sample: 580.178.04
                flavor:
                  description: >-
                    V(open) or V(proprietary), from the licence that C(modinfo) reads. Null if that did not say.
                  type: str
                  sample: proprietary
                signed:
                  description: Whether it carries a signature, from C(modinfo). Null if that did not say.
                  type: bool
                  sample: true
                signer: {description: Who signed it. Null if it is not signed., type: str, sample: gpu01 DKMS MOK}
            kernels:
              description: Every kernel installed below C(/lib/modules), and whether it has the NVIDIA driver.
              type: list
              elements: dict
              contains:
                release: {description: Version of the kernel., type: str, sample: 5.15.0-119-generic}
                running: {description: Whether it is the one that runs., type: bool, sample: true}
                module_files:
                  description: The C(nvidia) modules for it, from DKMS or from packages. Without one it has no driver.
                  type: list
                  elements: str
                  sample: [/lib/modules/5.15.0-119-generic/updates/dkms/nvidia.ko]
                dkms_state:
                  description: >-
                    The best state of NVIDIA's DKMS modules for this kernel. V(installed), V(built) but not installed,
                    V(failed) if the last build broke off, V(added) if it was never built, V(broken) if the source is
                    gone. Null if DKMS has no NVIDIA driver.
                  type: str
                  sample: installed
                dkms_version:
                  description: Version of the DKMS module in that state.
                  type: str
                  sample: 580.178.04
            device_nodes:
              description: NVIDIA's device nodes in C(/dev).
              type: list
              elements: str
              sample: [nvidia0, nvidiactl]
            efi:
              description: Whether the host was started by EFI. Secure Boot is a matter of EFI only.
              type: bool
              sample: true
            secure_boot:
              description: Whether Secure Boot is on. Null without EFI, or if the variable is not readable.
              type: bool
              sample: false
            module_signatures_enforced:
              description: >-
                Whether the kernel refuses unsigned modules, by C(sig_enforce) or lockdown. Null if it says neither.
              type: bool
              sample: false
            log_readable: {description: Whether the kernel's log was readable., type: bool, sample: true}
            log_complete:
              description: >-
                Whether the log reaches back to the boot. V(false) means that older lines are overwritten. Null if
                that cannot be said.
              type: bool
              sample: true
            xid_events:
              description: The last 100 Xid events in the kernel's log, oldest first. Null if it was not readable.
              type: list
              elements: dict
              contains:
                address:
                  description: PCI address as the kernel writes it. Null if the line has none.
                  type: str
                  sample: "0000:3b:00.0"
                xid: {description: Number of the Xid., type: int, sample: 79}
                time_seconds: {description: Seconds after the boot. Null if unknown., type: float, sample: 81234.5}
                message:
                  description: What follows the number.
                  type: str
                  sample: "pid=1234, name=python, GPU has fallen off the bus."
            xid_counts:
              description: All Xid events in the log, counted. Null if it was not readable.
              type: list
              elements: dict
              contains:
                address: {description: PCI address as the kernel writes it., type: str, sample: "0000:3b:00.0"}
                xid: {description: Number of the Xid., type: int, sample: 79}
                count: {description: How many there were., type: int, sample: 1}
                first_seconds: {description: Seconds from the boot to the first., type: float, sample: 81234.5}
                last_seconds: {description: Seconds from the boot to the last., type: float, sample: 81234.5}
            driver_complaints:
              description: >-
                What the driver said in the log without an Xid, at most 100 lines, oldest first. Null if the log was
                not readable.
              type: list
              elements: dict
              contains:
                kind:
                  description: >-
                    V(fallen_off_bus), V(init_failed), V(needs_older_driver), V(needs_proprietary_modules),
                    V(needs_open_modules), V(version_mismatch) or V(nvswitch_error), the SXid of an NVSwitch.
                  type: str
                  sample: fallen_off_bus
                address:
                  description: PCI address as the kernel writes it. Null if the line has none.
                  type: str
                  sample: "0000:3b:00.0"
                time_seconds: {description: Seconds after the boot. Null if unknown., type: float, sample: 12.25}
                message:
                  description: The line.
                  type: str
                  sample: "GPU 0000:3b:00.0: GPU has fallen off the bus."
        smi:
          description: >-
            What C(nvidia-smi -q -x) says. Null if it did not answer. Null fields are what the GPU does not
            support or what C(nvidia-smi) may not tell.
          type: dict
          contains:
            schema: {description: Version of the XML's schema., type: int, sample: 12}
            driver_version: {description: Driver version., type: str, sample: 580.178.04}
            cuda_version: {description: Newest CUDA that the driver supports., type: str, sample: "13.0"}
            attached_gpus: {description: How many GPUs it counts., type: int, sample: 2}
            topology:
              description: >-
                How each pair of GPUs is connected, from C(nvidia-smi topo -m). Null unless O(topology) is set, or
                if that did not answer.
              type: list
              elements: dict
              contains:
                first_index: {description: Index of one GPU., type: int, sample: 0}
                second_index: {description: Index of the other GPU., type: int, sample: 1}
                first_address: {description: PCI address of the one., type: str, sample: "0000:3b:00.0"}
                second_address: {description: PCI address of the other., type: str, sample: "0000:d8:00.0"}
                connection:
                  description: >-
                    V(NV) and a number of NVLinks, or by PCIe V(PIX), V(PXB), V(PHB), V(NODE), V(SYS), farther and
                    farther apart.
                  type: str
                  sample: SYS
                nvlinks: {description: How many NVLinks join them. 0 if it is PCIe., type: int, sample: 0}
            gpus:
              description: Each GPU that it describes.
              type: list
              elements: dict
              contains:
                index: {description: Index by which C(nvidia-smi) knows it., type: int, sample: 0}
                address: {description: PCI address as the kernel writes it., type: str, sample: "0000:3b:00.0"}
                complaint:
                  description: What stands in place of its values if the GPU is lost or waits for a reset.
                  type: str
                  sample: GPU is lost
                name: {description: Product name., type: str, sample: Tesla V100-PCIE-32GB}
                uuid: {description: UUID., type: str, sample: GPU-7f0c9e52-1c55-4b8c-9b1e-0d3c6a0e5a10}
                serial: {description: Serial number., type: str, sample: "0323618000001"}
                vbios: {description: Version of the video BIOS., type: str, sample: 88.00.48.00.02}
                minor_number: {description: Number of its node in C(/dev)., type: int, sample: 0}
                memory_total_bytes: {description: Frame buffer in bytes., type: int, sample: 34359738368}
                memory_used_bytes: {description: Frame buffer in use in bytes., type: int, sample: 3145728}
                ecc_mode: {description: Whether ECC is on., type: bool, sample: true}
                ecc_mode_pending: {description: Whether ECC will be on after a reset., type: bool, sample: true}
                ecc_errors_volatile:
                  description: ECC errors since the driver was loaded. Null without ECC.
                  type: dict
                  contains: &ecc
                    corrected: {description: All corrected errors., type: int, sample: 0}
                    uncorrected: {description: All uncorrected errors., type: int, sample: 0}
                    dram_corrected: {description: Corrected errors of the device memory., type: int, sample: 0}
                    dram_uncorrected: {description: Uncorrected errors of the device memory., type: int, sample: 0}
                    sram_corrected:
                      description: Corrected errors of caches and registers. Null before Ampere.
                      type: int
                      sample: 0
                    sram_uncorrected:
                      description: Uncorrected errors of caches and registers. Null before Ampere.
                      type: int
                      sample: 0
                ecc_errors_aggregate:
                  description: ECC errors in the GPU's life. Null without ECC.
                  type: dict
                  contains: *ecc
                ecc_sram_threshold_exceeded:
                  description: Whether the SRAM has had more uncorrected errors than it may. Null before Ampere.
                  type: bool
                  sample: false
                ecc_repair_pending:
                  description: Whether a memory channel or a TPC waits for a reset to be repaired (Blackwell and later).
                  type: bool
                  sample: false
                ecc_unrepairable_memory:
                  description: Whether the memory has a fault that cannot be repaired (Blackwell and later).
                  type: bool
                  sample: false
                retired_pages_single_bit:
                  description: Memory pages retired for many corrected errors (before Ampere). The table holds 64 pages.
                  type: int
                  sample: 0
                retired_pages_double_bit:
                  description: Memory pages retired for an uncorrected error (before Ampere).
                  type: int
                  sample: 0
                retired_pages_pending:
                  description: Whether memory pages wait to be retired (before Ampere).
                  type: bool
                  sample: false
                row_remap_corrected:
                  description: Memory rows remapped for corrected errors (Ampere and later).
                  type: int
                  sample: 0
                row_remap_uncorrected:
                  description: Memory rows remapped for uncorrected errors (Ampere and later).
                  type: int
                  sample: 0
                row_remap_pending:
                  description: Whether memory rows, or on Rubin banks, wait to be remapped (Ampere and later).
                  type: bool
                  sample: false
                row_remap_failure: {description: Whether a memory row could not be remapped., type: bool, sample: false}
                row_remap_banks:
                  description: How many memory banks have how many spare rows left. Null if it does not say.
                  type: dict
                  contains:
                    max: {description: Banks with all of them., type: int, sample: 640}
                    high: {description: Banks with many., type: int, sample: 0}
                    partial: {description: Banks with some., type: int, sample: 0}
                    low: {description: Banks with few., type: int, sample: 0}
                    none: {description: Banks with none., type: int, sample: 0}
                recovery_action:
                  description: >-
                    What the driver asks for, as it writes it, such as V(None), V(Reset), V(Reboot) or V(Drain P2P).
                    Null before driver 570.
                  type: str
                  sample: None
                reset_required: {description: Whether it waits for a reset., type: bool, sample: false}
                performance_state: {description: "V(P0), the fastest, to V(P12).", type: str, sample: P0}
                clocks:
                  description: Clocks now.
                  type: dict
                  contains: &clocks
                    graphics_mhz: {description: Graphics clock., type: int, sample: 1230}
                    sm_mhz: {description: Clock of the multiprocessors., type: int, sample: 1230}
                    memory_mhz: {description: Memory clock., type: int, sample: 877}
                    video_mhz: {description: Video clock., type: int, sample: 1110}
                clocks_max:
                  description: Highest clocks.
                  type: dict
                  contains: *clocks
                clocks_application:
                  description: Clocks that applications get.
                  type: dict
                  contains:
                    graphics_mhz: {description: Graphics clock., type: int, sample: 1230}
                    memory_mhz: {description: Memory clock., type: int, sample: 877}
                clocks_event_reasons:
                  description: >-
                    Why the clocks are lower than they could be, without idleness. Of V(applications_clocks_setting),
                    V(display_clocks_setting), V(hw_power_brake_slowdown), V(hw_slowdown), V(hw_thermal_slowdown),
                    V(sw_power_cap), V(sw_thermal_slowdown), V(sync_boost) and what newer drivers add. Null if unknown.
                  type: list
                  elements: str
                  sample: [sw_power_cap]
                clocks_idle: {description: Whether the clocks are low because it is idle., type: bool, sample: true}
                persistence: {description: Whether persistence mode is on., type: bool, sample: true}
                mig_mode: {description: Whether MIG is on., type: bool, sample: false}
                mig_mode_pending: {description: Whether MIG will be on after a reset., type: bool, sample: false}
                mig_devices:
                  description: MIG devices. Null if the GPU has no MIG.
                  type: list
                  elements: dict
                  contains:
                    index: {description: Index., type: int, sample: 0}
                    uuid:
                      description: UUID. Null where the XML does not have it.
                      type: str
                      sample: MIG-5b2b4d0e-0d0f-5a52-9c3e-1f0c0d3b7a01
                    gpu_instance_id: {description: GPU instance., type: int, sample: 7}
                    compute_instance_id: {description: Compute instance., type: int, sample: 0}
                    multiprocessors: {description: Its multiprocessors., type: int, sample: 14}
                    memory_total_bytes: {description: Its memory in bytes., type: int, sample: 5100273664}
                    memory_used_bytes: {description: Its memory in use in bytes., type: int, sample: 3145728}
                compute_mode: {description: Compute mode., type: str, sample: Default}
                power_draw_watts: {description: Power drawn now in watts., type: float, sample: 26.4}
                power_limit_watts: {description: Power limit in force in watts., type: float, sample: 250.0}
                power_default_limit_watts: {description: Power limit as shipped in watts., type: float, sample: 250.0}
                power_min_limit_watts: {description: Lowest power limit in watts., type: float, sample: 100.0}
                power_max_limit_watts: {description: Highest power limit in watts., type: float, sample: 250.0}
                temperature_celsius: {description: Temperature in degrees Celsius., type: int, sample: 34}
                temperature_memory_celsius: {description: Temperature of the memory., type: int, sample: 33}
                temperature_slowdown_celsius:
                  description: From here the hardware slows down. Null where the driver gives only a margin.
                  type: int
                  sample: 87
                temperature_shutdown_celsius: {description: Here the hardware shuts down., type: int, sample: 90}
                temperature_max_operating_celsius: {description: From here the driver slows it., type: int, sample: 83}
                temperature_memory_max_operating_celsius: {description: The same of the memory., type: int, sample: 85}
                temperature_margin_celsius:
                  description: How much hotter it may get before it slows down (Hopper and later).
                  type: int
                  sample: 55
                link:
                  description: PCIe link as the driver sees it.
                  type: dict
                  contains:
                    generation: {description: PCIe generation now., type: int, sample: 3}
                    width: {description: Lanes now., type: int, sample: 16}
                    max_generation: {description: Highest PCIe generation of GPU and host., type: int, sample: 3}
                    max_width: {description: Most lanes of the GPU in its slot., type: int, sample: 16}
                    replays: {description: How often a packet was sent again., type: int, sample: 0}
                nvlinks:
                  description: >-
                    NVLinks that the GPU has, from C(nvidia-smi nvlink -s). Empty if it has none. Null unless O(nvlink)
                    is set, or if that did not answer.
                  type: list
                  elements: dict
                  contains:
                    index: {description: Number of the link., type: int, sample: 0}
                    active: {description: Whether it is up., type: bool, sample: true}
                    speed_gb_per_second:
                      description: Speed in one direction in GB/s. Null if it is down.
                      type: float
                      sample: 25.781
                nvlinks_active: {description: How many NVLinks are up., type: int, sample: 6}
                fabric_state:
                  description: >-
                    State of the NVSwitch fabric, such as V(Completed) or V(In Progress). Null without one, or before
                    driver 525.
                  type: str
                  sample: Completed
                fabric_status: {description: How its start went., type: str, sample: Success}
                fabric_health: {description: Its health in a word. Null before driver 575., type: str, sample: Healthy}
                processes:
                  description: Processes that use it. Null if they are not to be seen.
                  type: list
                  elements: dict
                  contains:
                    pid: {description: Process., type: int, sample: 4711}
                    type: {description: "V(C) for compute, V(G) for graphics, V(C+G) for both.", type: str, sample: C}
                    name: {description: Name., type: str, sample: python}
                    memory_used_bytes: {description: Memory in use in bytes., type: int, sample: 1261436928}
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
            "dmesg": {"type": "str", "default": "dmesg"},
            "journalctl": {"type": "str", "default": "journalctl"},
            "modinfo": {"type": "str", "default": "modinfo"},
            "timeout": {"type": "int", "default": 30},
            "nvlink": {"type": "bool", "default": True},
            "topology": {"type": "bool", "default": False},
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
    root, models = options.pop("root"), options.pop("models")
    gpu = collect(Host(root), models or [], **options)
    module.exit_json(ansible_facts={"gpu": gpu})


if __name__ == "__main__":
    main()
