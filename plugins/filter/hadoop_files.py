# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hadoop_files
author: The gpufleet authors
short_description: Make the configuration files of a Hadoop client
version_added: 0.2.0
description:
  - Returns every file of a client of an existing cluster, for M(gpufleet.workstation.config_files). The role
    P(gpufleet.workstation.hadoop_client#role) is its only user so far.
  - Refuses what contradicts itself with a sentence that names the variable.
options:
  _input:
    description: The variables of the role without C(hadoop_client_), C(home), C(java_home) and C(addresses).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the configuration
  gpufleet.workstation.config_files:
    files: "{{ settings | gpufleet.workstation.hadoop_files }}"
"""

RETURN = r"""
_value:
  description: The files, each with C(path) and its content.
  type: list
  elements: dict
  sample:
    - path: /etc/gpufleet/hadoop/hadoop-env.sh
      content: "export JAVA_HOME='/usr/lib/jvm/java-17-openjdk-amd64'\n"
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._hadoop import Contradiction, files


def hadoop_files(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a client."""
    try:
        return files(settings)
    except Contradiction as exc:
        raise AnsibleFilterError(f"{exc}.") from None


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"hadoop_files": hadoop_files}
