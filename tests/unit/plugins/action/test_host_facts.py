"""What the controller adds to host_facts: how far the host's clock is off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpufleet.workstation.plugins.action.host_facts import clock_offset

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
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_STDOUT_CALLBACK": "minimal",
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "gpufleet.workstation.host_facts"]
    options = {"root": str(MACHINE), "paths": ["/opt/gpufleet"]}
    command += ["-e", "ansible_python_interpreter=" + sys.executable, "-a", json.dumps(options), *flags]
    answer = subprocess.run(
        command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert " => " in answer.stdout, answer.stdout + answer.stderr
    result = json.loads(answer.stdout.split(" => ", 1)[1])
    host = result["ansible_facts"]["host"]
    assert (result["changed"], host["clock_offset_seconds"]) == (False, 0.0)
    assert [entry["path"] for entry in host["filesystems"]] == ["/opt/gpufleet"]
    assert host["packages"]["held"] == ["libnvidia-compute-535"]
