# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cuda_toolkits
author: The gpufleet authors
short_description: Say which wheels and packages make a host's CUDA toolkits
version_added: 0.2.0
description:
  - Turns versions and sources of CUDA toolkits into what O(gpufleet.workstation.cuda_toolkit#module:toolkits) takes.
  - It refuses those that cannot compile for one of the host's GPUs, that its driver does not run, or that the source
    does not have. It changes nothing.
positional: _input, facts, driver
options:
  _input:
    description: >-
      The toolkits, each with C(version) (V(12.9) or V(12.9.2)), C(source) (V(pypi), V(distribution) or V(nvidia)), and
      optionally C(cudnn), C(nccl) and C(components).
    type: list
    elements: dict
    required: true
  facts:
    description: The host's C(ansible_facts), with C(gpu) of M(gpufleet.workstation.gpu_facts) and what setup gathers.
    type: dict
    required: true
  driver:
    description: Version of the driver to count on. Empty means the loaded one.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what a toolkit is made of
  ansible.builtin.debug:
    msg: "{{ [{'version': '12.9', 'source': 'pypi'}] | gpufleet.workstation.cuda_toolkits(ansible_facts) }}"
"""

RETURN = r"""
_value:
  description:
    - C(toolkits), and C(refused) with one sentence for each toolkit that cannot be.
    - C(architectures), the compute capabilities of the host's GPUs; C(runnable), whether a kernel can be run there now.
    - C(distribution) and C(nvidia), whether one of the toolkits comes from there.
    - C(repository), the address of NVIDIA's repository for the host's system, C(key), that of its key, and the key's
      C(fingerprint); each empty where it is not known.
  type: dict
  sample:
    toolkits: [{version: "12.9", pins: ["cuda-toolkit[all]==12.9.2"], packages: []}]
    refused: ["CUDA 13.0 cannot compile for Tesla V100 PCIe 32GB, whose last is 12.9"]
    architectures: ["7.0"]
    runnable: true
    distribution: false
    nvidia: false
    repository: https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/
    key: https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/3bf863cc.pub
    fingerprint: EB693B3035CD5710E231E123A4B469963BF863CC
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._cuda import toolkits_for
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all


def cuda_toolkits(wishes: list[dict[str, Any]], facts: dict[str, Any], driver: str = "") -> dict[str, Any]:
    """Return what makes a host's CUDA toolkits, and what is refused."""
    try:
        return toolkits_for(wishes, facts, driver, load_all())
    except KeyError as error:
        raise AnsibleFilterError(
            f"cuda_toolkits: the fact {error} is not there; run the roles bootstrap and facts before the role cuda"
        ) from error
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"cuda_toolkits": cuda_toolkits}
