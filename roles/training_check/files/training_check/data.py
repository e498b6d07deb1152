# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images: CIFAR-10 from a URL, a folder, a file or HDFS, or the digits that scikit-learn brings."""

import contextlib
import glob
import hashlib
import http.client
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.parse
import urllib.request

PUBLISHED_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
PUBLISHED_NAME = "cifar-10-python.tar.gz"
PUBLISHED_MD5 = "c58f30108f718f92721af3b95e74349a"
PROBE_SECONDS = 5
DOWNLOAD_SECONDS = 60
HDFS_SECONDS = 600
# The share of the worker's time that is left to unpack what was fetched.
FETCH_SHARE = 0.8
# A partial download that nobody wrote to for so long was left behind by a check that was killed.
ABANDONED_SECONDS = 3600
LOGIN = re.compile(r"://[^/\s]*@")
UNFETCHED = (OSError, ValueError, http.client.HTTPException)


class DataError(Exception):
    """The images cannot be had; ``code`` is the finding, the text a sentence for the user."""

    def __init__(self, code, sentence):
        super().__init__(LOGIN.sub("://***@", sentence))
        self.code = code


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
            raise DataError(
                "data.poisoned",
                f"the archive holds {module}.{name}, which CIFAR-10 does not: it is not to be trusted",
            )
        if name == "encode":
            return super().find_class("_codecs", "encode")
        import numpy

        if name == "_reconstruct":
            core = getattr(numpy, "_core", None) or numpy.core
            return core.multiarray._reconstruct
        return getattr(numpy, name)


def digest(path, kind):
    """Return a file's checksum in hexadecimal."""
    try:
        # In FIPS mode there is no MD5 otherwise.
        checksum = hashlib.new(kind, usedforsecurity=False)  # novm
    except TypeError:  # before Python 3.9
        checksum = hashlib.new(kind)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            checksum.update(block)
    return checksum.hexdigest()


def check_archive(path, checksum, source):
    """Raise DataError where an archive is not what its checksum says; the sentence names where it came from."""
    kind, _colon, expected = checksum.partition(":")
    if kind not in ("md5", "sha256") or not expected:
        raise DataError("data.wrong", f"the checksum {checksum!r} is not of the form sha256:... or md5:...")
    found = digest(path, kind)
    if found != expected.lower():
        raise DataError(
            "data.wrong",
            f"{source} is not the archive that was asked for: its {kind} is {found}, expected {expected} "
            f"({os.path.getsize(path)} bytes)",
        )


def download(url, partial, ca_file, deadline):
    """Fetch a URL to a file, before a deadline: a server that trickles keeps every timeout of a socket from ending."""
    import ssl

    context = ssl.create_default_context(cafile=ca_file or None) if url.startswith("https") else None
    try:
        timeout = max(1, min(DOWNLOAD_SECONDS, deadline - time.monotonic()))
        with urllib.request.urlopen(url, timeout=timeout, context=context) as answer:
            with open(partial, "wb") as file:
                for block in iter(lambda: answer.read1(1 << 20), b""):
                    file.write(block)
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"only {file.tell()} bytes had come when the time for it was over")
            length = answer.headers.get("Content-Length")
    except http.client.IncompleteRead as error:
        raise DataError("data.cut", f"{url} was cut off: {error}") from None
    except UNFETCHED as error:
        said = getattr(error, "reason", None) or error
        raise DataError("data.unreachable", f"{url} could not be fetched: {said}") from None
    if length and int(length) != os.path.getsize(partial):
        raise DataError("data.cut", f"{url} was cut off after {os.path.getsize(partial)} of {length} bytes")


def fetch_hdfs(url, partial, command, deadline):
    """Copy a file out of HDFS with the host's own client."""
    seconds = max(1, min(HDFS_SECONDS, deadline - time.monotonic()))
    client = shutil.which(command)
    if not client:
        raise DataError("data.no_client", f"{url} cannot be read: this host has no command {command}")
    try:
        done = subprocess.run(
            [client, "dfs", "-get", "-f", url, partial],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise DataError("data.unreachable", f"{url} was not read within {seconds:.0f} s") from None
    if done.returncode:
        said = "".join(done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:])
        raise DataError("data.unreachable", f"{url} could not be read: {said}")


