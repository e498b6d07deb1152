# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program does with PyTorch, 1.8 and later: probe, plain loop, fast loop, benchmarks, all devices together."""

import hashlib
import time

from training_check.common import CLASSES, FAST, best_rate, finish, matrix_size

GPU = "cuda"
ORDER = ("plain", "fast", "benchmark")


def versions():
    """Return the versions of PyTorch and of what it was built with."""
    import torch

    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
    return {"framework": str(torch.__version__), "cuda": torch.version.cuda, "cudnn": str(cudnn) if cudnn else None}


def architectures():
    """Return the GPU architectures that this build carries code for; works without a GPU."""
    import torch

    return (getattr(torch._C, "_cuda_getArchFlags", lambda: "")() or "").split()


def round_trip(array):
    """Return an array after its way through PyTorch."""
    import torch

    return torch.from_numpy(array).clone().numpy()


def gpus():
    """Yield the GPUs that PyTorch sees; it counts some that it cannot ask, and says why of the first of them."""
    import torch

    if not torch.version.cuda:
        return
    for index in range(torch.cuda.device_count()):
        traits = torch.cuda.get_device_properties(index)
        yield {
            "index": index,
            "name": traits.name,
            "capability": f"{traits.major}.{traits.minor}",
            "memory_bytes": traits.total_memory,
            "multiprocessors": traits.multi_processor_count,
        }
    torch.cuda.init()  # where there is none, says why


def prepare(spec):
    """Set what holds for the whole process: seed, threads, exact arithmetic; return the device."""
    import torch

    if spec.get("threads"):
        torch.set_num_threads(spec["threads"])
    device = torch.device("cpu" if spec["kind"] == "cpu" else f"cuda:{spec.get('index', 0)}")
    if device.type == GPU:
        torch.cuda.set_device(device)
    exact(True)
    return device


def exact(wanted):
    """Choose arithmetic that gives every twin the same curve, or the fast one."""
    import torch

    torch.backends.cudnn.benchmark = not wanted
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.allow_tf32 = not wanted
    torch.backends.cuda.matmul.allow_tf32 = not wanted
    try:
        torch.use_deterministic_algorithms(wanted, warn_only=True)
    except (AttributeError, TypeError):
        pass  # before 1.11


def where(device):
    """Return what a result says about the device that trained."""
    import torch

    if device.type != GPU:
        return {"trained_on": "cpu", "name": None, "capability": None, "memory_bytes": None, "multiprocessors": None}
    traits = torch.cuda.get_device_properties(device)
    return {
        "trained_on": GPU,
        "name": traits.name,
        "capability": f"{traits.major}.{traits.minor}",
        "memory_bytes": traits.total_memory,
        "multiprocessors": traits.multi_processor_count,
    }


def make_network():
    """Return the classic small network: two convolutions, two fully connected layers; 545,098 parameters."""
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


def tensors(data, device=None):
    """Return the four arrays as tensors, the images normalised, on a device."""
    import torch

    (train, train_labels, test, test_labels), mean, spread = data
    ready = []
    for images, labels in ((train, train_labels), (test, test_labels)):
        ready.append(((torch.from_numpy(images).to(device).float() / 255) - mean) / spread)
        ready.append(torch.from_numpy(labels).to(device))
    return ready


def accuracy_of(network, images, labels):
    """Return the share of images that a network classifies right."""
    import torch

    network.eval()
    right = 0
    with torch.no_grad():
        for begin in range(0, len(images), 512):
            answers = network(images[begin : begin + 512].contiguous(memory_format=torch.contiguous_format))
            right += int((answers.argmax(1) == labels[begin : begin + 512]).sum())
    return right / float(len(images))


def wait(device):
    """Wait until a device has done what it was asked."""
    import torch

    if device.type == GPU:
        torch.cuda.synchronize(device)


