# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that a CUDA toolkit compiles a small kernel for a GPU, and that the kernel runs where there is one.

Private to the collection. The compiler is nvcc, or NVRTC where there is no nvcc: wheels have nvcc from CUDA 13 on.
"""

import ctypes
import glob
import os
import re
import struct
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

KERNEL = b"""extern "C" __global__ void add(const int *a, const int *b, int *sum, int n)
{
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) sum[i] = a[i] + b[i];
}
"""
ELF_MACHINE_CUDA = 190
NUMBERS = 256
COMPILE_SECONDS = 120
RUN_SECONDS = 60
BUSY = (2, 46)  # what the driver says: no memory is left; the GPU is another process's, or nobody's

_RELEASE = re.compile(r"\bV(\d+\.\d+\.\d+)\b")


class Busy(OSError):
    """The GPU has no room for a small kernel now."""


def sm(compute_capability: str) -> str:
    """Return the compiler's name for a compute capability: sm_70 for 7.0."""
    return "sm_" + compute_capability.replace(".", "")


def architecture_of(cubin: bytes) -> Optional[str]:
    """Return what a compiled kernel is for, as its own header says it; None for anything else than a kernel."""
    if cubin[:4] != b"\x7fELF" or len(cubin) < 64 or struct.unpack_from("<H", cubin, 18)[0] != ELF_MACHINE_CUDA:
        return None
    flags = struct.unpack_from("<I", cubin, 48)[0]
    newer = cubin[8] >= 8  # the version of the layout; CUDA 13 moved the number
    return f"sm_{flags >> 8 & 0xFFFF if newer else flags & 0xFF}"


def find_nvrtc(prefix: str) -> Optional[str]:
    """Return the path of the runtime compiler's library below a prefix."""
    found = sorted(glob.glob(os.path.join(prefix, "lib*", "libnvrtc.so.[0-9]*")))
    return found[0] if found else None


def prove(host, prefix: str, nvcc: str, capabilities: Sequence[str], scratch: str, run: bool) -> Dict[str, Any]:
    """Compile for every compute capability, and return the toolkit's release, its compiler and what was proven.

    C(ran) is None where nothing was to be run. Refused says what it cannot compile for, or what the GPU said.
    """
    library = None if os.path.exists(nvcc) else find_nvrtc(prefix)
    if library is None and not os.path.exists(nvcc):
        raise Refused(
            f"{prefix} has neither nvcc nor NVRTC; choose components that bring one, or install its packages again"
        )
    release = _release_of(host, nvcc) if library is None else _release_of_nvrtc(host, library)
    ran = 0
    for capability in capabilities:
        cubin = os.path.join(scratch, sm(capability) + ".cubin")
        if library is None:
            _compile_with_nvcc(host, nvcc, release, capability, cubin, scratch)
        else:
            _compile_with_nvrtc(host, library, release, capability, cubin)
        with open(cubin, "rb") as file:
            code = file.read()
        made = architecture_of(code)
        if made != sm(capability):
            raise Refused(f"CUDA {release} made {made or 'no kernel'} when it was asked for {sm(capability)}")
        ran += _run(host, code, capability) if run else 0
    return {
        "release": release,
        "compiler": "nvcc" if library is None else "nvrtc",
        "architectures": sorted(capabilities, key=float),
        "ran": ran if run else None,
    }


def _release_of(host, nvcc: str) -> str:
    result = host.run([nvcc, "--version"], timeout=COMPILE_SECONDS)
    match = _RELEASE.search(result.stdout)
    if not match:
        raise Refused(f"{nvcc} does not start: {result.error or _complaint(result.stderr)}")
    return match.group(1)


def _compile_with_nvcc(host, nvcc: str, release: str, capability: str, cubin: str, scratch: str) -> None:
    source = os.path.join(scratch, "add.cu")
    with open(source, "wb") as file:
        file.write(KERNEL)
    argv = [nvcc, "-cubin", f"-arch={sm(capability)}", "-o", cubin, source]
    result = host.run(argv, timeout=COMPILE_SECONDS, env={"TMPDIR": scratch})
    if result.error or result.rc:
        words = result.error or _complaint(result.stderr)
        raise Refused(f"CUDA {release} does not compile for {sm(capability)}: {words}")


