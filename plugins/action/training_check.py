# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands the training program and the expected figures, which lie on the controller, to the module on the host."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import gpu_figures

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "training_check" / "files" / "training_check"


class ActionModule(ActionBase):
    """Ansible's entry point."""

    def run(self, tmp=None, task_vars=None):
        """Run the module with the program and the table; rows that the task brings replace those of the same key."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments.setdefault("files", {path.name: path.read_text(encoding="utf-8") for path in PROGRAM.glob("*.py")})
        arguments["figures"] = gpu_figures(arguments.get("figures") or [])
        result.update(
            self._execute_module(
                module_name="gpufleet.workstation.training_check", module_args=arguments, task_vars=task_vars
            )
        )
        return result
