# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands the collection's GPU table, which is YAML on the controller, to the module on the host."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import gpu_models


class ActionModule(ActionBase):
    """Ansible's entry point."""

    def run(self, tmp=None, task_vars=None):
        """Run the module with the GPU table, unless the task brings a table of its own."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("models") is None:
            arguments["models"] = gpu_models()
        result.update(
            self._execute_module(
                module_name="gpufleet.workstation.gpu_facts", module_args=arguments, task_vars=task_vars
            )
        )
        return result
