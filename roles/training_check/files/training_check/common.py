# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both frameworks share: the numbers of the training, and how a rate is measured."""

import ctypes
import signal
import statistics
import time

CLASSES = 10
# Images in a batch of the plain loop, by data set.
BATCH_SIZE = {"digits": 4, "cifar10": 32}
# Images in a batch, and learning rate, of the fast loop. For the digits they were compared with the plain loop
# (docs/benchmarks.md); for CIFAR-10 the rate is scaled as the batch is and was not measured.
FAST = {"digits": (32, 0.02), "cifar10": (512, 0.02)}
# For every process of the check: what makes arithmetic repeatable, less talk, and no more of a GPU's memory than is
# needed, since others may use it. None takes a setting of root's away that would change what is measured.
ENVIRONMENT = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "CUDA_LAUNCH_BLOCKING": None,
    "KERAS_BACKEND": "tensorflow",
    "NVIDIA_TF32_OVERRIDE": None,
    "TF_CPP_MIN_LOG_LEVEL": "1",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_USE_LEGACY_KERAS": "0",
}


def die_with_parent():
    """Let the kernel end this process with the one that started it, so that nothing goes on training unwatched."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        pass


def matrix_size(kind):
    """Return the rows of the matrices that are multiplied to measure a device."""
    return 512 if kind == "cpu" else 8192


def best_rate(work, wait, seconds):
    """Return how often a second a piece of work is done, the best of several stretches; the first one warms up."""
    work()
    wait()
    best, end, rounds = 0.0, time.perf_counter() + seconds, 1
    while time.perf_counter() < end or not best:
        begin = time.perf_counter()
        for _turn in range(rounds):
            work()
        wait()
        spent = max(time.perf_counter() - begin, 1e-9)
        best = max(best, rounds / spent)
        if spent < seconds / 10:
            rounds *= 2
    return best


def finish(images, losses, accuracy, times):
    """Return what a training loop has to tell; its rate is that of the median epoch, whatever disturbed a few."""
    return {
        "loss_per_epoch": losses,
        "accuracy": accuracy,
        "seconds": sum(times),
        "images_per_second": images / max(statistics.median(times), 1e-9),
    }
