# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time what nvme_facts does against nvme-cli and smartmontools, on the drives of the emulated machine of tests/machine.

Whole processes in the machine take turns there; what is counted is their processor time, and only ratios mean anything.
The health of each drive in the machine is read by all; nvme_facts says besides what lies on the drives. Parsing what
the tools print costs them nothing here. Prints a table in Markdown.

    python3 tests/bench/drives.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "machine"))
from build import why_not
from machine import Machine

COLLECT = """
import json, sys
sys.path.insert(0, "/opt")
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._nvme import collect
fact = collect(Host("/"))
json.dump(fact, sys.stdout)
sys.exit(len([drive for drive in fact["controllers"] if drive["health"]]) != int(sys.argv[1]))
"""


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    reason = why_not()
    if reason:
        sys.exit(f"drives: no machine to measure in: {reason}")
    machine = Machine()
    try:
        facts = machine.ask("nvme_facts")["ansible_facts"]["nvme"]["controllers"]
        drives = ["/dev/" + drive["name"] for drive in facts if drive["local"]]
        nothing = [["python3", "-c", "import json, subprocess"]]
        ours = [["python3", "-c", COLLECT, str(len(drives))]]
        tools = {
            "`nvme list` and `nvme smart-log`": [
                ["nvme", "list", "-o", "json"],
                *[["nvme", "smart-log", "-o", "json", drive] for drive in drives],
            ],
            "`smartctl -a`": [["smartctl", "-j", "-a", drive] for drive in drives],
        }
        times = machine.clock([nothing, ours, *tools.values()], rounds)
    finally:
        machine.stop()
    print(f"The emulated machine with {len(drives)} drives, {rounds} rounds by turns; above 1, ours is the faster.\n")
    print("| whole processes | ratio |\n|---|---|")
    for name, theirs in zip(tools, times[2:], strict=True):
        ratio = statistics.median(their / our for our, their in zip(times[1], theirs, strict=True))
        print(f"| nvme_facts' collector; {name} of each drive | {ratio:.2f} |")
    share = statistics.median(start / our for start, our in zip(*times[:2], strict=True))
    print(f"| of the collector, the start of Python with json and subprocess | {share:.2f} |")


if __name__ == "__main__":
    main()
