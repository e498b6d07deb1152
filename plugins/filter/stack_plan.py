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
  - Chooses driver and kernel module flavour, CUDA toolkit, cuDNN and NCCL, Python, PyTorch with its wheel variant,
    TensorFlow, the scientific packages, Java, Hadoop and Spark, from the host's facts, the inventory's wishes and the
    collection's data, and says why.
  - It reads nothing from the host and changes nothing. The same facts and wishes give the same plan.
  - Where nothing fits it returns C(refused), which says the smallest set of wishes that cannot hold together, and the
    nearest sets that can.
positional: _input, wishes, assume, lock, uniform
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
  assume:
    description: >-
      A host that is not there (O(_input) is not looked at then); C(stack_assume) of
      P(gpufleet.workstation.stack#role) says what it has.
    type: dict
    default: {}
  lock:
    description: >-
      What C(plan.yml -e lock=FILE) wrote. The plan is then the one kept there for the host's class and wishes, with the
      text C(lock) in each framework, or C(refused) where there is none.
    type: dict
    default: {}
  uniform:
    description: The host's C(stack_uniform); a lock keeps hosts that share a set apart from others.
    type: raw
    default: false
"""

EXAMPLES = r"""
- name: Show what fits this host when only the package index can be reached
  ansible.builtin.debug:
    msg: "{{ ansible_facts | gpufleet.workstation.stack_plan({'sources': ['pypi']}) }}"
"""

RETURN = r"""
_value:
  description:
    - The plan, with C(driver), C(cuda), C(python), C(science), C(pytorch), C(tensorflow), C(java), C(hadoop_client),
      C(spark) and C(controller). Each says its version (null where it cannot be had), its C(reason), and what
      C(would_change) it.
    - C(host_class) says what the host is, C(wanted) which components were asked for. C(emulated) is true where the GPUs
      were read from a recording.
    - Or C(refused), the sentence, with the lists C(conflict) and C(ways_out).
  type: dict
  sample:
    pytorch: {version: 2.10.0, variant: cu128, requirement: torch==2.10.0, torchvision: 0.25.0, source: pypi}
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._describe import from_assumption, from_facts
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._fleet import from_lock, planned, uniform_label


def stack_plan(
    facts: dict[str, Any],
    wishes: dict[str, Any] | None = None,
    assume: dict[str, Any] | None = None,
    lock: dict[str, Any] | None = None,
    uniform: Any = False,
) -> dict[str, Any]:
    """Return the plan for a host."""
    data = load_all()
    try:
        host = from_assumption(assume, data) if assume else from_facts(facts, data)
    except KeyError as error:
        raise AnsibleFilterError(
            f"stack_plan: the fact {error} is not there; run the roles bootstrap and facts before the role stack"
        ) from error
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    if lock:
        return from_lock(host, wishes or {}, uniform_label(uniform), lock)
    return planned(host, wishes or {}, data)


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"stack_plan": stack_plan}
