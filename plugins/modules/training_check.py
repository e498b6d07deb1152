#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a small network on every device of a host, and say which device cannot and why."""

DOCUMENTATION = r"""
module: training_check
short_description: Prove that a host can train
version_added: 0.1.0
description:
  - Trains the same small convolutional network with PyTorch and with TensorFlow, on each GPU and MIG device alone and
    then on all of them together, and judges what it measured.
  - Before training it looks at the environment, its NumPy, its libraries, the devices it sees and the architectures it
    was built for. After it, at accuracy and loss, at the loss curves of identical GPUs, at stragglers, at the rates of
    matrix multiplication, memory and all-reduce against what the model is known for, and at the clocks.
  - The host fails with a sentence and an advice for each thing that is wrong. Never passes on the wrong device.
  - It puts its program onto the host, which is a change; training is none, and every run trains anew.
options:
  program:
    description: Folder on the host that the program is kept in. It has to be called C(training_check).
    type: path
    required: true
  files:
    description: The program's files by name. The collection's own, if left out.
    type: dict
  environments:
    description: >-
      Folder of the Python environment for each framework, by V(pytorch) or V(tensorflow). They are checked in turn.
    type: dict
    required: true
  report:
    description: File on the host that keeps the last result as JSON. Left out, none is written.
    type: path
  data:
    description:
      - CIFAR-10's archive in its Python version, as a URL, a path on the host, a folder that has it, or an C(hdfs://)
        path.
      - Empty means the published URL, and where that cannot be reached, the digits that scikit-learn brings.
    type: str
    default: ""
  checksum:
    description: Checksum of the archive, V(sha256:...) or V(md5:...). The published archive's is known.
    type: str
    default: ""
  dataset:
    description: >-
      V(cifar10) fails where the archive cannot be had; V(digits) asks for no archive; V(auto) is described at
      O(data).
    type: str
    choices: [auto, cifar10, digits]
    default: auto
  hdfs:
    description: The command C(hdfs), by name or path.
    type: str
    default: hdfs
  cache_dir:
    description: Folder that keeps the downloaded archive.
    type: path
  ca_file:
    description: Bundle of CA certificates in PEM form for the download.
    type: path
  device:
    description: V(gpu) insists on a GPU, V(cpu) leaves GPUs alone, V(auto) takes GPUs if there are any.
    type: str
    choices: [auto, gpu, cpu]
    default: auto
  gpus:
    description: The host's NVIDIA GPUs, as RV(gpufleet.workstation.gpu_facts#module:ansible_facts.gpu.pci) has them.
    type: list
    elements: dict
  expected_gpus:
    description: >-
      GPUs that a framework has to see. Not looked at with O(device=cpu). Left out, as many as O(gpus) has.
    type: int
  figures:
    description:
      - What models of GPU are known for, to be compared with. A row overrides that of the collection's table with the
        same key, value by value.
    type: list
    elements: dict
  nvidia_smi:
    description: The command C(nvidia-smi), by name or path.
    type: str
    default: nvidia-smi
  epochs:
    description: How many times the network sees the training images.
    type: int
    default: 10
  batch_size:
    description: Images in a batch of the plain loop. Left out, 4 for the digits and 32 for CIFAR-10.
    type: int
  learning_rate:
    description: Learning rate of stochastic gradient descent in the plain loop.
    type: float
    default: 0.001
  momentum:
    description: Momentum of stochastic gradient descent.
    type: float
    default: 0.9
  seed:
    description: Seed of everything random. The same seed on identical GPUs has to give the same loss curve.
    type: int
    default: 0
  curve_tolerance:
    description: >-
      By how much the loss curves of identical GPUs may differ, as a share of the loss of an epoch. Of a loss under a
      hundredth of the first one, it is a share of that hundredth.
    type: float
    default: 0.01
  threads:
    description: CPU threads of each process. V(0) leaves it to the framework.
    type: int
    default: 0
  cpu_workers:
    description: >-
      On a host without GPUs, with how many processes or logical devices training together is tried. V(1) means not.
    type: int
    default: 1
  fast:
    description: Whether to train in the fast loop, too, which is what the throughput is taken from.
    type: bool
    default: true
  benchmark:
    description: Whether to measure matrix multiplication and memory.
    type: bool
    default: true
  together:
    description: Whether to train on all devices together, where there are two or more.
    type: bool
    default: true
  minimum_accuracy:
    description: >-
      Share of the test images that must be classified right, between 0 and 1. Left out, 0.90 for the
      digits, and 0.65 for CIFAR-10, of which 0.50 is enough with fewer than ten epochs and where all devices train
      together.
    type: float
  fail_host:
    description:
      - Whether a host that does not pass fails the task. Ansible keeps no facts of a task that fails; with V(false) the
        fact is kept, and the play decides by RV(ansible_facts.training.result).
    type: bool
    default: true
  timeout:
    description:
      - Seconds for everything. What is not done by then fails. A device that hangs is given up when its share of the
        time is over, and the others still have theirs.
    type: int
    default: 1800
attributes:
  check_mode:
    description: Trains nothing in check mode, and says so in RV(ansible_facts.training.result).
    support: full
  diff_mode:
    description: Names the program's files that are put in place.
    support: full
  facts:
    description: What it returns becomes part of the host's facts, where the task does not fail.
    support: full
  platform:
    description: Systems on which the frameworks run.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
  - Environments with PyTorch >= 1.8 or TensorFlow >= 2.4, NumPy and scikit-learn
author:
  - The gpufleet authors (@gpufleet)
"""

