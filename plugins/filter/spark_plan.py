# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: spark_plan
author: The gpufleet authors
short_description: Decide how a host's Spark is configured, or why it cannot be
version_added: 0.2.0
description:
  - Holds what role P(gpufleet.workstation.spark#role) is told against the compatibility data, and renders the files
    that configure Spark.
positional: _input, gpus, java_home
options:
  _input:
    description: The variables of the role, without C(spark_).
    type: dict
    required: true
  gpus:
    description: The host's NVIDIA GPUs, as C(ansible_facts.gpu.pci) has them.
    type: list
    elements: dict
    default: []
  java_home:
    description: The folder of the Java that Spark is to run on.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Say what stands in the way
  ansible.builtin.debug:
    msg: "{{ (settings | gpufleet.workstation.spark_plan).refusals }}"
"""

RETURN = r"""
_value:
  description:
    - C(refusals), one sentence for each thing that cannot work; where there is any, all else is empty.
    - C(java), the major versions that will do, the preferred one first.
    - C(folders), C(files) and C(absent) for M(gpufleet.workstation.config_files), and C(units), the services' names.
  type: dict
  sample:
    refusals: [Spark 4.3.0 runs on Java 21 or 17 and not on 11; correct spark_java_version or spark_version]
    java: []
    folders: []
    files: []
    absent: []
    units: []
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._spark import plan


def spark_plan(
    settings: dict[str, Any], gpus: list[dict[str, Any]] | None = None, java_home: str = ""
) -> dict[str, Any]:
    """Return the refusals, or the Javas, the folders and the files of one host."""
    try:
        return plan(settings, list(gpus or []), java_home or "", load("bigdata"))
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"spark_plan": spark_plan}
