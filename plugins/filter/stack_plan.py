# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stack_plan
author: The gpufleet authors
short_description: Choose the versions that work on a host
version_added: 0.1.0
description:
  - Chooses driver branch and kernel module flavour, CUDA toolkit, Python, PyTorch with its wheel variant, and the
    scientific packages, from the host's facts, the inventory's wishes and the collection's data, and says why.
  - It reads nothing from the host and changes nothing. The same facts and wishes give the same plan.
  - Where nothing fits it returns C(refused), one sentence that says what stands against it and what to do.
positional: _input, wishes
options:
  _input:
    description: The host's C(ansible_facts), with C(gpu) of M(gpufleet.workstation.gpu_facts) and what setup gathers.
    type: dict
    required: true
  wishes:
    description: >-
      What the inventory asks for; the variables of P(gpufleet.workstation.stack#role) without their prefix.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what fits this host when only the package index can be reached
  ansible.builtin.debug:
    msg: "{{ ansible_facts | gpufleet.workstation.stack_plan({'sources': ['pypi']}) }}"
"""

RETURN = r"""
_value:
  description:
    - The plan, with C(driver), C(cuda), C(python), C(pytorch) and C(science); each says its version and its C(reason).
    - C(host_class) says what the host is. C(emulated) is true where the GPUs were read from a recording.
    - Or C(refused) alone.
  type: dict
  sample:
    pytorch: {version: 2.10.0, variant: cu128, requirement: torch==2.10.0, torchvision: 0.25.0, source: pypi}
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._resolver import Refusal, resolve


def describe(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the host as the resolver knows it. KeyError names a fact that nobody gathered."""
    gpu = facts["gpu"]
    family = facts["os_family"]
    if family == "RedHat":
        system = f"el{facts['distribution_major_version']}"
    elif facts["distribution"] == "Ubuntu":
        system = f"ubuntu{facts['distribution_version']}"
    else:
        system = f"{facts['distribution'].lower()}{facts['distribution_major_version']}"
    python = facts["python"]["version"]
    return {
        "gpus": [
            {
                "model": device["model"],
                "architecture": device["architecture"],
                "compute_capability": device["compute_capability"],
                "id": f"{device['vendor_id']}:{device['device_id']} at {device['address']}",
            }
            for device in gpu["pci"]
            if device["kind"] == "gpu" and device["vendor"] == "nvidia"
        ],
        "system": system,
        "python": f"{python['major']}.{python['minor']}",
        "kernel": facts["kernel"],
        "machine": facts["architecture"],
        "driver_version": gpu["kernel"]["driver_version"],
        "emulated": gpu["root"] != "/",
    }


def stack_plan(facts: dict[str, Any], wishes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the plan for a host."""
    try:
        return resolve(describe(facts), wishes or {}, load_all())
    except KeyError as error:
        raise AnsibleFilterError(
            f"stack_plan: the fact {error} is not there; run the roles bootstrap and facts before the role stack"
        ) from error
    except Refusal as refusal:
        return {"refused": str(refusal)}


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"stack_plan": stack_plan}