def plain(spec, data, device, note):
    """Train as the textbook does: batches from a DataLoader, one step at a time."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(spec["seed"])
    train, train_labels, test, test_labels = tensors(data)
    pinned = device.type == GPU
    loader = DataLoader(
        TensorDataset(train, train_labels),
        spec["batch_size"],
        shuffle=True,
        pin_memory=pinned,
        generator=torch.Generator().manual_seed(spec["seed"]),
    )
    network = make_network().to(device)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=spec["learning_rate"], momentum=spec["momentum"])
    losses, times = [], []
    for epoch in range(spec["epochs"]):
        note(f"in epoch {epoch + 1} of the plain loop")
        begin = time.perf_counter()
        network.train()
        total = torch.zeros((), device=device)
        for images, labels in loader:
            optimizer.zero_grad()
            answers = network(images.to(device, non_blocking=pinned))
            loss = criterion(answers, labels.to(device, non_blocking=pinned))
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(labels)
        losses.append(float(total) / len(train))
        times.append(time.perf_counter() - begin)
    note("testing the network")
    accuracy = accuracy_of(network, test.to(device), test_labels.to(device))
    result = finish(len(train), losses, accuracy, times)
    result["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    return result


class Stepper:
    """One step of the fast loop: the batch is chosen on the device, and nothing waits for the host.

    Works on the sum of the gradients times a fixed scale, which keeps half precision from underflow, and steps by
    hand, so that a CUDA graph can hold all of it.
    """

    SCALE = 128.0

    def __init__(self, network, images, labels, batch, momentum, precision):
        import torch

        self.network, self.images, self.labels, self.momentum = network, images, labels, momentum
        self.precision = precision
        self.scale = self.SCALE if precision == "fp16" else 1.0
        device = images.device
        self.index = torch.zeros(batch, dtype=torch.long, device=device)
        self.rate = torch.zeros((), device=device)
        self.total = torch.zeros((), device=device)
        self.velocities = [torch.zeros_like(parameter) for parameter in network.parameters()]
        self.criterion = torch.nn.CrossEntropyLoss()
        self.graph = None

    def cast(self):
        """Return the context that computes in the chosen precision."""
        import torch

        kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        if kind is None:
            return torch.autograd.set_grad_enabled(True)
        if hasattr(torch, "autocast"):
            return torch.autocast(GPU, dtype=kind)
        return torch.cuda.amp.autocast()

    def compute(self):
        """Do one step."""
        import torch

        images = self.images.index_select(0, self.index)
        labels = self.labels.index_select(0, self.index)
        with self.cast():
            loss = self.criterion(self.network(images), labels)
        (loss * self.scale if self.scale != 1 else loss).backward()
        with torch.no_grad():
            self.total.add_(loss.detach().float())
            for parameter, velocity in zip(self.network.parameters(), self.velocities):
                velocity.mul_(self.momentum).add_(parameter.grad, alpha=1 / self.scale)
                parameter.sub_(velocity * self.rate)
                parameter.grad.zero_()

    def capture(self):
        """Put the step into a CUDA graph, after three steps at a rate of 0 that choose kernels and make buffers."""
        import torch

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _turn in range(3):
                self.compute()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.compute()
        for velocity in self.velocities:
            velocity.zero_()
        self.total.zero_()
        self.graph = graph

    def step(self, index):
        """Train on one batch."""
        self.index.copy_(index)
        if self.graph is not None:
            self.graph.replay()
        else:
            self.compute()


def fast(spec, data, device, note):
    """Train with the data on the device, channels last, in the precision that the device is fast in, by graph."""
    import torch

    note("preparing the fast loop")
    batch, rate = FAST[spec["dataset"]]
    torch.manual_seed(spec["seed"])
    exact(False)
    train, train_labels, test, test_labels = tensors(data, device)
    capability = torch.cuda.get_device_capability(device) if device.type == GPU else (0, 0)
    precision = "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    network = make_network().to(device).to(memory_format=torch.channels_last)
    train = train.contiguous(memory_format=torch.channels_last)
    batch = min(batch, len(train))
    stepper = Stepper(network.train(), train, train_labels, batch, spec["momentum"], precision)
    graph = device.type == GPU and hasattr(torch.cuda, "CUDAGraph")
    if graph:
        note("capturing the graph of the fast loop")
        stepper.capture()
    steps = len(train) // batch
    losses, times = [], []
    for epoch in range(spec["epochs"]):
        note(f"in epoch {epoch + 1} of the fast loop")
        begin = time.perf_counter()
        order = torch.randperm(len(train), device=device)
        stepper.total.zero_()
        stepper.rate.fill_(rate * min(1.0, (epoch + 1) / 2.0))
        for number in range(steps):
            stepper.step(order[number * batch : (number + 1) * batch])
        losses.append(float(stepper.total) / steps)
        times.append(time.perf_counter() - begin)
    note("testing the network of the fast loop")
    accuracy = accuracy_of(network, test, test_labels)
    exact(True)
    result = finish(steps * batch, losses, accuracy, times)
    result.update(batch_size=batch, precision=precision, graph=graph)
    return result


def matmul(device, precision, seconds):
    """Return TFLOP/s of multiplying square matrices."""
    import torch

    kind = {"fp16": torch.float16}.get(precision, torch.float32)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    size = matrix_size(device.type)
    left = torch.randn(size, size, device=device).to(kind)
    right = torch.randn(size, size, device=device).to(kind)
    out = torch.empty(size, size, device=device, dtype=kind)
    rate = best_rate(lambda: torch.mm(left, right, out=out), lambda: wait(device), seconds)
    torch.backends.cuda.matmul.allow_tf32 = False
    return 2.0 * size**3 * rate / 1e12


def memory_rate(device, seconds):
    """Return GB/s of copying within the device's memory, reading and writing counted."""
    import torch

    size = 1 << 25
    if device.type == GPU:
        size = min(1 << 30, torch.cuda.get_device_properties(device).total_memory // 8)
    source = torch.empty(size, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    return 2.0 * size * best_rate(lambda: target.copy_(source), lambda: wait(device), seconds) / 1e9


def benchmark(spec, device, note):
    """Return the rates of the device by themselves."""
    import torch

    seconds = spec.get("benchmark_seconds", 1.0)
    capability = torch.cuda.get_device_capability(device) if device.type == GPU else (0, 0)
    rates = {"fp32": None, "tf32": None, "fp16": None}
    for precision, least in (("fp32", (0, 0)), ("tf32", (8, 0)), ("fp16", (7, 0))):
        if capability >= least:
            note(f"multiplying matrices in {precision}")
            rates[precision] = matmul(device, precision, seconds)
    note("copying memory")
    return {"matmul_tflops": rates, "memory_gb_per_second": memory_rate(device, seconds)}


def together(spec, data, note):
    """Train as one of several processes that exchange gradients; this is rank ``spec["rank"]``."""
    import datetime

    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    device = prepare(spec)
    rank, count = spec["rank"], spec["world"]
    backend = "nccl" if device.type == GPU else "gloo"
    note(f"joining the others over {backend}")
    distributed.init_process_group(
        backend,
        init_method="tcp://127.0.0.1:{}".format(spec["port"]),
        rank=rank,
        world_size=count,
        timeout=datetime.timedelta(seconds=max(10, spec["limit"])),
    )
    note("adding up across the devices")
    size = 1 << (26 if device.type == GPU else 20)
    payload = torch.full((size,), float(rank + 1), device=device)
    distributed.all_reduce(payload)
    wait(device)
    sum_right = bool((payload == count * (count + 1) / 2.0).all())
    payload.fill_(1.0 / count)
    rounds = 20
    wait(device)
    begin = time.perf_counter()
    for _turn in range(rounds):
        distributed.all_reduce(payload)
    wait(device)
    rate = 4.0 * size * rounds / (time.perf_counter() - begin) * 2 * (count - 1) / count / 1e9
    batch, learning_rate = FAST[spec["dataset"]]
    torch.manual_seed(spec["seed"])
    train, train_labels, test, test_labels = tensors(data, device)
    share = max(1, min(batch, len(train)) // count)
    network = DistributedDataParallel(make_network().to(device), [device.index] if device.type == GPU else None)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate / 2, momentum=spec["momentum"])
    steps = len(train) // (share * count)
    chance = torch.Generator().manual_seed(spec["seed"])
    losses, times = [], []
    for epoch in range(spec["epochs"]):
        note(f"in epoch {epoch + 1} of training together")
        begin = time.perf_counter()
        if epoch == 1:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
        network.train()
        order = torch.randperm(len(train), generator=chance)[rank::count].to(device)
        total = torch.zeros((), device=device)
        for number in range(steps):
            index = order[number * share : (number + 1) * share]
            optimizer.zero_grad()
            loss = criterion(network(train[index]), train_labels[index])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        losses.append(float(total) / steps)
        times.append(time.perf_counter() - begin)
    note("testing the network trained together")
    mark = hashlib.sha256()
    for parameter in network.module.parameters():
        mark.update(parameter.detach().cpu().numpy().tobytes())
    result = finish(steps * share * count, losses, accuracy_of(network.module, test, test_labels), times)
    result.update(
        where(device),
        backend=backend,
        sum_right=sum_right,
        all_reduce_gb_per_second=rate,
        network_sha256=mark.hexdigest(),
    )
    note("leaving the others")
    distributed.barrier()
    distributed.destroy_process_group()
    return result
