# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what a host can train: starts a worker for each piece, watches the clocks, gives up what hangs.

    probe    what the environment is and which devices there are
    run      train on each device alone, then on all of them together

Prints JSON, or writes it to a file. It measures only; the module training_check judges.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from training_check.common import BATCH_SIZE, ENVIRONMENT, die_with_parent

KILL_SECONDS = 2
SMI_SECONDS = 20
SAMPLE_SECONDS = 1.0
SAID_LIMIT = 4000
LEAST_SECONDS = 5
# Bits of the clocks' event reasons, as nvidia-smi's manual and nvml.h have them; 0x1 is idleness.
REASONS = {
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clocks_setting",
}
SAMPLED = ("clocks.sm", "power.draw", "power.limit", "power.default_limit", "temperature.gpu")


def parse_arguments(words):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="training_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["probe", "run"])
    parser.add_argument("--framework", choices=["pytorch", "tensorflow"], default="pytorch")
    parser.add_argument("--data", default="", help="CIFAR-10: URL, folder, file or hdfs:// path of its Python version")
    parser.add_argument("--checksum", default="", help="of that archive: sha256:... or md5:...; default: the published")
    parser.add_argument("--dataset", choices=["auto", "cifar10", "digits"], default="auto")
    parser.add_argument("--device", choices=["auto", "gpu", "cpu"], default="auto")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=0, help="of the plain loop; default: 4 digits, 32 CIFAR-10")
    parser.add_argument("--learning-rate", type=float, default=0.001, help="of the plain loop")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a worker; 0 leaves it to the framework")
    parser.add_argument("--cpu-workers", type=int, default=1, help="on a CPU: train with so many together as well")
    parser.add_argument("--no-fast", action="store_true", help="leave the fast loop out")
    parser.add_argument("--no-benchmark", action="store_true", help="leave the rates of the device out")
    parser.add_argument("--no-together", action="store_true", help="leave the training of all devices together out")
    parser.add_argument("--cache-dir", default="", help="folder that keeps the downloaded archive")
    parser.add_argument("--ca-file", default="", help="CA certificates for the download")
    parser.add_argument("--hdfs", default="hdfs", help="the command hdfs")
    parser.add_argument("--nvidia-smi", default="nvidia-smi")
    parser.add_argument("--time-limit", type=float, default=1800, help="seconds for everything")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this ends")
    parser.add_argument("--json", default="", metavar="FILE", help="write the result there")
    return parser.parse_args(words)


