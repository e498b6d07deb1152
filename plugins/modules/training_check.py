#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a small network on a host and compare its accuracy with a threshold."""

DOCUMENTATION = r"""
module: training_check
short_description: Prove that a host can train
version_added: 0.1.0
description:
  - Runs the collection's training program with an environment's Python. It trains a small convolutional network and
    compares the accuracy with a threshold that fits the data.
  - It changes nothing but its download cache, and keeps no verdict; every run trains anew.
  - The host fails with one sentence where the accuracy is too low, the loss is no number, PyTorch sees fewer GPUs than
    expected or has no kernels for one of them, or the program breaks off.
options:
  program:
    description: Path of the program on the host.
    type: path
    required: true
  python:
    description: The Python of an environment with PyTorch.
    type: path
    required: true
  data:
    description:
      - CIFAR-10's archive in its Python version, as a URL, a path on the host or an C(hdfs://) path.
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
  epochs:
    description: How many times the network sees the training images.
    type: int
    default: 10
  batch_size:
    description: Images in a batch. Left out, 4 for the digits and 32 for CIFAR-10.
    type: int
  learning_rate:
    description: Learning rate of stochastic gradient descent.
    type: float
    default: 0.001
  momentum:
    description: Momentum of stochastic gradient descent.
    type: float
    default: 0.9
  seed:
    description: Seed of everything random. The same seed on the same device type gives the same curve.
    type: int
    default: 0
  device:
    description: V(cuda) insists on a GPU, V(cpu) leaves GPUs alone, V(auto) takes a GPU if there is one.
    type: str
    choices: [auto, cuda, cpu]
    default: auto
  expected_gpus:
    description: GPUs that PyTorch has to see. Not looked at with O(device=cpu).
    type: int
    default: 0
  threads:
    description: CPU threads. V(0) leaves it to PyTorch.
    type: int
    default: 0
  minimum_accuracy:
    description: >-
      Share of the test images that must be classified right, between 0 and 1. Left out, 0.90 for the digits
      and 0.50 for CIFAR-10.
    type: float
  cache_dir:
    description: Folder that keeps the downloaded archive.
    type: path
  ca_file:
    description: Bundle of CA certificates in PEM form for the download.
    type: path
  timeout:
    description: Seconds after which the training is given up. A wedged GPU can hang it for ever.
    type: int
    default: 1800
attributes:
  check_mode:
    description: Trains nothing in check mode, and says so in RV(ansible_facts.training.result).
    support: full
  diff_mode:
    description: There is nothing to compare, because nothing is changed.
    support: N/A
  facts:
    description: What it returns becomes part of the host's facts, also where the host fails.
    support: full
  platform:
    description: Systems on which PyTorch runs.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
  - An environment with PyTorch, NumPy and scikit-learn
author:
  - The gpufleet authors (@gpufleet)
"""

EXAMPLES = r"""
- name: Train on the host
  gpufleet.workstation.training_check:
    program: /opt/gpufleet/bin/training_check.py
    python: /opt/gpufleet/envs/pytorch/current/bin/python
    data: hdfs://namenode.lab.example.org/datasets/cifar-10-python.tar.gz
    expected_gpus: 8
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: always
  type: dict
  contains:
    training:
      description: >-
        What the training showed. Only RV(ansible_facts.training.result) and its reason are there where it did
        not begin.
      type: dict
      contains:
        result: {description: "V(passed), V(failed) or V(not run: check mode).", type: str, sample: passed}
        reason: {description: Why it did not pass. Empty if it did., type: str, sample: ""}
        framework: {description: Framework that trained., type: str, sample: pytorch}
        dataset: {description: V(cifar10) or V(digits)., type: str, sample: digits}
        data:
          description: Where the images came from and why.
          type: str
          sample: "digits (scikit-learn, 1,797 images)"
        train_images: {description: Images trained on., type: int, sample: 1438}
        test_images: {description: Images tested on., type: int, sample: 359}
        accuracy: {description: Share of the test images classified right., type: float, sample: 0.975}
        minimum_accuracy: {description: Share that was asked for., type: float, sample: 0.9}
        loss_per_epoch: {description: Mean loss of each epoch., type: list, elements: float, sample: [2.19, 1.02, 0.47]}
        images_per_second: {description: Images trained on in each second., type: float, sample: 1952.4}
        seconds: {description: Seconds of training., type: float, sample: 7.4}
        device: {description: Device that trained., type: str, sample: "cuda:0"}
        device_name: {description: Name of the GPU. Null for the CPU., type: str, sample: Tesla V100-PCIE-32GB}
        parameters: {description: Parameters of the network., type: int, sample: 545098}
        epochs: {description: Epochs asked for., type: int, sample: 10}
        batch_size: {description: Images in a batch., type: int, sample: 4}
        seed: {description: Seed., type: int, sample: 0}
        versions:
          description: Versions of what took part.
          type: dict
          contains:
            python: {description: Python., type: str, sample: 3.11.2}
            torch: {description: PyTorch., type: str, sample: 2.10.0+cu128}
            cuda: {description: CUDA that PyTorch was built with. Null for a CPU build., type: str, sample: "12.8"}
            numpy: {description: NumPy., type: str, sample: 2.4.6}
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._training import broken_off, command, parse_result


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "python": {"type": "path", "required": True},
            "data": {"type": "str", "default": ""},
            "checksum": {"type": "str", "default": ""},
            "dataset": {"type": "str", "choices": ["auto", "cifar10", "digits"], "default": "auto"},
            "epochs": {"type": "int", "default": 10},
            "batch_size": {"type": "int"},
            "learning_rate": {"type": "float", "default": 0.001},
            "momentum": {"type": "float", "default": 0.9},
            "seed": {"type": "int", "default": 0},
            "device": {"type": "str", "choices": ["auto", "cuda", "cpu"], "default": "auto"},
            "expected_gpus": {"type": "int", "default": 0},
            "threads": {"type": "int", "default": 0},
            "minimum_accuracy": {"type": "float"},
            "cache_dir": {"type": "path"},
            "ca_file": {"type": "path"},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(ansible_facts={"training": {"result": "not run: check mode", "reason": ""}})
    host = Host()
    with tempfile.TemporaryDirectory(prefix="gpufleet-", dir=module.tmpdir) as folder:
        report = os.path.join(folder, "result.json")
        answer = host.run(command(module.params, report), module.params["timeout"])
        training = parse_result(host.read_text(report, quiet=True))
    if answer.error or training is None:
        sentence = broken_off(answer.error, answer.rc, answer.stdout + answer.stderr, module.params["python"])
        training = {"result": "failed", "reason": sentence}
    if training["result"] == "failed":
        module.fail_json(msg=training["reason"], ansible_facts={"training": training})
    module.exit_json(ansible_facts={"training": training})


if __name__ == "__main__":
    main()
