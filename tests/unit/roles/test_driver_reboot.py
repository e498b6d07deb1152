"""Whether role nvidia_driver reboots a host; here Ansible itself refuses the reboot, for this is the controller."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
ALLOWED = "would reboot the control node"


def play(tmp_path, policy, processes):
    """Run what the role does where a reboot is needed, in check mode, and return what was said."""
    result = {"reboot": {"needed": True, "reason": "driver 1 is loaded and 2 is installed", "processes": processes}}
    tasks = [
        {
            "ansible.builtin.include_tasks": str(CHECKOUT / "roles/nvidia_driver/tasks/reboot.yml"),
            "vars": {"__nvidia_driver_result": {**result, "version": "2"}},
        }
    ]
    variables = {"nvidia_driver_reboot": policy, "nvidia_driver_reboot_timeout": 60}
    book = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "--check", str(tmp_path / "play.yml")]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    return " ".join((done.stdout + done.stderr).split())


BUSY = [{"pid": 4711, "name": "python3"}]


@pytest.mark.parametrize(("policy", "processes"), [("when_idle", []), ("always", []), ("always", BUSY)])
def test_a_reboot_is_made_where_the_policy_allows_it(tmp_path, policy, processes):
    assert ALLOWED in play(tmp_path, policy, processes)


@pytest.mark.parametrize(("policy", "processes"), [("never", []), ("never", BUSY), ("when_idle", BUSY)])
def test_no_reboot_is_made_where_it_does_not_and_the_programs_are_named(tmp_path, policy, processes):
    said = play(tmp_path, policy, processes)
    assert ALLOWED not in said
    assert f"and only a reboot changes that. {'The GPU is in use by python3 4711. ' if processes else ''}Reboot" in said
    assert f"which is {policy}" in said
