# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_report
type: aggregate
author: The gpufleet authors
short_description: Say for each host what it is, what was chosen for it and whether it trains
version_added: 0.1.0
description:
  - Collects the facts C(gpu), C(memory), C(nvme), C(stack_plan) and C(training) as they pass by and prints one block
    for each host at the end of the run, hosts that failed included, with the sentence they failed with, and hosts
    that a rollout in batches did not reach.
  - It prints nothing after a run in which none of these facts was seen and nothing failed.
requirements:
  - Enable it in C(ansible.cfg), C([defaults] callbacks_enabled = gpufleet.workstation.fleet_report)
"""

from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._report import FACTS, block


class CallbackModule(CallbackBase):
    """Ansible's entry point."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "gpufleet.workstation.fleet_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.hosts: dict[str, dict[str, Any]] = {}
        self.plan: list[str] = []
        self.batches = False  # whether the play that runs goes through its hosts in batches
        self.begun: set[str] = set()

    def v2_playbook_on_play_start(self, play) -> None:
        """Notice the play that provisions."""
        self.batches = bool(play.serial)

    def v2_runner_on_ok(self, result) -> None:
        """Keep the facts that the report is made of."""
        self.v2_runner_on_skipped(result)
        facts = _data(result).get("ansible_facts") or {}
        self.plan = (facts.get("fleet_plan") or {}).get("table") or self.plan
        wanted = {name: facts[name] for name in FACTS if name in facts}
        if wanted:
            self.hosts.setdefault(_host(result), {}).update(wanted)

    def v2_runner_on_skipped(self, result) -> None:
        """Keep who was begun with."""
        if self.batches:
            self.begun.add(_host(result))

    def v2_runner_on_failed(self, result, ignore_errors: bool = False) -> None:
        """Keep the sentence that a host failed with, and the facts of a check that failed."""
        if ignore_errors:
            return
        self.v2_runner_on_ok(result)
        self.hosts.setdefault(_host(result), {})["failed"] = str(_data(result).get("msg") or "no reason was given")

    def v2_runner_on_unreachable(self, result) -> None:
        """Keep the names of the hosts that are gone."""
        self.hosts.setdefault(_host(result), {})["failed"] = f"unreachable: {_data(result).get('msg') or ''}"

    def v2_playbook_on_stats(self, stats) -> None:
        """Print the report: of a playbook that plans the fleet, its table, which has all hosts in it."""
        if self.plan:
            self._display.display("\n" + "\n".join(self.plan))
            return
        for name in sorted(self.hosts):
            self.hosts[name]["waits"] = bool(self.begun) and name not in self.begun
            self._display.display("\n" + "\n".join(block(name, self.hosts[name])))


def _data(result) -> dict[str, Any]:
    """Return what a task returned; ansible-core 2.19 gave the attribute its public name."""
    return result.result if hasattr(result, "result") else result._result


def _host(result) -> str:
    host = result.host if hasattr(result, "host") else result._host
    return host.get_name()
