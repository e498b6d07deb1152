# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training check can find: a sentence and an advice for each. Private to the collection."""

from typing import Any, Dict, NamedTuple, Optional


class Kind(NamedTuple):
    """A kind of finding. A host fails by ``fail``; ``warn`` and ``info`` are told and nothing more."""

    severity: str
    sentence: str
    advice: str


FAIL, WARN, INFO = "fail", "warn", "info"
AGAIN = "build the environment anew with the role {framework}, its versions from the plan"
WATCH = "look at nvidia-smi -q and at the kernel's log for Xid events, then run the check again"
REPLACE = "take the GPU out of service and have it tested; if it is the same after a reboot, have it replaced"

KINDS = {
    # The environment, before anything is asked of a GPU.
    "environment.missing": Kind(
        FAIL,
        "there is no {python}",
        "run the role {framework} first, or name the folder of the environments in training_check_environments",
    ),
    "environment.broken": Kind(FAIL, "{python} does not start: {said}", AGAIN),
    "environment.killed": Kind(
        FAIL,
        "{python} was ended by {signal} while it imported {framework}",
        "SIGILL means that this build wants a processor with newer instructions (AVX), SIGKILL that memory ran out",
    ),
    "environment.hung": Kind(
        FAIL, "{python} did not import {framework} and list the devices within {limit:.0f} s: it {stuck}", WATCH
    ),
    "framework.missing": Kind(FAIL, "{python} has no {framework}", AGAIN),
    "framework.library_missing": Kind(
        FAIL,
        "{framework} cannot be imported: the library {library} is missing",
        "it comes with the framework's own nvidia wheels, so " + AGAIN + ", and keep LD_LIBRARY_PATH unset",
    ),
    "framework.glibc": Kind(
        FAIL,
        "{framework} cannot be imported: this build wants {library} and the host's C library is older",
        "choose an older {framework} or a newer release of the operating system",
    ),
    "framework.broken": Kind(FAIL, "{framework} cannot be imported: {said}", AGAIN),
    "numpy.missing": Kind(FAIL, "{python} has no NumPy", AGAIN),
    "numpy.abi": Kind(
        FAIL,
        "{framework} {version} was built for another NumPy than the installed {numpy}: {said}",
        "install numpy<2 beside a build of before NumPy 2, or a newer {framework}; the plan pairs them",
    ),
    "numpy.round_trip": Kind(
        FAIL, "an array that went from NumPy {numpy} into {framework} and back came out changed: {said}", AGAIN
    ),
    # The devices, before training.
    "gpu.cpu_only": Kind(
        FAIL,
        "{framework} {version} is a build without CUDA, and this host has {expected} GPU(s)",
        "install the CUDA build: " + AGAIN,
    ),
    "gpu.driver_missing": Kind(
        FAIL,
        "{expected} GPU(s) are expected and no NVIDIA driver answers: {said}",
        "install the plan's driver (nvidia_driver in stack_components), or see why its module is not loaded (dmesg, "
        "dkms status)",
    ),
    "gpu.driver_old": Kind(
        FAIL,
        "the NVIDIA driver is older than {framework} {version} (CUDA {cuda}) needs: {said}",
        "install the plan's driver, or the {framework} that fits the driver",
    ),
    "gpu.libraries": Kind(
        FAIL,
        "{framework} {version} could not load {library} and sees {seen} of {expected} GPU(s)",
        "tensorflow needs its extra and-cuda, or CUDA and cuDNN of its table installed; " + AGAIN,
    ),
    "gpu.hidden": Kind(
        FAIL,
        "CUDA_VISIBLE_DEVICES is {visible!r}, so {framework} sees {seen} of {expected} GPU(s)",
        "unset it for root, or say training_check_device=cpu if that is meant",
    ),
    "gpu.fabric": Kind(
        FAIL,
        "{framework} {version} sees {seen} of {expected} GPU(s), because their NVSwitches are not set up: {said}",
        "start the fabric manager of the very version of the driver (systemctl status nvidia-fabricmanager)",
    ),
    "gpu.too_few": Kind(FAIL, "{framework} {version} sees {seen} of {expected} GPU(s){cause}", WATCH),
    "gpu.more": Kind(INFO, "{framework} sees {seen} GPU(s), {expected} were expected", "correct the inventory"),
    "gpu.no_kernels": Kind(
        FAIL,
        "{framework} {version} has no kernels for {name} (compute capability {capability}); it was built for {built}",
        "install a build that carries them; the plan knows which",
    ),
    "gpu.through_ptx": Kind(
        INFO,
        "{framework} {version} carries no machine code for {name} (compute capability {capability}), only PTX that the "
        "driver translates at the first start",
        "the first start takes minutes; a build with machine code for it spares that",
    ),
    "gpu.mig_empty": Kind(
        FAIL,
        "{name} is in MIG mode and has no MIG device, so nothing can compute on it",
        "make instances (nvidia-smi mig -cgi ... -C) or turn MIG off (nvidia-smi -mig 0)",
    ),
    # The data.
    "data.unreachable": Kind(
        FAIL, "{said}", "correct training_check_data, or mirror the archive and name it in workstation_cifar10"
    ),
    "data.wrong": Kind(
        FAIL, "{said}", "put the published archive there, or name its checksum in training_check_checksum"
    ),
    "data.cut": Kind(FAIL, "{said}", "fetch it by hand; a proxy or a full disk on the way cuts archives"),
    "data.layout": Kind(FAIL, "{said}", "training_check_data wants cifar-10-python.tar.gz, the Python version"),
    "data.poisoned": Kind(FAIL, "{said}", "do not use this archive anywhere; find out who put it there"),
    "data.no_client": Kind(
        FAIL, "{said}", "run the role hadoop_client first, or name the command in training_check_hdfs"
    ),
    "data.broken": Kind(FAIL, "the images could not be prepared: {said}", "see the sentence; run the check again"),
    "data.substitute": Kind(
        INFO,
        "trained on {words}",
        "name a mirror of CIFAR-10 in workstation_cifar10 for figures that compare with other sites",
    ),
    # Each device alone.
    "device.wrong": Kind(
        FAIL,
        "{device} was to train and {trained} did",
        AGAIN,
    ),
    "training.hung": Kind(
        FAIL, "{device} was given up after {limit:.0f} s while it was {phase}", WATCH + "; a wedged GPU needs a reset"
    ),
    "training.killed": Kind(
        FAIL,
        "the training on {device} was ended by {signal} while it was {phase}{cause}",
        "SIGKILL mostly means that the host ran out of memory; for SIGSEGV and SIGBUS " + WATCH,
    ),
    "training.busy": Kind(
        FAIL,
        "{device} could not be used while it was {phase}: {said}",
        "another process has it for itself (nvidia-smi -q -d COMPUTE tells the mode): run the check when it is free",
    ),
    "training.memory": Kind(
        FAIL,
        "{device} ran out of memory while it was {phase}: {said}",
        "see who else uses it (nvidia-smi), end that, run the check again",
    ),
    "training.ecc": Kind(FAIL, "{device} reported an uncorrectable memory error: {said}", REPLACE),
    "training.fault": Kind(FAIL, "{device} failed while it was {phase}: {said}", WATCH),
    "training.broken": Kind(FAIL, "the training on {device} broke off while it was {phase}: {said}", AGAIN),
    "training.incomplete": Kind(
        FAIL, "the result of {device} lacks {missing}, so it proves nothing", "run the check again, by hand"
    ),
    "training.not_finite": Kind(FAIL, "the loss of epoch {epoch} on {device} is {loss}", REPLACE),
    "training.not_falling": Kind(
        FAIL, "on {device} the loss went from {first:.3f} to {last:.3f}: it learns nothing", REPLACE
    ),
    "training.inaccurate": Kind(
        FAIL,
        "{device} reached an accuracy of {accuracy:.3f} on {dataset}, {minimum:.2f} is the least",
        "if other hosts reach it with the same epochs, this one computes wrongly: " + REPLACE,
    ),
    "training.fast_inaccurate": Kind(
        FAIL,
        "in fast mode {device} reached {fast:.3f}, the plain loop {accuracy:.3f}: more than {allowed:.3f} apart",
        "with few epochs its large batches learn less. On a GPU it computes with reduced precision: see "
        "whether its twins agree",
    ),
    "training.fast_failed": Kind(
        WARN, "fast mode failed on {device}: {said}", "its throughput is that of the plain loop; see the sentence"
    ),
    # The devices among each other.
    "twins.differ": Kind(
        FAIL,
        "{device} has another loss curve than its {others} twin(s) of the same seed: {deviation:.2%} apart, "
        "{tolerance:.2%} is the most",
        "it computes something else than its twins (silent data corruption): " + REPLACE,
    ),
    "twins.disagree": Kind(
        FAIL,
        "{device} and {other} are twins and have different loss curves: {deviation:.2%} apart, {tolerance:.2%} is the "
        "most",
        "two cannot say which one is wrong: compare with another host's curve, then " + REPLACE,
    ),
    "twins.rounding": Kind(
        WARN,
        "{device} has not to the last digit the loss curve of its twins: {deviation:.4%} apart",
        "run the check again; the same GPU again means a GPU that computes wrongly now and then",
    ),
    "twins.not_compared": Kind(
        INFO,
        "the loss curves of {others} were not compared: this {framework} has no deterministic kernels",
        "TensorFlow has them from 2.8 on",
    ),
    "speed.straggler": Kind(
        FAIL,
        "{device} trains {rate:.0f} images/s, {share:.0%} of the median {median:.0f} of its twins{cause}",
        "see clocks, power limit, PCIe link and temperature in nvidia-smi -q",
    ),
    "speed.matmul": Kind(
        FAIL,
        "{device} multiplies matrices at {rate:.1f} TFLOP/s in {precision}, {share:.0%} of {peak:g}; {least:.0%} is "
        "the least for {model}{cause}",
        "see clocks, power limit and temperature in nvidia-smi -q",
    ),
    "speed.memory": Kind(
        FAIL,
        "the memory of {device} gives {rate:.0f} GB/s, {share:.0%} of {peak:g}; {least:.0%} is the least for "
        "{model}{cause}",
        "see memory clock, remapped rows and ECC errors in nvidia-smi -q",
    ),
    "speed.training": Kind(
        FAIL,
        "{device} trains {rate:.0f} images/s, {share:.0%} of the {peak:.0f} known for {model}; {least:.0%} is the "
        "least{cause}",
        "see clocks, power limit and the load of the host's CPUs",
    ),
    "speed.all_reduce": Kind(
        FAIL,
        "all-reduce over {count} GPUs runs at {rate:.1f} GB/s, {share:.0%} of {peak:g}; {least:.0%} is the least",
        "see nvidia-smi topo -m and nvlink -s: without NVLink, or with a link down, data go over PCIe",
    ),
    "speed.shared": Kind(
        WARN,
        "{said}, but others computed there at the time (process {pids})",
        "that says nothing of the hardware: run the check when it is free",
    ),
    "speed.unknown": Kind(
        INFO,
        "no figures are known for {name}, so its speed was compared with its twins only",
        "add a row to plugins/plugin_utils/data/performance.yml",
    ),
    "clocks.power_limit": Kind(
        WARN,
        "the power limit of {device} is {limit:.0f} W, {default:.0f} W is its default",
        "nvidia-smi -pl {default:.0f}, unless the limit is meant",
    ),
    "clocks.hardware": Kind(
        WARN,
        "{device} slowed itself down while it trained ({reasons}, in {share:.0%} of the samples)",
        "see power supply, power cables and cooling: the hardware asked for this",
    ),
    "clocks.thermal": Kind(
        WARN,
        "{device} slowed down because of heat while it trained ({reasons}, in {share:.0%} of the samples, "
        "{temperature:.0f} degrees)",
        "see fans, air filters and the temperature of the room",
    ),
    "clocks.unknown": Kind(
        INFO, "the clocks of {device} were not watched: {said}", "nvidia-smi has to answer for that"
    ),
    # All of them together.
    "together.hung": Kind(
        FAIL,
        "{count} devices together were given up after {limit:.0f} s while they were {phase}",
        "see nvidia-smi topo -m, the fabric manager, and NCCL_DEBUG=INFO in a run by hand; ACS and IOMMU stop "
        "peer-to-peer",
    ),
    "together.failed": Kind(
        FAIL,
        "{count} devices together failed while they were {phase}: {said}",
        "see the fabric manager, /dev/shm and NCCL_DEBUG=INFO in a run by hand",
    ),
    "together.wrong_sum": Kind(
        FAIL, "all-reduce over {count} devices gave a wrong sum on {ranks}", "a link or a GPU corrupts data: " + WATCH
    ),
    "together.ranks_differ": Kind(
        FAIL,
        "after training together the devices hold different networks: {ranks}",
        "a link or a GPU corrupts data: " + WATCH,
    ),
    "together.inaccurate": Kind(
        FAIL,
        "{count} devices together reached an accuracy of {accuracy:.3f} on {dataset}, {minimum:.2f} is the least",
        "each alone reaches it, so the exchange between them is at fault: " + WATCH,
    ),
    "together.not_finite": Kind(FAIL, "the loss of {count} devices together is {loss}", WATCH),
    "together.mig": Kind(INFO, "MIG devices do not train together: NCCL does not join them", "nothing is to be done"),
    "together.skipped": Kind(
        FAIL,
        "the devices were not tried together: {said}",
        "mend first what is said of one of them; where the time was over, raise training_check_timeout",
    ),
    "check.out_of_time": Kind(
        FAIL,
        "the time limit of {limit:.0f} s was over before {device} had its turn",
        "give the check more time (training_check_timeout), or find out what was slow",
    ),
    "check.broken": Kind(FAIL, "the check itself broke off: {said}", "run it by hand with --help, and report it"),
}  # type: Dict[str, Kind]


def finding(code: str, about: Optional[str] = None, **words: Any) -> Dict[str, Any]:
    """Return a finding of a kind; ``about`` is the device that it is about, None for the host."""
    kind = KINDS[code]
    words.setdefault("device", about)
    return {
        "code": code,
        "severity": kind.severity,
        "device": about,
        "sentence": " ".join(kind.sentence.format(**words).split()),
        "advice": " ".join(kind.advice.format(**words).split()),
    }
