"""What a user can rely on once a host has its CUDA toolkits. NVIDIA's own cuobjdump reads what was compiled."""

import pytest

testinfra_hosts = ["ansible://workstations"]

V100 = ["ansible://v100"]
KERNEL = 'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2; }'
NVRTC = """
import ctypes, sys
nvrtc, program, size = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p(), ctypes.c_size_t()
options = (ctypes.c_char_p * 1)(b"--gpu-architecture=" + sys.argv[2].encode())
assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), sys.argv[3].encode(), b"k.cu", 0, None, None) == 0
assert nvrtc.nvrtcCompileProgram(program, 1, options) == 0
assert nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
code = ctypes.create_string_buffer(size.value)
assert nvrtc.nvrtcGetCUBIN(program, code) == 0
open(sys.argv[4], "wb").write(code.raw)
"""
PROGRAM = """
#include <cstdio>
#include <cuda_runtime.h>
__global__ void nothing() {}
int main() { nothing<<<1, 1>>>(); puts(cudaGetErrorString(cudaDeviceSynchronize())); }
"""


@pytest.fixture
def cuobjdump(host):
    """Return NVIDIA's own reader of compiled kernels, which is a wheel of its own."""
    folder = "/var/cache/gpufleet/cuobjdump"
    host.check_output(
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_CACHE_DIR=/var/cache/gpufleet/uv "
        "$(ls /opt/gpufleet/uv/*/bin/uv) pip install --quiet --no-deps --python python3 --target %s "
        "nvidia-cuda-cuobjdump==13.3.73",
        folder,
    )
    return folder + "/nvidia/cu13/bin/cuobjdump"


def is_v100(host):
    return "v100" in host.backend.get_hostname()


def test_cuda_12_compiles_for_the_v100_and_the_a100(host, cuobjdump):
    for arch in ("sm_70", "sm_80"):
        library = "/opt/gpufleet/cuda/12.9/current/lib64/libnvrtc.so"
        host.check_output("python3 -c %s %s %s %s /tmp/k.cubin", NVRTC, library, arch, KERNEL)
        assert f"sm={arch[3:]}," in host.check_output("%s -elf /tmp/k.cubin", cuobjdump)


def test_nvcc_is_in_the_path_of_login_shells_and_compiles(host, cuobjdump):
    if is_v100(host):
        assert host.run("bash -lc 'command -v ptxas'").stdout.strip() == "/usr/local/cuda/bin/ptxas"
        return
    assert host.check_output("bash -lc 'command -v nvcc'") == "/usr/local/cuda/bin/nvcc"
    host.check_output("printf %%s %s >/tmp/k.cu", KERNEL)
    host.check_output("bash -lc 'nvcc -cubin -arch=sm_80 -o /tmp/k.cubin /tmp/k.cu'")
    assert "sm=80," in host.check_output("%s -elf /tmp/k.cubin", cuobjdump)
    refused = host.run("bash -lc 'nvcc -cubin -arch=sm_70 -o /tmp/k.cubin /tmp/k.cu'")
    assert refused.rc != 0 and "Unsupported gpu architecture 'sm_70'" in refused.stderr


def test_a_whole_program_is_built_and_lacks_only_a_driver(host):
    if is_v100(host):
        assert host.run("bash -lc 'command -v nvcc'").rc != 0  # NVIDIA's wheels bring nvcc from CUDA 13 on
        return
    host.check_output("printf %%s %s >/tmp/p.cu", PROGRAM)
    host.check_output("bash -lc 'nvcc -arch=sm_80 -o /var/tmp/p /tmp/p.cu'")
    assert "driver version is insufficient" in host.run("/var/tmp/p").stdout


def test_the_default_is_what_the_plan_says(host):
    version = "12.9" if is_v100(host) else "13.0"
    assert host.check_output("readlink -f /usr/local/cuda").startswith(f"/opt/gpufleet/cuda/{version}/")
    assert host.check_output("update-alternatives --query cuda | grep ^Status") == "Status: manual"
    assert host.check_output("bash -lc 'echo $CUDA_HOME'") == "/usr/local/cuda"


def test_no_shell_gets_a_library_path(host):
    assert host.check_output("bash -lc 'echo ${LD_LIBRARY_PATH-unset}'") == "unset"


def test_the_planned_cudnn_and_nccl_load(host):
    code = "import ctypes, sys; print(getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])())"
    folder = "/usr/local/cuda/lib64/"
    if is_v100(host):
        assert host.check_output("python3 -c %s %slibcudnn.so cudnnGetVersion", code, folder) == "91002"
        assert host.run("grep -c NCCL_MAJOR /usr/local/cuda/include/nccl.h").rc == 0
    version = (
        "import ctypes; n = ctypes.c_int(); ctypes.CDLL('%slibnccl.so').ncclGetVersion(ctypes.byref(n)); print(n.value)"
    )
    assert host.check_output("python3 -c %s", version % folder) == "23203"


def test_an_ordinary_user_can_use_it(host):
    user = "setpriv --reuid=65534 --clear-groups"
    path = host.check_output(user + " sh -c '. /etc/profile.d/gpufleet-cuda.sh; echo $PATH'")
    assert path.startswith("/usr/local/cuda/bin:")
    tool = "ptxas" if is_v100(host) else "nvcc"
    assert "release" in host.check_output(f"{user} /usr/local/cuda/bin/{tool} --version")


def test_what_is_installed_is_locked_with_hashes(host):
    lock = host.file("/opt/gpufleet/cuda/12.9/current/gpufleet.lock").content_string
    assert "nvidia-cuda-nvrtc-cu12==12.9.86" in lock and "--hash=sha256:" in lock
