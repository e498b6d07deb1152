"""A host that is done has nothing to do, and check mode says so. For scenarios whose molecule.yml names this file."""

import os
import re
import subprocess
from pathlib import Path

PLAYBOOK = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "converge.yml"
RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


def test_check_mode_finds_nothing_to_do_where_all_is_done():
    words = ["-i", os.environ["MOLECULE_INVENTORY_FILE"], "--check", "--diff", str(PLAYBOOK)]
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(["ansible-playbook", *words], capture_output=True, text=True, check=False, env=environment)
    hosts = RECAP.findall(done.stdout)
    assert done.returncode == 0 and hosts, done.stdout[-6000:] + done.stderr[-2000:]
    assert all(tuple(map(int, row[2:])) == (0, 0, 0) for row in hosts), done.stdout[-6000:]
