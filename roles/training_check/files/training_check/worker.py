# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One piece of the check, in a process of its own, so that a crash or a hang takes nothing else along.

Writes what it has so far, and what it is doing, to a file that its supervisor reads even after it was killed.
"""

import importlib
import json
import os
import platform
import sys

from training_check import common, data


class Notes:
    """The file that tells how far the worker is."""

    def __init__(self, path):
        self.path = path
        self.told = {"phase": "starting", "error": None, "result": {}}

    def __call__(self, phase):
        """Say what begins now."""
        self.told["phase"] = phase
        self.write()

    def write(self):
        """Replace the file by what is known now."""
        partial = self.path + ".part"
        with open(partial, "w") as file:
            json.dump(self.told, file)
        os.replace(partial, self.path)


def load_framework(name):
    """Return this program's side of a framework."""
    return importlib.import_module("training_check." + {"pytorch": "with_torch", "tensorflow": "with_tensorflow"}[name])


def probe(spec, notes):
    """Say what the environment is, step by step, so that the first thing that is wrong is known."""
    told = notes.told["result"]
    told.update(python=platform.python_version(), visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
    told.update(numpy=None, numpy_error=None, framework=None, framework_error=None, cuda=None, cudnn=None)
    told.update(round_trip=None, architectures=[], gpus=[], gpus_error=None)
    notes("importing NumPy")
    try:
        import numpy

        told["numpy"] = str(numpy.__version__)
    except Exception as error:
        told["numpy_error"] = explain(error)
    notes("importing {}".format(spec["framework"]))
    side = load_framework(spec["framework"])
    try:
        told.update(side.versions())
        told["architectures"] = side.architectures()
    except Exception as error:
        told["framework_error"] = explain(error)
        return
    notes("passing an array from NumPy to {} and back".format(spec["framework"]))
    try:
        array = numpy.arange(7, dtype="float32")
        told["round_trip"] = "" if (side.round_trip(array) == array).all() else "other numbers"
    except Exception as error:
        told["round_trip"] = explain(error)
    notes("listing the GPUs")
    try:
        for gpu in side.gpus():
            told["gpus"].append(gpu)
    except Exception as error:
        told["gpus_error"] = explain(error)


def prepare_data(spec, notes):
    """Fetch and decode the images once for all devices."""
    notes("fetching the images")
    try:
        told, arrays = data.load(spec)
    except data.DataError as error:
        notes.told["result"] = {"code": error.code, "sentence": str(error)}
        return
    data.save(spec["arrays"], arrays)
    notes.told["result"] = {"code": None, "data": told}


def train(spec, notes):
    """Train on one device in the plain and in the fast loop, and measure the rates of the device by themselves."""
    side = load_framework(spec["framework"])
    told = notes.told["result"]
    notes("preparing the device")
    device = side.prepare(spec)
    told.update(side.where(device), plain=None, fast=None, fast_error=None, rates=None)
    arrays = data.read(spec["arrays"])
    for step in side.ORDER:
        if step == "plain":
            told["plain"] = side.plain(spec, arrays, device, notes)
        elif step == "fast" and spec["fast"]:
            try:
                told["fast"] = side.fast(spec, arrays, device, notes)
            except (RuntimeError, ValueError, AttributeError, NotImplementedError) as error:
                told["fast_error"] = explain(error)
        elif step == "benchmark" and spec["benchmark"]:
            told["rates"] = side.benchmark(spec, device, notes)


def together(spec, notes):
    """Train on several devices at once."""
    side = load_framework(spec["framework"])
    notes("preparing the device")
    notes.told["result"] = side.together(spec, data.read(spec["arrays"]), notes)


WORK = {"probe": probe, "data": prepare_data, "train": train, "together": together}


DEFINED = ("Detected at node", 'File "', "<stack traces", "Node: ")


def explain(error):
    """Return an error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines[:1] == ["Graph execution error:"]:
        # TensorFlow says where a node was defined first, in many lines, and what happened only then.
        last = max(number for number, line in enumerate(lines) if number == 0 or line.startswith(DEFINED))
        lines = lines[last + 1 :]
    return "{}: {}".format(type(error).__name__, " / ".join(lines[:3]) or "no reason was given")[:600]


def main(path):
    """Do what a file says."""
    common.die_with_parent()
    with open(path) as file:
        spec = json.load(file)
    notes = Notes(spec["notes"])
    try:
        WORK[spec["work"]](spec, notes)
        notes.told["phase"] = "done"
    except Exception as error:
        notes.told["error"] = explain(error)
    notes.write()
    # Without the interpreter's clean end: a framework with a broken device can hang there.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
