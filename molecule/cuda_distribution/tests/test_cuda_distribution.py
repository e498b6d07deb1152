"""What a user can rely on once Debian's own CUDA toolkit is installed. Its cuobjdump reads what its nvcc compiled."""

import pytest

testinfra_hosts = ["ansible://workstations"]

KERNEL = 'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2; }'
PROGRAM = """
#include <cstdio>
#include <cuda_runtime.h>
__global__ void nothing() {}
int main() { nothing<<<1, 1>>>(); puts(cudaGetErrorString(cudaDeviceSynchronize())); }
"""


@pytest.mark.parametrize("arch", ["sm_70", "sm_80"])
def test_nvcc_compiles_for_the_v100_and_the_a100(host, arch):
    host.check_output("printf %%s %s >/tmp/k.cu", KERNEL)
    host.check_output("bash -lc 'nvcc -cubin -arch=%s -o /tmp/k.cubin /tmp/k.cu'" % arch)  # noqa: UP031
    assert f"code for {arch}" in host.check_output("cuobjdump -sass /tmp/k.cubin")


def test_a_whole_program_is_built_and_lacks_only_a_driver(host):
    host.check_output("printf %%s %s >/tmp/p.cu", PROGRAM)
    host.check_output("bash -lc 'nvcc -arch=sm_70 -o /var/tmp/p /tmp/p.cu'")
    said = host.run("/var/tmp/p").stdout
    assert "driver version is insufficient" in said or "no CUDA-capable device" in said


def test_it_is_the_default(host):
    assert host.check_output("readlink -f /usr/local/cuda") == "/usr/lib/cuda"
    assert host.check_output("bash -lc 'echo $CUDA_HOME ${LD_LIBRARY_PATH-unset}'") == "/usr/local/cuda unset"


def test_apt_is_healthy_and_nothing_is_left_of_the_download(host):
    assert host.check_output("dpkg --audit") == ""
    assert host.run("apt-get check").rc == 0
    assert host.check_output("find /opt/gpufleet/cuda -name '*.deb'") == ""
