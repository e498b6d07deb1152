"""RETURN of nvme_facts for all that the stand-ins do not have: a health log, swap, layers and multipath."""

import stat
import sys
from pathlib import Path

from ansible_collections.gpufleet.workstation.plugins.module_utils import _nvme
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

sys.path.insert(0, str(Path(__file__).parent))
from returns import mismatches
from test_returns import documented

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "nvme"


def test_every_part_of_a_drive_that_says_everything_is_documented(tmp_path):
    files = {
        "bin/nvme": f"#!/bin/sh\ncat {FIXTURES}/nvme-2.3-strings.smart-log.json\n",
        "proc/self/mountinfo": "1 0 259:1 / /data rw - ext4 /dev/nvme0n1p1 rw\n",
        "proc/swaps": "Filename Type Size Used Priority\n/data/swap file 2048 4 -3\n",
        "sys/class/nvme/nvme0/transport": "pcie\n",
        "sys/class/nvme/nvme0/nvme0c0n1/ana_state": "optimized\n",
        "sys/class/nvme/nvme0/nvme0c0n1/nvme0n1p1/partition": "1\n",
        "sys/class/nvme/nvme0/nvme0c0n1/nvme0n1p1/dev": "259:1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    command = tmp_path / "bin" / "nvme"
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    fact = _nvme.collect(Host(str(tmp_path)), nvme=str(command))
    (drive,) = fact["controllers"]
    (space,) = drive["namespaces"]
    assert all([drive["health"]["sensors"], space["path_state"], space["devices"], space["mounts"], space["swaps"]])
    assert list(mismatches(documented("nvme"), fact, "nvme")) == []


def test_a_log_that_the_drive_gave_is_documented_too():
    health = _nvme.parse_health(bytes([0, 0x37, 1]) + bytes(509))
    assert list(mismatches(documented("nvme")["contains"]["controllers"]["contains"]["health"], health, "health")) == []
