#!/usr/bin/env python3
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a small convolutional network and compare its accuracy with a threshold: proof that this host can train.

Runs on its own, with the Python of an environment that has PyTorch:

    /opt/gpufleet/envs/pytorch/current/bin/python /opt/gpufleet/bin/training_check.py

The data are CIFAR-10 from a URL, a path or an hdfs:// path. Where none is named and the published URL cannot be
reached, they are the 1,797 handwritten digits that scikit-learn brings, scaled to the same shape; the result says so.
Exit status: 0 passed, 1 failed (the sentence says why).
"""

import argparse
import hashlib
import io
import json
import math
import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request

PUBLISHED_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
PUBLISHED_MD5 = "c58f30108f718f92721af3b95e74349a"
PROBE_SECONDS = 5
DOWNLOAD_SECONDS = 60
HDFS_SECONDS = 600
CLASSES = 10
# Accuracy under which a host fails, by data set. Digits: five seeds gave 0.975 to 0.992 after ten epochs. CIFAR-10:
# five times what guessing gives; this project has not measured what a good host reaches, so a site should set its own.
MINIMUM_ACCURACY = {"digits": 0.90, "cifar10": 0.50}
BATCH_SIZE = {"digits": 4, "cifar10": 32}


class CheckFailed(Exception):
    """The check cannot pass; the text is a sentence for the user."""


class OnlyArrays(pickle.Unpickler):
    """Unpickles CIFAR-10's batches, which are dictionaries of NumPy arrays, and nothing that could run code."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module, name):
        """Return an allowed constructor; refuse every other one by name."""
        if (module, name) not in self.ALLOWED:
            raise CheckFailed(f"the archive holds {module}.{name}, which CIFAR-10 does not: it is not to be trusted")
        if name == "encode":
            return super().find_class("_codecs", "encode")
        import numpy

        if name == "_reconstruct":
            core = getattr(numpy, "_core", None) or numpy.core
            return core.multiarray._reconstruct
        return getattr(numpy, name)


def parse_arguments(words):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="", help="CIFAR-10: URL, path or hdfs:// path of cifar-10-python.tar.gz")
    parser.add_argument(
        "--checksum", default="", help="of that archive: sha256:... or md5:...; the published one has a default"
    )
    parser.add_argument("--dataset", choices=["auto", "cifar10", "digits"], default="auto")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, help="default: 4 for digits, 32 for CIFAR-10")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--expected-gpus", type=int, default=0, help="fail if PyTorch sees fewer")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to PyTorch")
    parser.add_argument("--workers", type=int, default=0, help="processes of the DataLoader; 0 loads in this one")
    parser.add_argument("--minimum-accuracy", type=float, help="default: by data set")
    parser.add_argument("--cache-dir", default="", help="folder that keeps the downloaded archive")
    parser.add_argument("--ca-file", default="", help="CA certificates for the download")
    parser.add_argument("--json", default="", metavar="FILE", help="write the whole result there")
    return parser.parse_args(words)


def digest(path, kind):
    """Return a file's checksum in hexadecimal."""
    checksum = hashlib.new(kind)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            checksum.update(block)
    return checksum.hexdigest()


def check_archive(path, checksum):
    """Raise CheckFailed where an archive is not what its checksum says."""
    kind, _colon, expected = checksum.partition(":")
    if kind not in ("md5", "sha256") or not expected:
        raise CheckFailed(f"the checksum {checksum!r} is not of the form sha256:... or md5:...")
    found = digest(path, kind)
    if found != expected.lower():
        raise CheckFailed(
            f"{path} is not the archive that was asked for: its {kind} is {found}, expected {expected} "
            f"({os.path.getsize(path)} bytes)"
        )