def _release_of_nvrtc(host, library: str) -> str:
    def ask() -> bytes:
        major, minor = ctypes.c_int(), ctypes.c_int()
        _expect(ctypes.CDLL(library), "nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return b"%d.%d" % (major.value, minor.value)

    answer, error = host.in_child(ask, COMPILE_SECONDS)
    if answer is None:
        raise Refused(f"{library} does not load: {error}")
    return answer.decode()


def _compile_with_nvrtc(host, library: str, release: str, capability: str, cubin: str) -> None:
    def build() -> bytes:
        nvrtc, program, size = ctypes.CDLL(library), ctypes.c_void_p(), ctypes.c_size_t()
        options = (ctypes.c_char_p * 1)(b"--gpu-architecture=" + sm(capability).encode())
        _expect(nvrtc, "nvrtcCreateProgram", ctypes.byref(program), KERNEL, b"add.cu", 0, None, None)
        if nvrtc.nvrtcCompileProgram(program, 1, options) != 0:
            _expect(nvrtc, "nvrtcGetProgramLogSize", program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            _expect(nvrtc, "nvrtcGetProgramLog", program, log)
            raise OSError(_complaint(log.value.decode("utf-8", "replace")))
        _expect(nvrtc, "nvrtcGetCUBINSize", program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        _expect(nvrtc, "nvrtcGetCUBIN", program, code)
        with open(cubin, "wb") as file:
            file.write(code.raw)
        return b"made"

    answer, error = host.in_child(build, COMPILE_SECONDS)
    if answer is None:
        raise Refused(f"CUDA {release} does not compile for {sm(capability)}: {error}")


def _run(host, code: bytes, capability: str) -> int:
    """Run the kernel on every GPU of a compute capability and return their number."""
    answer, error = host.in_child(lambda: b"%d" % launch(ctypes.CDLL("libcuda.so.1"), code, capability), RUN_SECONDS)
    if answer is None:
        raise Refused(f"the kernel for {sm(capability)} compiles and does not run: {error}")
    return int(answer)


def launch(cuda: Any, code: bytes, capability: str) -> int:
    """Add numbers on every GPU of a compute capability; return how many did it, or raise for a wrong sum.

    A GPU that a job has for itself, or all of whose memory, is left to the job.
    """
    count = ctypes.c_int()
    _expect(cuda, "cuInit", 0)
    _expect(cuda, "cuDeviceGetCount", ctypes.byref(count))
    done = 0
    for number in range(count.value):
        device, major, minor, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        _expect(cuda, "cuDeviceGet", ctypes.byref(device), number)
        _expect(cuda, "cuDeviceGetAttribute", ctypes.byref(major), 75, device)
        _expect(cuda, "cuDeviceGetAttribute", ctypes.byref(minor), 76, device)
        if f"{major.value}.{minor.value}" != capability:
            continue
        try:
            _expect(cuda, "cuCtxCreate_v2", ctypes.byref(context), 0, device)
            sums = _add_on_device(cuda, code)
        except Busy:
            if context.value:
                _expect(cuda, "cuCtxDestroy_v2", context)
            continue
        if sums != [3 * value for value in range(NUMBERS)]:
            raise ValueError(f"GPU {number} adds wrongly")
        _expect(cuda, "cuCtxDestroy_v2", context)
        done += 1
    return done


def _add_on_device(cuda: Any, code: bytes) -> List[int]:
    block = ctypes.c_int * NUMBERS
    module, function, size = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t(ctypes.sizeof(block))
    _expect(cuda, "cuModuleLoadData", ctypes.byref(module), code)
    _expect(cuda, "cuModuleGetFunction", ctypes.byref(function), module, b"add")
    memory = [ctypes.c_uint64() for _name in ("a", "b", "sum")]
    for factor, place in zip((1, 2, 0), memory):
        _expect(cuda, "cuMemAlloc_v2", ctypes.byref(place), size)
        numbers = block(*(factor * value for value in range(NUMBERS)))
        _expect(cuda, "cuMemcpyHtoD_v2", place, numbers, size)
    values = [*memory, ctypes.c_int(NUMBERS)]
    arguments = (ctypes.c_void_p * 4)(*(ctypes.addressof(value) for value in values))
    _expect(cuda, "cuLaunchKernel", function, 1, 1, 1, NUMBERS, 1, 1, 0, None, arguments, None)
    _expect(cuda, "cuCtxSynchronize")
    sums = block()
    _expect(cuda, "cuMemcpyDtoH_v2", sums, memory[2], size)
    return list(sums)


def _expect(library: Any, function: str, *arguments: Any) -> None:
    """Call a function of a library of NVIDIA's, all of which return 0 for success."""
    status = getattr(library, function)(*arguments)
    if status != 0:
        raise (Busy if status in BUSY else OSError)(f"{function} says {status}")


def _complaint(text: str) -> str:
    """Return the line that says what is wrong, or the last; a compiler's last lines show where."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if re.search(r"\b(error|fatal)\b", line)), lines[-1])
