# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the making of the scientific environment: our way against "python3 -m venv" and "pip install".

Both sides get the same pins, the same interpreter and the same network, first fill their own caches in a round that
does not count, and then take turns. Prints a table in Markdown and the ratio of the medians. pip compiles every file to
bytecode, ours what the proof imports: the second row compares what a host really gets.

    python3 tests/bench/environments.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PINS = ["numpy==2.4.6", "pandas==3.1.1", "matplotlib==3.11.2", "scikit-learn==1.9.1"]
IMPORTS = ["numpy", "pandas", "matplotlib", "sklearn"]


def collection() -> None:
    """Make the checkout importable under the collection's name."""
    sys.path.insert(0, str(CHECKOUT / ".collections"))


def ours(folder: Path, cache: Path, uv: str, imports: list[str]) -> None:
    """Build the environment as the module does: lock with hashes, install, prove, write to the disk, swap."""
    from ansible_collections.gpufleet.workstation.plugins.module_utils import _environment, _host  # noqa: PLC0415

    wanted = _environment.Wanted(
        name="bench",
        root=str(folder),
        python=sys.executable,
        packages=PINS,
        uv=uv,
        cache_dir=str(cache / "uv"),
        imports=imports,
    )
    result = _environment.ensure(_host.Host(), wanted)
    assert result["changed"], result


def theirs(folder: Path, cache: Path, imports: list[str]) -> None:
    """Build the environment as most playbooks do."""
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--cache-dir", cache / "pip", "install", "--quiet"]
    subprocess.run([*pip, "--only-binary=:all:", *PINS], check=True)
    if imports:
        subprocess.run([python, "-c", f"import {', '.join(imports)}"], check=True)


def seconds(work, folder: Path, *rest) -> float:
    """Return how long a piece of work takes in a fresh folder."""
    began = time.perf_counter()
    work(folder, *rest)
    taken = time.perf_counter() - began
    shutil.rmtree(folder)
    return taken


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    uv = shutil.which("uv", path=f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}")
    if uv is None:
        sys.exit("environments: there is no uv on the search path; make venv installs one")
    collection()
    print(f"Making an environment with {' '.join(PINS)}: Python {sys.version.split()[0]}, {os.cpu_count()} processors,")
    print(f"warm caches on both sides, {rounds} rounds by turns, medians in seconds.\n")
    print("| | gpufleet | venv + pip | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="gpufleet-bench-") as scratch:
        cache = Path(scratch) / "cache"
        for title, imports in (("made", []), ("made and proven by importing the four", IMPORTS)):
            sides = [(ours, (cache, uv, imports)), (theirs, (cache, imports))]
            times: list[list[float]] = [[], []]
            for turn in range(rounds + 1):
                for side, (work, rest) in enumerate(sides):
                    taken = seconds(work, Path(scratch) / "environment", *rest)
                    if turn > 0:
                        times[side].append(taken)
            mine, other = map(statistics.median, times)
            print(f"| {title} | {mine:.2f} | {other:.2f} | {other / mine:.1f} |", flush=True)


if __name__ == "__main__":
    main()