EXAMPLES = r"""
- name: Train on the host
  gpufleet.workstation.training_check:
    program: /opt/gpufleet/training_check
    environments:
      pytorch: /opt/gpufleet/envs/pytorch/current
      tensorflow: /opt/gpufleet/envs/tensorflow/current
    data: hdfs://namenode.lab.example.org/datasets/cifar-10-python.tar.gz
    gpus: "{{ ansible_facts['gpu'].pci | selectattr('kind', 'equalto', 'gpu') | list }}"

- name: Expect what this fleet's own A100 reached
  gpufleet.workstation.training_check:
    program: /opt/gpufleet/training_check
    environments:
      pytorch: /opt/gpufleet/envs/pytorch/current
    device: gpu
    figures:
      - key: a100_sxm4_40
        images_per_second: {pytorch: 400000}
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: always
  type: dict
  contains:
    training:
      description: What the training showed.
      type: dict
      contains:
        result: {description: "V(passed), V(failed) or V(not run: check mode).", type: str, sample: passed}
        reason:
          description: A sentence and an advice for each thing that it failed by. Empty if it passed.
          type: str
          sample: ""
        seconds: {description: Seconds that the whole check took., type: float, sample: 41.7}
        findings:
          description: Everything that was found, of both frameworks.
          type: list
          elements: dict
          contains:
            framework: {description: Framework that it was found with., type: str, sample: pytorch}
            code: {description: Its name., type: str, sample: speed.straggler}
            severity:
              description: V(fail), by which the host fails, or V(warn) or V(info), which are only told.
              type: str
              sample: fail
            device: {description: Label of the device. Null if it is about the host., type: str, sample: GPU 2}
            sentence:
              description: What was found.
              type: str
              sample: "GPU 2 trains 80000 images/s, 67% of the median 120000 of its twins"
            advice:
              description: What to do.
              type: str
              sample: see clocks, power limit, PCIe link and temperature in nvidia-smi -q
        pytorch:
          description: The check with PyTorch. Null if it was not asked for.
          type: dict
          contains: &framework
            result: {description: V(passed) or V(failed)., type: str, sample: passed}
            reason: {description: As above., type: str, sample: ""}
            seconds: {description: Seconds that it took., type: float, sample: 20.3}
            environment:
              description: The environment. Fields are null where it could not be used that far.
              type: dict
              contains:
                python: {description: Version of Python., type: str, sample: 3.11.2}
                framework: {description: Version of the framework., type: str, sample: 2.10.0+cu128}
                cuda: {description: CUDA that it was built with. Null for a CPU build., type: str, sample: "12.8"}
                cudnn: {description: cuDNN as the framework numbers it., type: str, sample: "91002"}
                numpy: {description: Version of NumPy., type: str, sample: 2.4.6}
                architectures:
                  description: GPU architectures that it carries code for.
                  type: list
                  elements: str
                  sample: [sm_70, sm_75, sm_80]
            data:
              description: The images. Null if they could not be had or it did not come to that.
              type: dict
              contains:
                name: {description: V(cifar10) or V(digits)., type: str, sample: digits}
                words:
                  description: Where they came from and why.
                  type: str
                  sample: "digits (scikit-learn, 1,797 images)"
                substitute_for:
                  description: V(cifar10) where the digits stand in for it. Null otherwise.
                  type: str
                  sample: cifar10
                train_images: {description: Images trained on., type: int, sample: 1438}
                test_images: {description: Images tested on., type: int, sample: 359}
            training:
              description: What the plain loop was given. Null if it did not come to that.
              type: dict
              contains:
                epochs: {description: Epochs., type: int, sample: 10}
                batch_size: {description: Images in a batch., type: int, sample: 4}
                seed: {description: Seed., type: int, sample: 0}
                learning_rate: {description: Learning rate., type: float, sample: 0.001}
                momentum: {description: Momentum., type: float, sample: 0.9}
            accuracy:
              description: Share of the test images that the plain loop on the first device classified right.
              type: float
              sample: 0.975
            minimum_accuracy: {description: Share that was asked for., type: float, sample: 0.9}
            images_per_second:
              description: Images per second of the first device in its median epoch, of the fast loop if that ran.
              type: float
              sample: 1952.4
            devices:
              description: Each device that trained, alone.
              type: list
              elements: dict
              contains:
                label: {description: What sentences call it., type: str, sample: GPU 0}
                kind: {description: "V(gpu), V(mig) or V(cpu).", type: str, sample: gpu}
                id: {description: UUID by which CUDA finds it., type: str, sample: GPU-7f0c9e52-1c55-4b8c-9b1e-0d3c6a0e}
                pci_address: {description: PCI address of the GPU., type: str, sample: "0000:3b:00.0"}
                name: {description: Name of the GPU. Null for the CPU., type: str, sample: Tesla V100-PCIE-32GB}
                capability: {description: Compute capability., type: str, sample: "7.0"}
                memory_bytes:
                  description: Memory in bytes. Null if the framework does not tell.
                  type: int
                  sample: 34072559616
                multiprocessors:
                  description: Multiprocessors. Null if the framework does not tell.
                  type: int
                  sample: 80
                trained_on: {description: "V(cuda) or V(cpu), where it really trained.", type: str, sample: cuda}
                result: {description: V(passed) or V(failed)., type: str, sample: passed}
                reason: {description: As above., type: str, sample: ""}
                plain:
                  description: The textbook loop. Null if it did not end.
                  type: dict
                  contains:
                    loss_per_epoch:
                      description: Mean loss. Null in it for what is no finite number.
                      type: list
                      elements: float
                      sample: [2.19, 1.02, 0.47]
                    accuracy: {description: Share of the test images classified right., type: float, sample: 0.975}
                    seconds: {description: Seconds of training., type: float, sample: 7.4}
                    images_per_second: {description: Images per second., type: float, sample: 1952.4}
                    parameters: {description: Parameters of the network., type: int, sample: 545098}
                fast:
                  description: The fast loop. Null if it was not asked for or failed.
                  type: dict
                  contains:
                    loss_per_epoch: {description: Mean loss., type: list, elements: float, sample: [2.01, 0.93, 0.51]}
                    accuracy: {description: Share of the test images classified right., type: float, sample: 0.972}
                    seconds: {description: Seconds of training., type: float, sample: 2.6}
                    images_per_second: {description: Images per second., type: float, sample: 5530.8}
                    batch_size: {description: Images in a batch., type: int, sample: 64}
                    precision: {description: "V(fp32), V(fp16) or V(bf16).", type: str, sample: fp16}
                    graph: {description: Whether the steps ran as a graph., type: bool, sample: true}
                matmul_tflops:
                  description: TFLOP/s of multiplying matrices. Null if it was not measured.
                  type: dict
                  contains:
                    fp32: {description: In single precision., type: float, sample: 13.4}
                    tf32: {description: In TF32. Null before Ampere., type: float, sample: 118.0}
                    fp16: {description: In half precision. Null before Volta., type: float, sample: 96.3}
                memory_gb_per_second:
                  description: GB/s of the device's memory, reading and writing added.
                  type: float
                  sample: 802.5
                clocks:
                  description: What C(nvidia-smi) said every second while it trained.
                  type: dict
                  contains:
                    samples: {description: How often it was asked., type: int, sample: 18}
                    error: {description: Why it was not or no longer asked. Null if all is well., type: str, sample: ""}
                    reasons:
                      description: Reasons why the clocks were held down, without idleness.
                      type: list
                      elements: str
                      sample: [sw_power_cap]
                    shares:
                      description: The share of the samples with each reason, by its name.
                      type: dict
                      sample: {sw_power_cap: 0.75}
                    sm_mhz: {description: Mean clock of the multiprocessors., type: float, sample: 1380.0}
                    power_watts: {description: Highest power., type: float, sample: 248.3}
                    power_limit_watts: {description: Power limit., type: float, sample: 250.0}
                    power_default_limit_watts: {description: Power limit as shipped., type: float, sample: 250.0}
                    temperature_celsius: {description: Highest temperature., type: float, sample: 61.0}
            together:
              description: All devices at once. Null where there is one, or where it was not asked for.
              type: dict
              contains:
                count: {description: Devices., type: int, sample: 8}
                backend: {description: Over what they exchanged gradients., type: str, sample: nccl}
                result: {description: V(passed) or V(failed)., type: str, sample: passed}
                reason: {description: As above., type: str, sample: ""}
                loss_per_epoch: {description: Mean loss., type: list, elements: float, sample: [2.07, 0.91, 0.56]}
                accuracy: {description: Share of the test images classified right., type: float, sample: 0.967}
                seconds: {description: Seconds of training., type: float, sample: 1.9}
                images_per_second: {description: Images per second of all together., type: float, sample: 41230.0}
                all_reduce_gb_per_second:
                  description: GB/s of adding up across the devices, as the bus between them sees it.
                  type: float
                  sample: 124.8
            findings:
              description: What was found with this framework.
              type: list
              elements: dict
              contains:
                code: {description: Its name., type: str, sample: speed.straggler}
                severity: {description: "V(fail), V(warn) or V(info).", type: str, sample: fail}
                device: {description: Label of the device. Null if it is about the host., type: str, sample: GPU 2}
                sentence: {description: What was found., type: str, sample: "the memory of GPU 2 gives 400 GB/s"}
                advice: {description: What to do., type: str, sample: look at nvidia-smi -q}
        tensorflow:
          description: The check with TensorFlow. Null if it was not asked for.
          type: dict
          contains: *framework
"""