def download(url, target, ca_file, timeout):
    """Fetch a URL to a file that gets its name only when it is whole."""
    import ssl

    partial = f"{target}.{os.getpid()}.part"
    context = ssl.create_default_context(cafile=ca_file or None)
    try:
        with urllib.request.urlopen(
            url, timeout=timeout, context=context if url.startswith("https") else None
        ) as answer:
            with open(partial, "wb") as file:
                shutil.copyfileobj(answer, file)
            length = answer.headers.get("Content-Length")
        if length and int(length) != os.path.getsize(partial):
            raise CheckFailed(f"{url} was cut off after {os.path.getsize(partial)} of {length} bytes")
        os.replace(partial, target)
    except (OSError, ValueError) as error:
        raise CheckFailed("{} could not be fetched: {}".format(url, getattr(error, "reason", None) or error)) from None
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def fetch_hdfs(url, target):
    """Copy a file out of HDFS with the host's own client."""
    client = shutil.which("hdfs")
    if not client:
        raise CheckFailed(f"{url} cannot be read: this host has no hdfs command; install a Hadoop client first")
    partial = f"{target}.{os.getpid()}.part"
    try:
        done = subprocess.run(
            [client, "dfs", "-get", "-f", url, partial],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=HDFS_SECONDS,
        )
        if done.returncode:
            said = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise CheckFailed("{} could not be read: {}".format(url, "".join(said)))
        os.replace(partial, target)
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"{url} was not read within {HDFS_SECONDS} s") from None
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def have_archive(options, source, checksum):
    """Return the path of a verified CIFAR-10 archive; what was wrong with a fetched one is tried once more."""
    if "://" not in source:
        if not os.path.isfile(source):
            raise CheckFailed(f"{source} is not there; name CIFAR-10's archive by URL, path or hdfs:// path")
        check_archive(source, checksum)
        return source
    folder = options.cache_dir or os.path.join(os.path.expanduser("~"), ".cache", "gpufleet")
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, "cifar-10-{}.tar.gz".format(checksum.replace(":", "-")[:24]))
    if os.path.exists(target):
        try:
            check_archive(target, checksum)
            return target
        except CheckFailed:
            os.remove(target)
    for attempt in (1, 2):
        try:
            if source.startswith("hdfs://"):
                fetch_hdfs(source, target)
            else:
                download(source, target, options.ca_file, DOWNLOAD_SECONDS)
            check_archive(target, checksum)
            return target
        except CheckFailed as failure:
            if os.path.exists(target):
                os.remove(target)
            if attempt == 2:
                raise CheckFailed(f"{failure} (fetched twice)") from None
            print(f"{failure}; fetching it once more", file=sys.stderr)
    raise AssertionError("not reached")


def reachable(url, ca_file):
    """Return None where a URL answers soon, else why it does not."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        request = urllib.request.Request(url, method="HEAD")
        urllib.request.urlopen(request, timeout=PROBE_SECONDS, context=context).close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", None) or error)
    return None


def read_cifar10(path):
    """Return train images, train labels, test images, test labels from the archive in its published layout."""
    import numpy

    parts = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if member.isfile() and (name.startswith("data_batch_") or name == "test_batch"):
                    parts[name] = OnlyArrays(io.BytesIO(archive.extractfile(member).read()), encoding="bytes").load()
        train = [parts[name] for name in sorted(parts) if name != "test_batch"]
        sides = []
        for batches in (train, [parts["test_batch"]]):
            images = numpy.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
            labels = numpy.concatenate([numpy.asarray(batch[b"labels"]) for batch in batches])
            sides += [images.astype("float32") / 255, labels.astype("int64")]
        return sides
    except CheckFailed:
        raise
    except (
        OSError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        tarfile.TarError,
        pickle.UnpicklingError,
    ) as error:
        raise CheckFailed(f"{path} does not have CIFAR-10's layout: {error!r}") from None


def read_digits(seed):
    """Return scikit-learn's handwritten digits, 8x8 grey, scaled to 3x32x32; a fifth of them is the test."""
    import numpy
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = numpy.repeat(numpy.repeat(digits.images / 16, 4, axis=1), 4, axis=2)
    images = numpy.repeat(images[:, None], 3, axis=1).astype("float32")
    order = numpy.random.RandomState(seed).permutation(len(images))
    images, labels = images[order], digits.target.astype("int64")[order]
    split = len(images) // 5
    return images[split:], labels[split:], images[:split], labels[:split]


def load_data(options):
    """Return the name of the data set, words about it, and its four arrays."""
    refused = ""
    if options.dataset != "digits":
        source, checksum = options.data, options.checksum
        automatic = not source and options.dataset == "auto"
        if not source:
            source, checksum = PUBLISHED_URL, checksum or "md5:" + PUBLISHED_MD5
        if automatic:
            refused = reachable(source, options.ca_file) or ""
        try:
            if not refused:
                path = have_archive(options, source, checksum or "md5:" + PUBLISHED_MD5)
                return "cifar10", f"CIFAR-10 from {source}", read_cifar10(path)
        except CheckFailed as failure:
            if not automatic:
                raise
            refused = str(failure)
    words = "digits (scikit-learn, 1,797 images)"
    if refused:
        words += f"; CIFAR-10 could not be had: {refused}"
    return "digits", words, read_digits(options.seed)


def has_kernels(built, capability):
    """Say whether a build runs on a GPU: machine code for its major version, or intermediate code for an older GPU."""
    for arch in built:
        match = re.match(r"(sm|compute)_(\d+)(\d)$", arch)
        if match:
            made_for = (int(match.group(2)), int(match.group(3)))
            if made_for <= capability and (match.group(1) == "compute" or made_for[0] == capability[0]):
                return True
    return False


