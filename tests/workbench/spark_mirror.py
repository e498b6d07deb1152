#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a mirror of Apache's downloads with Spark's tarball in it, for tests where no Apache host can be reached.

    spark_mirror.py FOLDER VERSION...

The index of Python packages has the whole of Spark as the source of pyspark; here it gets the layout of the tarball.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PARTS = ("bin", "jars", "sbin", "licenses")


def pack(source: Path, name: str, target: Path) -> None:
    """Write the tarball of an unpacked pyspark; jars are compressed already, so lightly."""
    with tarfile.open(target, "w:gz", compresslevel=1) as archive:
        for part in PARTS:
            if (source / "deps" / part).is_dir():
                archive.add(source / "deps" / part, f"{name}/{part}")
        archive.add(source / "pyspark", f"{name}/python/pyspark", filter=leave_tests)
        archive.add(source / "lib", f"{name}/python/lib")


def leave_tests(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what nobody runs on a cluster."""
    return None if "/tests" in member.name else member


def make(mirror: Path, version: str) -> None:
    """Put one release into the mirror, unless it is there."""
    name = f"spark-{version}-bin-hadoop3"
    target = mirror / "spark" / f"spark-{version}" / f"{name}.tgz"
    if target.with_suffix(".tgz.sha512").exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpufleet-", dir=target.parent) as folder:
        options = ["--quiet", "--no-deps", "--no-binary=:all:", "--dest", folder]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, f"pyspark=={version}"], check=True)
        (sdist,) = Path(folder).glob("pyspark-*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(folder)  # noqa: S202 (the index's own archive, whose checksum pip has compared)
        pack(Path(folder) / f"pyspark-{version}", name, Path(folder) / target.name)
        (Path(folder) / target.name).replace(target)
    digest = hashlib.sha512(target.read_bytes()).hexdigest()
    target.with_suffix(".tgz.sha512").write_text(f"{digest}  {target.name}\n", encoding="utf-8")


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        make(Path(sys.argv[1]), wanted)
