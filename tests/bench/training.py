# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the fast loop of the training check with the textbook's, on the same device, in throughput and accuracy.

Both loops run one after the other in the same process, once for each seed. Prints a table in Markdown.

    python3 tests/bench/training.py pytorch=/opt/gpufleet/envs/pytorch/current tensorflow=... [--seeds 5] [--threads 1]

With --archive FILE it is CIFAR-10 and not the digits; tests/workbench/cifar10.py makes one where the published archive
cannot be had.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
from pathlib import Path

LIMIT = 14400
PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "training_check" / "files" / "training_check"


def measure(framework: str, environment: str, seed: int, options: argparse.Namespace) -> tuple[dict, dict]:
    """Return what the plain and the fast loop tell."""
    python = Path(environment) / "bin" / "python"
    done = subprocess.run(
        [
            str(python),
            str(PROGRAM),
            "run",
            f"--framework={framework}",
            f"--device={options.device}",
            *options.words,
            f"--seed={seed}",
            f"--threads={options.threads}",
            f"--time-limit={LIMIT}",
            "--no-benchmark",
            "--no-together",
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    outcome = json.loads(done.stdout)["devices"][0]["outcome"]
    result = outcome["result"] or {}
    if not (result.get("plain") and result.get("fast")):
        raise SystemExit(f"{framework}: {outcome['error'] or result.get('fast_error') or f'not done in {LIMIT} s'}")
    return result["plain"], result["fast"]


def main() -> None:
    """Print a line for each environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environments", nargs="+", metavar="FRAMEWORK=FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["gpu", "cpu"], default="cpu")
    parser.add_argument("--archive", help="CIFAR-10's")
    parser.add_argument("--epochs", type=int, default=0, help="of both loops; 0 leaves it to the check")
    options = parser.parse_args()
    options.words = ["--dataset=digits"]
    if options.archive:
        with open(options.archive, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        options.words = ["--dataset=cifar10", f"--data={options.archive}", f"--checksum=sha256:{checksum}"]
    if options.epochs:
        options.words.append(f"--epochs={options.epochs}")
    print("| framework | fast against plain, images/s | plain accuracy | fast accuracy | difference in points |")
    print("|---|---|---|---|---|")
    for word in options.environments:
        framework, _equals, environment = word.partition("=")
        pairs = [measure(framework, environment, seed, options) for seed in range(options.seeds)]
        ratio = statistics.median(fast["images_per_second"] / plain["images_per_second"] for plain, fast in pairs)
        plain, fast = ([pair[side]["accuracy"] for pair in pairs] for side in (0, 1))
        difference = 100 * (statistics.mean(fast) - statistics.mean(plain))
        print(
            f"| {framework} | {ratio:.1f} times | {statistics.mean(plain):.3f} ({min(plain):.3f} to {max(plain):.3f}) "
            f"| {statistics.mean(fast):.3f} ({min(fast):.3f} to {max(fast):.3f}) | {difference:+.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
