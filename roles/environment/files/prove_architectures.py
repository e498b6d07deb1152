# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say which GPU architectures a framework carries code for; fail where one of the host's GPUs is not among them.

Runs in the new environment and needs no GPU. The first argument is the framework, torch or tensorflow, each further one
a GPU: "7.0 Tesla V100 PCIe 32GB". torch.cuda.is_available() is no help: it is True on a V100 also with a torch that has
no code for it.
"""

import os
import re
import sys


def runs_on(flag, capability):
    """Return whether code for an architecture ("sm_70", "sm_90a", "compute_90") runs on a device of a capability.

    Machine code runs on later devices of the same generation, code with a letter on its very device only, and
    intermediate code on every later device.
    """
    match = re.match(r"(sm|compute)_(\d+)(\d)([a-z]?)$", flag)
    if not match:
        return False
    kind, major, minor, letter = match.groups()
    made_for = (int(major), int(minor))
    if letter:
        return capability == made_for
    return made_for <= capability and (kind == "compute" or made_for[0] == capability[0])


def verdict(framework, version, flags, gpus):
    """Return what a framework carries, and what is wrong with that for the GPUs, or an empty string."""
    carried = f"{framework} {version} carries {' '.join(flags) or 'no GPU code at all'}"
    without = []
    for gpu in gpus:
        capability, _space, model = gpu.partition(" ")
        major, _dot, minor = capability.partition(".")
        if not any(runs_on(flag, (int(major), int(minor or 0))) for flag in flags):
            without.append(f"{model} ({capability})")
    if not without:
        return carried, ""
    return carried, f"{carried}; this host has {' and '.join(without)}, so choose a {framework} that carries it"


def of_torch():
    """Return the version and the architectures of the torch of this interpreter."""
    import torch  # the verdict is tested where there is no torch

    return torch.__version__, (getattr(torch._C, "_cuda_getArchFlags", lambda: "")() or "").split()


def of_tensorflow():
    """Return the version and the architectures of the TensorFlow of this interpreter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    build = tensorflow.sysconfig.get_build_info()
    return tensorflow.__version__, sorted(build.get("cuda_compute_capabilities") or [])


def main():
    """Judge the framework of this interpreter."""
    framework, *gpus = sys.argv[1:]
    version, flags = {"torch": of_torch, "tensorflow": of_tensorflow}[framework]()
    carried, wrong = verdict(framework, version, flags, gpus)
    if wrong:
        sys.exit(wrong)
    print(carried)


if __name__ == "__main__":
    main()