import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._training import (
    FRAMEWORKS,
    check,
    empty,
    outdated,
    parse,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import write_file

PROGRAM_LIMIT = 1 << 20


def put_in_place(folder: str, files: dict, names: list) -> None:
    """Write the named files of the program, and remove those that are no part of it."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    for name in names:
        path = os.path.join(folder, os.path.basename(name))
        if name not in files:
            os.remove(path)
            continue
        write_file(path, files[name])


def ask(host: Host, folder: str, argv_for, limit: float):
    """Run the program; return its answer, why there is none, its status and what it said."""
    report = os.path.join(folder, "answer.json")
    if os.path.exists(report):
        os.remove(report)
    answer = host.run(argv_for(report), limit, env={"TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"})
    return (
        parse(host.read_text(report, PROGRAM_LIMIT * 16, quiet=True)),
        answer.error,
        answer.rc,
        answer.stdout + answer.stderr,
    )


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "files": {"type": "dict"},
            "environments": {"type": "dict", "required": True},
            "report": {"type": "path"},
            "data": {"type": "str", "default": ""},
            "checksum": {"type": "str", "default": ""},
            "dataset": {"type": "str", "choices": ["auto", "cifar10", "digits"], "default": "auto"},
            "hdfs": {"type": "str", "default": "hdfs"},
            "cache_dir": {"type": "path"},
            "ca_file": {"type": "path"},
            "device": {"type": "str", "choices": ["auto", "gpu", "cpu"], "default": "auto"},
            "gpus": {"type": "list", "elements": "dict"},
            "expected_gpus": {"type": "int"},
            "figures": {"type": "list", "elements": "dict"},
            "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
            "epochs": {"type": "int", "default": 10},
            "batch_size": {"type": "int"},
            "learning_rate": {"type": "float", "default": 0.001},
            "momentum": {"type": "float", "default": 0.9},
            "seed": {"type": "int", "default": 0},
            "curve_tolerance": {"type": "float", "default": 0.01},
            "threads": {"type": "int", "default": 0},
            "cpu_workers": {"type": "int", "default": 1},
            "fast": {"type": "bool", "default": True},
            "benchmark": {"type": "bool", "default": True},
            "together": {"type": "bool", "default": True},
            "minimum_accuracy": {"type": "float"},
            "fail_host": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    options = module.params
    unknown = sorted(set(options["environments"]) - set(FRAMEWORKS))
    if unknown or not options["environments"]:
        module.fail_json(
            msg="environments names {}; it takes {}".format(
                " and ".join(unknown) or "nothing", " and ".join(FRAMEWORKS)
            )
        )
    if os.path.basename(options["program"]) != "training_check":
        module.fail_json(msg="program is {}; its folder has to be called training_check".format(options["program"]))
    host = Host()
    files = options["files"] or {}
    names = outdated(
        options["program"],
        files,
        lambda path: host.read_bytes(path, PROGRAM_LIMIT, quiet=True).decode("utf-8", "replace"),
        host.listdir(options["program"], quiet=True),
    )
    result = {"changed": bool(names), "ansible_facts": {"training": empty()}}
    if module._diff:
        result["diff"] = {"before": "", "after": "".join(f"{options['program']}/{name}\n" for name in names)}
    if module.check_mode:
        module.exit_json(**result)
    if names:
        put_in_place(options["program"], files, names)
    with tempfile.TemporaryDirectory(prefix="gpufleet-", dir=module.tmpdir) as folder:
        training = check(options, lambda argv_for, limit: ask(host, folder, argv_for, limit))
    result["ansible_facts"]["training"] = training
    if options["report"]:
        write_file(options["report"], json.dumps(training, indent=2, sort_keys=True) + "\n")
    if training["result"] == "failed" and options["fail_host"]:
        module.fail_json(msg=training["reason"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
