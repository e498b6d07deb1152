# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the host's clock with the controller's while the module host_facts reads the host."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase


def clock_offset(told: float, before: float, after: float) -> float:
    """Return how far a clock is off at least, if it told this time at a moment between the other two.

    The connection may take its time, so every time between the two is as good as the right one.
    """
    return told - min(max(told, before), after)


class ActionModule(ActionBase):
    """Ansible's entry point."""

    def run(self, tmp=None, task_vars=None):
        """Run the module and put what only the controller can know into its facts."""
        result = super().run(tmp, task_vars)
        before = time.time()
        answer = self._execute_module(
            module_name="gpufleet.workstation.host_facts", module_args=self._task.args, task_vars=task_vars
        )
        after = time.time()
        host = (answer.get("ansible_facts") or {}).get("host") or {}
        if host.get("epoch_seconds") is not None:
            host["clock_offset_seconds"] = clock_offset(host["epoch_seconds"], before, after)
        result.update(answer)
        return result