class Worker:
    """A process that does one piece of the check."""

    def __init__(self, folder, spec, environment):
        self.spec = dict(spec, notes=os.path.join(folder, "notes-{}.json".format(spec["name"])))
        self.said = os.path.join(folder, "said-{}.txt".format(spec["name"]))
        path = os.path.join(folder, "spec-{}.json".format(spec["name"]))
        with open(path, "w") as file:
            json.dump(self.spec, file)
        program = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from training_check import worker; worker.main(sys.argv[2])"
        )
        # Keras reads its home's settings and would write them into root's.
        settings = dict(os.environ, KERAS_HOME=folder, **environment)
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, program, path],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={name: value for name, value in settings.items() if value is not None},
            )

    def kill(self):
        """End it and all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass

    def outcome(self, limit, hung):
        """Return what became of it."""
        told = {"phase": "starting", "error": None, "result": {}}
        try:
            with open(self.spec["notes"]) as file:
                told.update(json.load(file))
        except (OSError, ValueError):
            pass
        with open(self.said, "rb") as file:
            said = file.read().decode("utf-8", "replace").strip()
        code = self.process.returncode
        told.update(
            hung=hung,
            limit=round(limit, 1),
            rc=code,
            signal=None if hung or code is None or code >= 0 else signal.Signals(-code).name,
            said=said[-SAID_LIMIT:],
        )
        if code is None:
            self.process.returncode = -signal.SIGKILL  # or the interpreter would wait for it at its own end
        return told


def run_worker(folder, spec, limit, environment=None):
    """Run one worker for at most ``limit`` seconds and return what became of it."""
    return run_workers(folder, [spec], limit, environment)[0]


def run_workers(folder, specs, limit, environment=None):
    """Run workers at the same time. Where one fails, the others, which would wait for it, are ended with it."""
    deadline = time.monotonic() + limit
    environment = dict(ENVIRONMENT, **(environment or {}))
    workers = [Worker(folder, dict(spec, limit=limit), environment) for spec in specs]
    hung = [False] * len(workers)
    while any(worker.process.poll() is None for worker in workers):
        broken = any(failed(worker) for worker in workers)
        if time.monotonic() > deadline or broken:
            for number, worker in enumerate(workers):
                if worker.process.poll() is None:
                    hung[number] = not broken
                    worker.kill()
            # A wedged driver can keep one from ending; it is left behind then.
            end = time.monotonic() + KILL_SECONDS
            while any(worker.process.poll() is None for worker in workers) and time.monotonic() < end:
                time.sleep(0.02)
            break
        time.sleep(0.02)
    return [worker.outcome(limit, late) for worker, late in zip(workers, hung)]


def failed(worker):
    """Say whether a worker has ended without being done."""
    if worker.process.poll() is None:
        return False
    try:
        with open(worker.spec["notes"]) as file:
            told = json.load(file)
    except (OSError, ValueError):
        return True
    return worker.process.returncode != 0 or bool(told["error"])


def smi(program, words):
    """Return what nvidia-smi says, and None, or nothing and why."""
    if not shutil.which(program):
        return "", f"there is no {program}"
    try:
        process = subprocess.Popen(
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(os.environ, LC_ALL="C"),
        )
    except OSError as error:
        return "", f"{program}: {error.strerror}"
    box = []
    reader = threading.Thread(target=lambda: box.append(process.communicate()[0]), daemon=True)
    reader.start()
    reader.join(SMI_SECONDS)
    if not box:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            pass
        process.returncode = -signal.SIGKILL
        return "", f"nvidia-smi did not answer within {SMI_SECONDS} s"
    said = box[0].decode("utf-8", "replace").strip()
    if process.returncode:
        return "", " ".join(said.split())[:300] or f"nvidia-smi ended with status {process.returncode}"
    return said, None


def parse_list(text):
    """Return the devices that ``nvidia-smi -L`` names: GPUs, and in place of one in MIG mode its MIG devices."""
    devices, parent = [], None
    for line in text.splitlines():
        gpu = re.match(r"GPU (\d+): (.+?) \(UUID: (GPU-[^)]+)\)", line)
        mig = re.match(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)", line)
        if gpu:
            parent = {
                "kind": "gpu",
                "id": gpu.group(3),
                "index": int(gpu.group(1)),
                "name": gpu.group(2),
                "parent": gpu.group(3),
                "label": f"GPU {gpu.group(1)}",
            }
            devices.append(parent)
        elif mig and parent:
            if parent in devices:
                devices.remove(parent)
            devices.append(
                {
                    "kind": "mig",
                    "id": mig.group(3),
                    "index": parent["index"],
                    "name": "{} MIG {}".format(parent["name"], mig.group(1)),
                    "parent": parent["id"],
                    "label": "GPU {} MIG {}".format(parent["index"], mig.group(2)),
                }
            )
    return devices


def mark_traits(devices, program):
    """Add the PCI address of each device's GPU, and whether it is in MIG mode, where nvidia-smi tells."""
    said, _error = smi(program, ["--query-gpu=uuid,pci.bus_id,mig.mode.current", "--format=csv,noheader"])
    traits = {}
    for line in said.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3:
            traits[fields[0]] = fields[1:]
    for device in devices:
        address, mode = traits.get(device["parent"], (None, None))
        device["pci_address"] = normal_address(address)
        device["mig_mode"] = {"Enabled": True, "Disabled": False}.get(mode)


def normal_address(address):
    """Return a PCI address as the kernel writes it."""
    match = re.match(r"(?:([0-9A-Fa-f]+):)?([0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])$", address or "")
    return "{:04x}:{}".format(int(match.group(1) or "0", 16), match.group(2).lower()) if match else None


def probe(options, folder):
    """Return what the environment is, and the devices."""
    # What nvidia-smi may take has to be left; on a CPU it is not asked.
    left = options.time_limit - (0 if options.device == "cpu" else 2 * SMI_SECONDS)
    limit = max(options.time_limit / 2, left)
    spec = {"name": "probe", "work": "probe", "framework": options.framework}
    outcome = run_worker(folder, spec, limit, visible(CPU, []) if options.device == "cpu" else None)
    if options.device == "cpu":
        return {"environment": outcome, "devices": [], "smi_error": None}
    said, error = smi(options.nvidia_smi, ["-L"])
    devices = parse_list(said)
    if devices:
        mark_traits(devices, options.nvidia_smi)
    else:
        for gpu in outcome["result"].get("gpus") or []:
            devices.append(
                {
                    "kind": "gpu",
                    "id": str(gpu["index"]),
                    "index": gpu["index"],
                    "name": gpu["name"],
                    "parent": None,
                    "label": "GPU {}".format(gpu["index"]),
                    "pci_address": None,
                    "mig_mode": None,
                }
            )
    return {"environment": outcome, "devices": devices, "smi_error": error}


