# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the resolver: 1,000 hosts of 20 classes in one process, refusals, and plan.yml over 200 racks as a user runs it.

Every round starts with nothing remembered. Beside the clock's seconds stand those of the processor, which other work on
the machine does not lengthen. Prints a table in Markdown; status 1 if a limit is passed.

    python3 tests/bench/stack.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / ".collections"))

from ansible_collections.gpufleet.workstation.plugins.plugin_utils import _data, _fleet  # noqa: E402

MODELS = ("V100-SXM2-32GB", "A100-SXM4-80GB", "a100_pcie_80", "t4", "h100_sxm")
SYSTEMS = (("ubuntu", "22.04"), ("ubuntu", "24.04"), ("debian", "12"), ("el", "9"))
LIMITS = {"1,000 hosts of 20 classes": 2, "plan.yml over 200 racks": 15}


def racks(count: int, **wishes: str) -> list[dict]:
    """Return the variables of hosts that are not there, of 20 classes."""
    classes = itertools.cycle(itertools.product(MODELS, SYSTEMS))
    return [
        {
            "inventory_hostname": f"rack{number:04d}",
            "stack_assume": {"gpus": [{"model": model, "count": 8}], "os": name, "os_version": version},
            "stack_components": ["pytorch", "tensorflow"],
            **wishes,
        }
        for number, (model, (name, version)) in zip(range(count), classes)
    ]


def resolve(hosts: list[dict]) -> None:
    """Plan hosts as a new process would, the reading of the data included."""
    _data.load.cache_clear()
    _fleet._planned.cache_clear()
    assert len(_fleet.fleet(hosts, _data.load_all())["hosts"]) == len(hosts)


def play(inventory: Path) -> None:
    """Run plan.yml as a user does."""
    argv = ["ansible-playbook", str(CHECKOUT / "playbooks" / "plan.yml"), "-i", str(inventory)]
    path = f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}"
    subprocess.run(argv, cwd=CHECKOUT, env={**os.environ, "PATH": path}, check=True, stdout=subprocess.DEVNULL)


def processor_seconds() -> float:
    """Return the processor time of this process and of its children."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> int:
    """Measure, print the table, and return the status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    late = 0
    print("| what | median s | processor s | limit s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="gpufleet-bench-") as scratch:
        inventory = Path(scratch) / "hosts.yml"
        hosts = {host.pop("inventory_hostname"): host for host in racks(200)}
        inventory.write_text(yaml.safe_dump({"workstations": {"hosts": hosts}}), encoding="utf-8")
        work: dict[str, Callable[[], None]] = {
            "1,000 hosts of 20 classes": lambda: resolve(racks(1000)),
            "1,000 hosts, each refused with its smallest conflict": lambda: resolve(
                racks(1000, stack_pytorch_version="9")
            ),
            "1,000 hosts that share one set": lambda: resolve(racks(1000, stack_uniform="all")),
            "plan.yml over 200 racks": lambda: play(inventory),
        }
        for title, run in work.items():
            times, own = [], []
            for _round in range(rounds):
                began, began_own = time.perf_counter(), processor_seconds()
                run()
                times.append(time.perf_counter() - began)
                own.append(processor_seconds() - began_own)
            median, limit = statistics.median(times), LIMITS.get(title)
            late += limit is not None and median > limit
            print(f"| {title} | {median:.2f} | {statistics.median(own):.2f} | {limit or ''} |", flush=True)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