def have_archive(options, source, checksum):
    """Return the path of a verified archive; what was wrong with a fetched one is tried once more."""
    if "://" not in source:
        path = os.path.join(source, PUBLISHED_NAME) if os.path.isdir(source) else source
        if not os.path.isfile(path):
            raise DataError("data.unreachable", f"{path} is not there")
        check_archive(path, checksum, path)
        return path
    target = kept(options, checksum)
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(target):
        try:
            check_archive(target, checksum, target)
            return target
        except DataError as failure:
            print(f"{failure}; fetching it again", file=sys.stderr)
            os.remove(target)
    if "@" in urllib.parse.urlsplit(source).netloc:
        raise DataError("data.unreachable", f"{source} has a login in it, and this check uses none")
    for old in glob.glob(glob.escape(target) + ".*.part"):
        with contextlib.suppress(OSError):  # another host that shares the folder may be quicker
            if time.time() - os.path.getmtime(old) > ABANDONED_SECONDS:
                os.remove(old)
    deadline = time.monotonic() + FETCH_SHARE * options.get("limit", HDFS_SECONDS)
    partial = f"{target}.{os.getpid()}.part"
    for attempt in (1, 2):
        try:
            if source.startswith("hdfs://"):
                fetch_hdfs(source, partial, options.get("hdfs") or "hdfs", deadline)
            else:
                download(source, partial, options.get("ca_file"), deadline)
            check_archive(partial, checksum, source)
            os.replace(partial, target)
            return target
        except OSError as error:
            raise DataError("data.unreachable", f"{folder} could not keep {source}: {error.strerror}") from None
        except DataError as failure:
            if failure.code == "data.no_client" or time.monotonic() > deadline:
                raise
            if attempt == 2:
                raise DataError(failure.code, f"{failure} (fetched twice)") from None
            print(f"{failure}; fetching it once more", file=sys.stderr)
        finally:
            if os.path.exists(partial):
                os.remove(partial)
    raise AssertionError("not reached")


def kept(options, checksum):
    """Return where an archive that was fetched is kept."""
    folder = options.get("cache_dir") or os.path.join(os.path.expanduser("~"), ".cache", "gpufleet")
    return os.path.join(folder, "cifar-10-{}.tar.gz".format(checksum.replace(":", "-")[:24]))


def unreachable(url, ca_file):
    """Return None where a URL answers soon, else why it does not."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        request = urllib.request.Request(url, method="HEAD")
        urllib.request.urlopen(request, timeout=PROBE_SECONDS, context=context).close()
    except UNFETCHED as error:
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
            sides.append(numpy.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32))
            sides.append(numpy.concatenate([numpy.asarray(batch[b"labels"]) for batch in batches]).astype("int64"))
        return sides
    except DataError:
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
        raise DataError("data.layout", f"{path} does not have CIFAR-10's layout: {error!r}") from None


def read_digits():
    """Return scikit-learn's handwritten digits, 8x8 grey, scaled to 3x32x32; a fifth of them is the test."""
    import numpy

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "data.unreachable", f"the digits come with scikit-learn, which is not in this environment: {error}"
        ) from None
    digits = load_digits()
    images = numpy.repeat(numpy.repeat(digits.images * (255.0 / 16), 4, axis=1), 4, axis=2)
    images = numpy.repeat(images[:, None], 3, axis=1).round().astype("uint8")
    order = numpy.random.RandomState(0).permutation(len(images))
    images, labels = images[order], digits.target.astype("int64")[order]
    split = len(images) // 5
    return images[split:], labels[split:], images[:split], labels[:split]


def load(options):
    """Return a description of the data set and its four arrays: images as bytes 0 to 255, channels first."""
    refused = ""
    dataset = options.get("dataset") or "auto"
    if dataset != "digits":
        source, checksum = options.get("data") or "", options.get("checksum") or ""
        automatic = not source and dataset == "auto"
        source = source or PUBLISHED_URL
        checksum = checksum or "md5:" + PUBLISHED_MD5
        if automatic and not os.path.exists(kept(options, checksum)):
            refused = unreachable(source, options.get("ca_file")) or ""
        try:
            if not refused:
                arrays = read_cifar10(have_archive(options, source, checksum))
                return describe("cifar10", f"CIFAR-10 from {source}", None, arrays), arrays
        except DataError as failure:
            if not automatic:
                raise
            refused = str(failure)
    words = "digits (scikit-learn, 1,797 images)"
    if refused:
        words += f"; CIFAR-10 could not be had: {refused}"
    arrays = read_digits()
    return describe("digits", words, refused or None, arrays), arrays


def describe(name, words, refused, arrays):
    """Return what a result says about its data."""
    return {
        "name": name,
        "words": words,
        "substitute_for": "cifar10" if refused else None,
        "train_images": len(arrays[0]),
        "test_images": len(arrays[2]),
    }


def save(path, arrays):
    """Write the arrays down for the workers."""
    import numpy

    numpy.savez(path, *arrays)


def read(path):
    """Return the arrays that ``save`` wrote, and the mean and spread of the training images as shares of 1."""
    import numpy

    with numpy.load(path) as file:
        arrays = [file[f"arr_{number}"] for number in range(4)]
    mean, spread = float(arrays[0].mean()) / 255, float(arrays[0].std()) / 255
    return arrays, mean, spread or 1.0