def users(program, device):
    """Return the processes that compute on a GPU now, those of MPS's daemon left out; none where nobody tells."""
    if device["kind"] != "gpu" or not device["parent"]:
        return set()
    words = ["--id=" + device["parent"], "--query-compute-apps=pid,process_name", "--format=csv,noheader"]
    said, _error = smi(program, words)
    rows = [line.partition(",") for line in said.splitlines()]
    return {int(pid) for pid, _comma, name in rows if pid.strip().isdigit() and "nvidia-cuda-mps" not in name}


class Sampler:
    """Watches a GPU's clocks, power and temperature while it trains."""

    def __init__(self, program, device):
        self.program, self.device = program, device
        self.samples, self.error = [], None
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        if self.device.get("parent"):
            self.thread.start()
        else:
            self.error = "nvidia-smi did not name the GPU" if self.device["kind"] != "cpu" else None
        return self

    def __exit__(self, *_error):
        self.end.set()

    def watch(self):
        """Ask every second; drivers before 535 know the reasons by their old name."""
        names = ["clocks_event_reasons.active", "clocks_throttle_reasons.active"]
        while not self.end.wait(SAMPLE_SECONDS):
            said, error = smi(
                self.program,
                [
                    "--id=" + self.device["parent"],
                    "--query-gpu=" + ",".join((names[0], *SAMPLED)),
                    "--format=csv,noheader,nounits",
                ],
            )
            if error and len(names) > 1 and "not a valid field" in error:
                names.pop(0)
                continue
            if error:
                self.error = error
                return
            sample = parse_sample(said)
            if sample:
                self.samples.append(sample)

    def summary(self):
        """Return what the samples show."""
        return summarise(self.samples, self.error)


def parse_sample(line):
    """Return one line of nvidia-smi's answer as numbers, None for what the GPU does not tell."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 1 + len(SAMPLED):
        return None
    try:
        mask = int(fields[0], 16)
    except ValueError:
        return None
    sample = {"reasons": [name for bit, name in sorted(REASONS.items()) if mask & bit]}
    for name, field in zip(SAMPLED, fields[1:]):
        try:
            sample[name] = float(field)
        except ValueError:
            sample[name] = None
    return sample


def summarise(samples, error):
    """Return the share of samples with each reason, and the figures that a person asks for."""

    def known(name):
        return [sample[name] for sample in samples if sample[name] is not None]

    counts = {}
    for sample in samples:
        for reason in sample["reasons"]:
            counts[reason] = counts.get(reason, 0) + 1
    clock, power, heat = known("clocks.sm"), known("power.draw"), known("temperature.gpu")
    return {
        "samples": len(samples),
        "error": error,
        "reasons": sorted(counts),
        "shares": {reason: round(count / float(len(samples)), 3) for reason, count in sorted(counts.items())},
        "sm_mhz": round(sum(clock) / len(clock), 1) if clock else None,
        "power_watts": max(power) if power else None,
        "power_limit_watts": (known("power.limit") or [None])[-1],
        "power_default_limit_watts": (known("power.default_limit") or [None])[-1],
        "temperature_celsius": max(heat) if heat else None,
    }


def free_port():
    """Return a port of the loopback that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def visible(device, devices):
    """Return the environment that shows a worker its device and no other."""
    if device["kind"] == "cpu":
        return {"CUDA_VISIBLE_DEVICES": "-1"}
    return {"CUDA_VISIBLE_DEVICES": ",".join(one["id"] for one in devices)}


CPU = {
    "kind": "cpu",
    "id": "cpu",
    "index": 0,
    "name": None,
    "parent": None,
    "label": "the CPU",
    "pci_address": None,
    "mig_mode": None,
}


def chosen(options, devices):
    """Return the devices that train."""
    usable = [device for device in devices if not (device["kind"] == "gpu" and device["mig_mode"])]
    if options.device == "cpu" or (options.device == "auto" and not usable):
        return [dict(CPU)]
    return usable


