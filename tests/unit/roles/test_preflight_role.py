"""The role preflight in a real play: it stops the host that must not be touched, and the other one goes on."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from through_ansible import controller

CHECKOUT = Path(__file__).resolve().parents[3]
GB = 1000**3
HEALTHY = {"memory": {"total_bytes": 256 * GB, "edac": [{"controller": "mc0", "uncorrected": 0}], "gaps": []}}
SICK = {
    "memory": {"total_bytes": 32 * GB, "edac": [{"controller": "mc0", "uncorrected": 4}], "gaps": []},
    "host": {"clock_offset_seconds": 3600.5, "gaps": []},
}
INVENTORY = {
    "workstations": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "hosts": {"gpu01": {"invented": HEALTHY}, "gpu02": {"invented": SICK}},
    }
}
# Facts are invented by set_fact, where the role facts would read them.
PLAY = [
    {
        "name": "Judge two hosts and provision what is left",
        "hosts": "workstations",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Invent the host",
                "ansible.builtin.set_fact": {
                    "memory": "{{ invented.memory }}",
                    "host": "{{ invented.host | default({}) }}",
                    "cacheable": True,
                },
            },
            {"name": "Judge", "ansible.builtin.import_role": {"name": "gpufleet.workstation.preflight"}},
            {
                "name": "Provision",
                "ansible.builtin.copy": {
                    "content": "touched",
                    "dest": "{{ folder }}/{{ inventory_hostname }}",
                    "mode": "0600",
                },
            },
        ],
    }
]


def play(folder, *flags, **more):
    """Run the play, and return its status, what it said, and the hosts that were touched."""
    (folder / "ansible.cfg").write_text("[defaults]\ninject_facts_as_vars = false\n")
    (folder / "inventory.yml").write_text(yaml.safe_dump(INVENTORY))
    (folder / "play.yml").write_text(yaml.safe_dump(PLAY))
    (folder / "touched").mkdir()
    variables = json.dumps({"folder": str(folder / "touched"), **more})
    done = controller(folder, "playbook", "play.yml", "-i", "inventory.yml", *flags, "-e", variables)
    return done.returncode, done.stdout + done.stderr, sorted(path.name for path in (folder / "touched").iterdir())


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return play(tmp_path_factory.mktemp("judged"))


def test_a_host_that_fails_is_untouched_and_the_other_goes_on(judged):
    status, said, touched = judged
    assert (status, touched) == (2, ["gpu01"]), said


def test_all_failures_of_a_host_are_in_one_message_with_the_rules_to_override(judged):
    (line,) = [line for line in judged[1].splitlines() if line.startswith("fatal: ")]
    assert "gpu02 is left untouched" in line and "gpu01" not in line
    assert "mc0 counts 4 uncorrected errors" in line and "3600 s ahead of the controller's" in line
    assert "preflight_severity for memory.uncorrected, clock.offset." in line


def test_warnings_are_told_beside_the_failures(judged):
    assert "warn  memory.minimum  32 GB of memory, 64 GB expected: look for a DIMM" in judged[1]


def test_a_severity_from_the_inventory_lets_the_host_through(tmp_path):
    severity = {"memory.uncorrected": "warn", "clock.offset": "info"}
    status, said, touched = play(tmp_path, preflight_severity=severity)
    assert (status, touched) == (0, ["gpu01", "gpu02"]), said


def test_check_mode_judges_as_well_and_a_misspelt_rule_is_named(tmp_path):
    status, said, touched = play(tmp_path, "--check", preflight_severity={"memory.uncorected": "warn"})
    assert (status, touched) == (2, [])
    assert "preflight_severity names the rule 'memory.uncorected'" in said


def test_a_host_that_was_provisioned_is_not_refused_for_what_that_took(tmp_path):
    # Real facts of this machine, whose disk is smaller than what is asked for.
    root = tmp_path / "gpufleet"
    less = {f"preflight_minimum_{name}": 0 for name in ("memory_gb", "nvme_tb", "processors")}
    tasks = [
        {"gpufleet.workstation.host_facts": {"paths": [str(root)]}},
        {"ansible.builtin.import_role": {"name": "gpufleet.workstation.preflight"}},
    ]
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    given = {
        **less,
        "preflight_root": str(root),
        "preflight_minimum_root_gb": 10**9,
        "preflight_minimum_free_gb": {},
        "preflight_severity": {"packages.busy": "warn", "packages.interrupted": "warn", "clock.offset": "warn"},
        "ansible_python_interpreter": sys.executable,
    }
    words = ["playbook", "play.json", "-i", "gpu01,", "-c", "local", "-e", json.dumps(given)]
    done = controller(tmp_path, *words)
    assert done.returncode == 2 and "set preflight_severity for disk.space." in " ".join(done.stdout.split())
    root.mkdir()
    done = controller(tmp_path, *words)
    assert done.returncode == 0 and "1e+09 GB needed" in " ".join((done.stdout + done.stderr).split()), done.stdout
