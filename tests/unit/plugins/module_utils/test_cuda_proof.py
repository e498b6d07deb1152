# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a compiled kernel says of itself, and what is asked of the driver. No GPU is used: the driver is a stand-in."""

import ctypes
import struct

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _cuda_proof as proof
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused


def elf(flags, abi=7, machine=190):
    """Return the header of a compiled kernel, as cuobjdump -elf shows it of real ones."""
    header = bytearray(64)
    header[:4], header[8] = b"\x7fELF", abi
    struct.pack_into("<H", header, 18, machine)
    struct.pack_into("<I", header, 48, flags)
    return bytes(header)


@pytest.mark.parametrize(
    ("code", "architecture"),
    [
        (elf(0x460546), "sm_70"),  # NVRTC 12.9
        (elf(0x500550), "sm_80"),  # NVRTC 12.9
        (elf(0x6005004, abi=8), "sm_80"),  # nvcc 13.0
        (elf(0x6007804, abi=8), "sm_120"),
        (elf(0x460546, machine=62), None),
        (elf(0x460546)[:40], None),
        (b"", None),
        (b".version 8.8", None),
    ],
)
def test_a_kernel_says_what_it_is_for(code, architecture):
    assert proof.architecture_of(code) == architecture


class Driver:
    """Stands in for libcuda.so: GPUs of some compute capabilities, the first of which may add wrongly."""

    def __init__(self, capabilities, wrong=False, refuses=None, status=209):
        self.capabilities, self.wrong, self.refuses, self.status = capabilities, wrong, refuses, status
        self.memory, self.contexts, self.launches = {}, 0, 0

    def __getattr__(self, name):
        if name.startswith("do_"):
            raise AttributeError(name)

        def call(*arguments):
            if name == self.refuses:
                return self.status
            return getattr(self, "do_" + name, lambda *_arguments: 0)(*arguments)

        return call

    def do_cuDeviceGetCount(self, count):
        count._obj.value = len(self.capabilities)
        return 0

    def do_cuDeviceGet(self, device, number):
        device._obj.value = number
        return 0

    def do_cuDeviceGetAttribute(self, value, attribute, device):
        major, minor = self.capabilities[device.value].split(".")
        value._obj.value = int({75: major, 76: minor}[attribute])
        return 0

    def do_cuCtxCreate_v2(self, context, _flags, _device):
        self.contexts += 1
        context._obj.value = self.contexts
        return 0

    def do_cuCtxDestroy_v2(self, _context):
        self.contexts -= 1
        return 0

    def do_cuMemAlloc_v2(self, place, size):
        place._obj.value = len(self.memory) + 1
        self.memory[place._obj.value] = [0] * (size.value // 4)
        return 0

    def do_cuMemcpyHtoD_v2(self, place, numbers, _size):
        self.memory[place.value] = list(numbers)
        return 0

    def do_cuLaunchKernel(self, _function, *rest):
        values = rest[8]
        a, b, sums = (ctypes.cast(values[n], ctypes.POINTER(ctypes.c_uint64)).contents.value for n in range(3))
        count = ctypes.cast(values[3], ctypes.POINTER(ctypes.c_int)).contents.value
        assert rest[:6] == (1, 1, 1, count, 1, 1)
        self.memory[sums] = [x + y + self.wrong for x, y in zip(self.memory[a], self.memory[b])]
        self.launches += 1
        return 0

    def do_cuMemcpyDtoH_v2(self, numbers, place, _size):
        for number, value in enumerate(self.memory[place.value]):
            numbers[number] = value
        return 0


def test_the_kernel_runs_on_every_gpu_it_was_compiled_for_and_on_no_other():
    driver = Driver(["7.0", "8.0", "7.0"])
    assert proof.launch(driver, b"", "7.0") == 2
    assert (driver.launches, driver.contexts) == (2, 0)


def test_a_gpu_that_adds_wrongly_is_named():
    with pytest.raises(ValueError, match="GPU 0 adds wrongly"):
        proof.launch(Driver(["8.0"], wrong=True), b"", "8.0")


def test_what_the_driver_refuses_is_named():
    with pytest.raises(OSError, match="cuModuleLoadData says 209"):
        proof.launch(Driver(["8.0"], refuses="cuModuleLoadData"), b"", "8.0")


@pytest.mark.parametrize(("refuses", "status"), [("cuCtxCreate_v2", 46), ("cuCtxCreate_v2", 2), ("cuMemAlloc_v2", 2)])
def test_a_gpu_whose_memory_or_whole_self_belongs_to_a_job_is_left_to_it(refuses, status):
    driver = Driver(["7.0", "7.0"], refuses=refuses, status=status)
    assert proof.launch(driver, b"", "7.0") == 0
    assert (driver.launches, driver.contexts) == (0, 0)


GCC_TOO_NEW = """In file included from /usr/local/cuda-11.8/bin/../targets/x86_64-linux/include/cuda_runtime.h:83,
                 from <command-line>:
/usr/local/cuda-11.8/include/crt/host_config.h:132:2: error: #error -- unsupported GNU version! gcc versions later \
than 11 are not supported!
  132 | #error -- unsupported GNU version! gcc versions later than 11 are not supported!
      |  ^~~~~
"""


class Compiler(Host):
    """A host whose nvcc says its version, and then only why it cannot compile."""

    def run(self, argv, timeout, env=None, pass_fds=()):
        if "--version" in argv:
            return Result(0, "Cuda compilation tools, release 11.8, V11.8.89\n", "", None)
        return Result(1, "", GCC_TOO_NEW, None)


def test_why_nvcc_does_not_compile_is_said_and_not_where(tmp_path):
    with pytest.raises(Refused, match=r"^CUDA 11\.8\.89 does not compile for sm_70: .*gcc versions later than 11 are"):
        proof.prove(Compiler(), "/", "/bin/sh", ["7.0"], str(tmp_path), False)