def run(options, folder, devices):
    """Train on each device alone and on all of them together; return what was measured."""
    end = time.monotonic() + options.time_limit
    arrays = os.path.join(folder, "arrays.npz")
    spec = {
        "name": "data",
        "work": "data",
        "arrays": arrays,
        "data": options.data,
        "checksum": options.checksum,
        "dataset": options.dataset,
        "cache_dir": options.cache_dir,
        "ca_file": options.ca_file,
        "hdfs": options.hdfs,
    }
    measured = {"data": run_worker(folder, spec, max(LEAST_SECONDS, options.time_limit / 2)), "devices": []}
    measured["together"] = None
    dataset = (measured["data"]["result"].get("data") or {}).get("name")
    if not dataset:
        return measured
    spec = {
        "work": "train",
        "framework": options.framework,
        "arrays": arrays,
        "dataset": dataset,
        "epochs": options.epochs,
        "batch_size": options.batch_size or BATCH_SIZE[dataset],
        "learning_rate": options.learning_rate,
        "momentum": options.momentum,
        "seed": options.seed,
        "threads": options.threads,
        "fast": not options.no_fast,
        "benchmark": not options.no_benchmark,
    }
    measured["training"] = {name: spec[name] for name in ("epochs", "batch_size", "seed", "learning_rate", "momentum")}
    joint = joint_specs(options, devices, spec)
    for number, device in enumerate(devices):
        others = users(options.nvidia_smi, device)
        left = end - time.monotonic()
        # A device that hangs may not eat the time of the others.
        limit = max(LEAST_SECONDS, left / (len(devices) - number + bool(joint)))
        if left < LEAST_SECONDS:
            nothing = {"device": device, "outcome": None, "clocks": summarise([], None), "others": []}
            measured["devices"].append(nothing)
            continue
        with Sampler(options.nvidia_smi, device) as sampler:
            outcome = run_worker(
                folder,
                dict(spec, name=f"train-{number}", kind=device["kind"], index=0),
                limit,
                visible(device, [device]),
            )
        if not trouble(outcome):
            others |= users(options.nvidia_smi, device)
        measured["devices"].append(
            {"device": device, "outcome": outcome, "clocks": sampler.summary(), "others": sorted(others)}
        )
    if joint:
        left = end - time.monotonic()
        count = joint[0]["world"]
        whole = all(entry["outcome"] and not trouble(entry["outcome"]) for entry in measured["devices"])
        if not whole:
            measured["together"] = {"count": count, "outcomes": [], "skipped": "not every device trains alone"}
        elif left < LEAST_SECONDS:
            measured["together"] = {"count": count, "outcomes": [], "skipped": "the time was over"}
        else:
            # Asked for only now: a port that was free when the first device began may be taken.
            port = free_port()
            joint = [dict(one, port=port) for one in joint]
            outcomes = run_workers(folder, joint, left, visible(devices[0], devices))
            measured["together"] = {"count": count, "outcomes": outcomes, "skipped": None}
    return measured


def trouble(outcome):
    """Say whether a worker was not done."""
    return outcome["hung"] or outcome["rc"] != 0 or bool(outcome["error"])


def joint_specs(options, devices, spec):
    """Return the workers that train together: a process for each device with PyTorch, one for all with TensorFlow."""
    kind = devices[0]["kind"] if devices else "cpu"
    count = options.cpu_workers if kind == "cpu" else len(devices)
    if options.no_together or count < 2 or any(device["kind"] == "mig" for device in devices):
        return []
    whole = dict(spec, work="together", kind=kind, world=count)
    if options.framework == "tensorflow":
        return [dict(whole, name="together", rank=0, index=0)]
    return [dict(whole, name=f"together-{rank}", rank=rank, index=rank) for rank in range(count)]


def main(words):
    """Measure, and tell it as JSON."""
    options = parse_arguments(words)
    if options.with_parent:
        die_with_parent()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpufleet-training-") as folder:
        measured = {"framework": options.framework}
        if options.command == "probe":
            measured["probe"] = probe(options, folder)
        else:
            said, _error = smi(options.nvidia_smi, ["-L"]) if options.device != "cpu" else ("", None)
            devices = parse_list(said)
            if devices:
                mark_traits(devices, options.nvidia_smi)
            elif options.device != "cpu":
                devices = probe(options, folder)["devices"]
            options.time_limit -= time.monotonic() - begin
            measured.update(run(options, folder, chosen(options, devices)))
    measured["seconds"] = round(time.monotonic() - begin, 3)
    text = json.dumps(measured, indent=2, sort_keys=True)
    if options.json:
        with open(options.json, "w") as file:
            file.write(text)
    else:
        print(text)
    return 0
