# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module through Ansible, in check mode: a key that is a number, a refusal, and nothing that is done."""

import json
import os

from through_ansible import CHECKOUT, needs_ansible, play_tasks

SMI = os.path.join(CHECKOUT, "tests", "emulation", "mig_smi.py")


@needs_ansible
def test_check_mode_says_what_would_be_done(tmp_path):
    state = tmp_path / "state.json"
    options = {"layout": {0: ["3g.20gb", "3g.20gb"]}, "nvidia_smi": SMI}
    task = {"gpufleet.workstation.mig_layout": options, "environment": {"MIG_STATE": str(state)}}
    said = play_tasks(tmp_path, [task], "--check", "--diff").stdout
    assert "changed=1" in said and "+3g.20gb, 3g.20gb" in said, said
    assert not any(gpu["mode"] for gpu in json.loads(state.read_text())["gpus"])
    options["layout"] = {"2": ["3g.20gb"]}
    said = play_tasks(tmp_path, [task], "--check").stdout
    assert "failed=1" in said and "GPU 2 (Tesla V100-PCIE-32GB) has no MIG" in said, said


@needs_ansible
def test_the_role_cuts_the_gpus_and_asks_for_no_reboot_where_none_is_needed(tmp_path):
    state = tmp_path / "state.json"
    os.makedirs(str(tmp_path / "bin"))
    os.symlink(SMI, str(tmp_path / "bin" / "nvidia-smi"))
    tasks = [
        {
            "ansible.builtin.include_tasks": {
                "file": os.path.join(CHECKOUT, "roles", "nvidia_driver", "tasks", "mig.yml"),
                "apply": {
                    "environment": {
                        "MIG_STATE": str(state),
                        "PATH": str(tmp_path / "bin") + os.pathsep + os.environ["PATH"],
                    }
                },
            }
        }
    ]
    said = play_tasks(tmp_path, tasks, "--check", nvidia_driver_mig={"all": [], "1": ["7g.40gb"]}).stdout
    assert "failed=0" in said and "changed=1" in said and "skipped=2" in said, said
