"""What the controller adds to host_facts: how far the host's clock is off."""

import json
import sys
from pathlib import Path

import pytest
from ansible_collections.gpufleet.workstation.plugins.action.host_facts import clock_offset
from through_ansible import controller

CHECKOUT = Path(__file__).resolve().parents[4]
MACHINE = CHECKOUT / "tests" / "unit" / "fixtures" / "host" / "v100-ubuntu2204"


@pytest.mark.parametrize(
    ("told", "offset"), [(100.0, 0.0), (105.0, 0.0), (110.0, 0.0), (170.0, 60.0), (40.0, -60.0), (0.0, -100.0)]
)
def test_no_time_between_the_two_looks_is_wrong(told, offset):
    assert clock_offset(told, before=100.0, after=110.0) == offset


@pytest.mark.parametrize("flags", [[], ["--check"]], ids=["run", "check mode"])
def test_a_host_that_is_the_controller_has_its_time(tmp_path, flags):
    (tmp_path / "ansible.cfg").touch()
    options = {"root": str(MACHINE), "paths": ["/opt/gpufleet"]}
    words = ["adhoc", "localhost", "-m", "gpufleet.workstation.host_facts", "-a", json.dumps(options), *flags]
    words += ["-e", "ansible_python_interpreter=" + sys.executable]
    answer = controller(tmp_path, *words, ANSIBLE_STDOUT_CALLBACK="minimal")
    assert " => " in answer.stdout, answer.stdout + answer.stderr
    result = json.loads(answer.stdout.split(" => ", 1)[1])
    host = result["ansible_facts"]["host"]
    assert (result["changed"], host["clock_offset_seconds"]) == (False, 0.0)
    assert [entry["path"] for entry in host["filesystems"]] == ["/opt/gpufleet"]
    assert host["packages"]["held"] == ["libnvidia-compute-535"]
