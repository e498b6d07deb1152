#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut GPUs into instances (MIG) as a layout says, and again at each start of the host."""

DOCUMENTATION = r"""
module: mig_layout
short_description: Cut GPUs into instances (MIG)
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Turns MIG on or off and makes the GPU instances that a layout names, each with one compute instance of its size.
    GPUs that the layout does not name are left alone, and so is one that is as it should be.
  - A GPU is never changed while a program uses it; what watches it, DCGM and the persistence daemon, is stopped for
    that and started again. What does not fit, or a GPU without MIG, is refused before the first change. Where the
    instances cannot be made, those that were there before are made again.
  - Instances do not outlive a start of the host. A unit, C(gpufleet-mig.service), makes them again at each one.
  - A reboot is never made here, but asked for in RV(reboot) where a mode changes with a reset that is not possible.
  - It was only seen with a stand-in for C(nvidia-smi) that keeps the state of two GPUs.
attributes:
  check_mode:
    description: Says what would be changed.
    support: full
  diff_mode:
    description: Shows each GPU's layout and the files before and after.
    support: full
  platform:
    description: Systems with NVIDIA's driver.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
  - nvidia-smi, and a driver that is loaded
options:
  layout:
    description:
      - The profiles that each GPU is to be cut into, V([3g.20gb, 3g.20gb]) for example; V([]) turns MIG off.
      - The key is a GPU's index, its UUID, or V(all). What names a GPU counts more than V(all).
    type: dict
    required: true
  nvidia_smi:
    description: The command.
    type: str
    default: nvidia-smi
  timeout:
    description: Seconds that one command may take.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Two halves on each GPU but the first
  gpufleet.workstation.mig_layout:
    layout:
      all: [3g.20gb, 3g.20gb]
      0: []
"""

RETURN = r"""
reasons:
  description: What was changed or would be. Empty if nothing.
  returned: success
  type: list
  elements: str
  sample: ["GPU 0 has MIG off, and 3g.20gb, 3g.20gb is wanted"]
version:
  description: Version of the loaded driver. Null in check mode where there is none yet.
  returned: success
  type: str
  sample: 535.261.03
gpus:
  description: The GPUs that the layout names.
  returned: success
  type: list
  elements: dict
  contains:
    index:
      description: The GPU's index.
      type: int
      sample: 0
    uuid:
      description: Its UUID.
      type: str
      sample: GPU-1b2c3d4e-0000-1111-2222-333344445555
    instances:
      description: The profiles of its instances. Empty if MIG is off.
      type: list
      elements: str
      sample: [3g.20gb, 3g.20gb]
reboot:
  description: Whether only a reboot makes a GPU's mode what is wanted.
  returned: success
  type: dict
  contains:
    needed:
      description: Whether it is needed.
      type: bool
      sample: false
    reason:
      description: Why. Empty if it is not.
      type: str
      sample: the MIG mode of GPU 0 changes with a reset that is not possible
    processes:
      description: The programs that use a GPU.
      type: list
      elements: dict
      contains:
        pid:
          description: Process.
          type: int
          sample: 4711
        name:
          description: Name of its program.
          type: str
          sample: python3
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._mig import Layout
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "layout": {"type": "dict", "required": True},
            "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    options = module.params
    layout = Layout(Host(), options["nvidia_smi"], options["timeout"], module.check_mode)
    try:
        module.exit_json(**layout.ensure(options["layout"]))
    except Refused as refusal:
        module.fail_json(msg=f"{os.uname().nodename}: {refusal}.")


if __name__ == "__main__":
    main()
