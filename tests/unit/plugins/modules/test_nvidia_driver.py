# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module through Ansible: a login in the URL of a mirror is nowhere in what Ansible says. Nothing is installed."""

from through_ansible import needs_ansible, play_tasks


@needs_ansible
def test_a_login_is_in_nothing_that_ansible_says(tmp_path):
    options = {
        "source": "nvidia",
        "branch": "580",
        "repository_url": "https://lab:canary@mirror.invalid/cuda",
        "repository_key": "",  # refused before the host is looked at any closer
    }
    task = {"gpufleet.workstation.nvidia_driver": options}
    said = play_tasks(tmp_path, [task], "--check", "-vvv", "--diff").stdout
    assert "failed=1" in said and "nvidia_driver_repository_key" in said, said
    assert "mirror.invalid" in said and "canary" not in said


@needs_ansible
def test_a_runfile_of_the_plan_that_nobody_has_an_address_for_is_refused_by_the_variable(tmp_path):
    plan = {"driver": {"source": "runfile", "branch": "580", "version": "580.178.04", "flavor": "proprietary"}}
    task = {"ansible.builtin.include_role": {"name": "gpufleet.workstation.nvidia_driver"}}
    said = " ".join(play_tasks(tmp_path, [task], "--check", stack_plan=plan).stdout.split())
    assert "failed=1" in said and "changed=0" in said, said
    assert "needs nvidia_driver_runfile_url" in said and "of the installer of driver 580.178.04" in said, said
