"""site.yml's batches: its own plays over four hosts that are this machine, with probes in the place of the roles."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
SITE = CHECKOUT / "playbooks" / "site.yml"
HOSTS = ("gpu01", "gpu02", "gpu03", "gpu04")
CANARY = {"workstation_rollout_batches": [1, "100%"]}
NOT_BEGUN = re.compile(r"^(\w+)\n  NOT BEGUN ", re.MULTILINE)
FAIL = {"name": "Fail", "ansible.builtin.fail": {}}


@pytest.fixture
def play(tmp_path):
    """Return a function that runs the two last plays and returns the status, who was begun with, and the output."""
    _bare, planning, provision = yaml.safe_load(SITE.read_text(encoding="utf-8"))
    plan = {
        "name": "Plan",
        "ansible.builtin.set_fact": {"stack_plan": {"refused": ""}},
    }  # of which the report says nothing
    planning.update(
        hosts="workstations", roles=[], pre_tasks=[{**FAIL, "when": "inventory_hostname in without_plan"}, plan]
    )
    provision["roles"] = []
    provision["tasks"] = [
        {"name": "Begin", "ansible.builtin.debug": {"msg": "begun"}},
        {**FAIL, "when": "inventory_hostname in not_proven"},
    ]
    playbook = [{**one, "become": False} for one in (planning, provision)]
    (tmp_path / "site.yml").write_text(yaml.safe_dump(playbook), encoding="utf-8")

    def run(without_plan=(), not_proven=(), group_vars=None, **extra):
        hosts = {name: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable} for name in HOSTS}
        inventory = {"workstations": {"hosts": hosts, "vars": group_vars or {}}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        extra.update(without_plan=without_plan, not_proven=not_proven)
        program = shutil.which("ansible-playbook", path=str(Path(sys.executable).parent))
        argv = [program, str(tmp_path / "site.yml"), "-i", str(tmp_path / "hosts.yml"), "-e", json.dumps(extra)]
        done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
        begun = sorted(re.findall(r"ok: \[(\w+)\] =>\s+msg: begun", done.stdout))
        return done.returncode, begun, done.stdout + done.stderr

    return run


def test_all_hosts_are_one_batch_unless_the_site_says_otherwise(play):
    status, begun, output = play(not_proven=["gpu01"], without_plan=["gpu03"])
    assert (status, begun) == (2, ["gpu01", "gpu02", "gpu04"]), output


@pytest.mark.parametrize("where", ["extra", "group_vars"])
def test_a_canary_that_is_not_proven_ends_the_rollout(play, where):
    wish = CANARY if where == "extra" else {"group_vars": CANARY}
    status, begun, output = play(not_proven=["gpu01"], **wish)
    assert (status, begun) == (2, ["gpu01"]), output
    assert NOT_BEGUN.findall(output) == ["gpu02", "gpu03", "gpu04"]
    status, begun, output = play(**wish)
    assert (status, begun) == (0, list(HOSTS)) and not NOT_BEGUN.search(output), output


def test_the_canary_is_the_first_host_that_has_a_plan(play):
    status, begun, output = play(without_plan=["gpu01"], not_proven=["gpu02"], **CANARY)
    assert (status, begun) == (2, ["gpu02"]), output
    assert NOT_BEGUN.findall(output) == ["gpu03", "gpu04"]


def test_in_a_larger_batch_the_others_go_on_unless_too_many_have_failed(play):
    pairs = {"workstation_rollout_batches": [2]}
    status, begun, output = play(not_proven=["gpu01"], **pairs)
    assert (status, begun) == (2, list(HOSTS)), output
    status, begun, output = play(not_proven=["gpu01"], workstation_rollout_max_fail_percentage=20, **pairs)
    assert (status, begun) == (2, ["gpu01", "gpu02"]), output


def test_nothing_is_begun_where_no_host_has_a_plan(play):
    status, begun, output = play(without_plan=HOSTS, **CANARY)
    assert (status, begun) == (2, []) and "rror processing" not in output, output


@pytest.mark.parametrize("batches", ["one", [1, "half"], [0], [-1], [1.5]])
def test_batches_that_are_none_are_refused_before_a_host_is_begun(play, batches):
    status, begun, output = play(workstation_rollout_batches=batches)
    assert status != 0 and begun == []
    assert (
        f"workstation_rollout_batches is {json.dumps(batches if isinstance(batches, list) else [batches])}; it is"
        in (" ".join(output.split()))
    )