def choose_device(options):
    """Return the torch device, having made sure that its kernels are in this build of torch."""
    import torch

    if options.device == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    built = " ".join(torch.cuda.get_arch_list()) if count else torch._C._cuda_getArchFlags() or "no GPU code"
    wanted = max(options.expected_gpus, 1 if options.device == "cuda" else 0)
    if count < wanted:
        raise CheckFailed(
            f"torch {torch.__version__} (built for {built}) sees {count} of {wanted} GPUs: look at nvidia-smi, at the "
            "driver's version and at CUDA_VISIBLE_DEVICES, or choose the device cpu"
        )
    if not count:
        return torch.device("cpu")
    for index in range(count):
        major, minor = torch.cuda.get_device_capability(index)
        if not has_kernels(built.split(), (major, minor)):
            name = torch.cuda.get_device_name(index)
            raise CheckFailed(
                f"torch {torch.__version__} has no kernels for {name} (sm_{major}{minor}); it was built for {built}"
            )
    return torch.device("cuda:0")


def make_network():
    """Return the classic small network: two convolutions, two fully connected layers."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, CLASSES),
    )


def train(options, arrays, device, batch_size):
    """Train and test the network; return loss per epoch, accuracy, seconds of training and the number of parameters."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = False
    mean, spread = float(arrays[0].mean()), float(arrays[0].std())
    sides = []
    for images, labels in ((arrays[0], arrays[1]), (arrays[2], arrays[3])):
        sides.append(TensorDataset(torch.from_numpy((images - mean) / spread), torch.from_numpy(labels)))
    pinned = device.type == "cuda"
    generator = torch.Generator().manual_seed(options.seed)
    loader = DataLoader(
        sides[0], batch_size, shuffle=True, num_workers=options.workers, pin_memory=pinned, generator=generator
    )
    network = make_network().to(device)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=options.learning_rate, momentum=options.momentum)
    losses = []
    begin = time.time()
    for _epoch in range(options.epochs):
        network.train()
        total = torch.zeros((), device=device)
        for images, labels in loader:
            optimizer.zero_grad()
            answers = network(images.to(device, non_blocking=pinned))
            loss = criterion(answers, labels.to(device, non_blocking=pinned))
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(labels)
        losses.append(float(total) / len(sides[0]))
        if not math.isfinite(losses[-1]):
            raise CheckFailed(
                f"the loss of epoch {len(losses)} is {losses[-1]}: this host computes wrongly, or the data are broken"
            )
    seconds = time.time() - begin
    network.eval()
    right = 0
    with torch.no_grad():
        for images, labels in DataLoader(sides[1], 256):
            right += int((network(images.to(device)).argmax(1).cpu() == labels).sum())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return losses, right / len(sides[1]), seconds, parameters


def versions():
    """Return the versions of what took part."""
    import numpy
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "numpy": numpy.__version__,
    }


def check(options):
    """Return the result of the whole check."""
    result = {"result": "failed", "reason": "", "framework": "pytorch", "epochs": options.epochs, "seed": options.seed}
    try:
        try:
            result["versions"] = versions()
        except ImportError as error:
            raise CheckFailed(f"this Python ({sys.executable}) cannot import PyTorch: {error}") from None
        device = choose_device(options)
        dataset, words, arrays = load_data(options)
        batch_size = options.batch_size or BATCH_SIZE[dataset]
        minimum = MINIMUM_ACCURACY[dataset] if options.minimum_accuracy is None else options.minimum_accuracy
        result.update(
            dataset=dataset,
            data=words,
            train_images=len(arrays[0]),
            test_images=len(arrays[2]),
            batch_size=batch_size,
            minimum_accuracy=minimum,
            device=str(device),
            device_name=device_name(device),
        )
        losses, accuracy, seconds, parameters = train(options, arrays, device, batch_size)
        result.update(
            loss_per_epoch=losses,
            accuracy=accuracy,
            seconds=seconds,
            parameters=parameters,
            images_per_second=len(arrays[0]) * options.epochs / max(seconds, 1e-9),
        )
        if accuracy < minimum:
            raise CheckFailed(
                f"the network reached an accuracy of {accuracy:.3f} on {dataset}, and {minimum:.2f} is the least: "
                "this host trains wrongly, or too few epochs were asked for"
            )
        result["result"] = "passed"
    except CheckFailed as failure:
        result["reason"] = str(failure)
    except RuntimeError as error:  # torch's word for everything that goes wrong on a device
        result["reason"] = f"training broke off: {str(error).strip().splitlines()[0]}"
    return result


def device_name(device):
    """Return the GPU's name, or None for the CPU."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def summary(result):
    """Return the result in two lines for a person."""
    if "accuracy" not in result:
        return "{}: {}".format(result["result"], result["reason"])
    lines = [
        "{result}: accuracy {accuracy:.3f} (at least {minimum_accuracy:.2f}) after {epochs} epochs on {data}".format(
            **result
        ),
        "{images_per_second:.0f} images/s, {seconds:.1f} s on {device}, torch {torch}".format(
            torch=result["versions"]["torch"],
            **{name: result[name] for name in ("images_per_second", "seconds", "device")},
        ),
    ]
    return "\n".join([*lines, result["reason"]]).strip()


def main(words):
    """Run the check, print two lines, and return the exit status."""
    options = parse_arguments(words)
    result = check(options)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=2)
    print(summary(result))
    return 0 if result["result"] == "passed" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
