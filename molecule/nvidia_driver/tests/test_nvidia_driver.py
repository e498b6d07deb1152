"""What a user can rely on once a host has the driver of its distribution; the containers have no GPU."""

testinfra_hosts = ["ansible://workstations"]

BRANCH = {"debian11": "470", "debian12": "535", "debian13": "550"}


def branch(host):
    return BRANCH[host.backend.get_hostname().rsplit("-", 1)[-1]]


def module(host):
    return host.check_output("find /lib/modules/*/updates/dkms -name 'nvidia*.ko*' | grep -E '/nvidia-current.ko'")


def test_the_module_was_built_for_the_kernel_whose_headers_are_there(host):
    told = host.check_output("modinfo %s", module(host))
    assert f"{branch(host)}." in told.split("version:")[1].split()[0]
    assert "license:        NVIDIA" in told


def test_the_driver_answers_that_only_a_gpu_is_missing(host):
    said = host.run("nvidia-smi")
    assert said.rc != 0
    assert "couldn't communicate with the NVIDIA driver" in said.stdout + said.stderr


def test_nouveau_cannot_take_the_gpu(host):
    told = host.check_output("modprobe --show-config")
    assert "blacklist nouveau" in told and "options nouveau modeset=0" in told


def test_no_upgrade_changes_the_driver(host):
    held = host.check_output("apt-mark showhold").split()
    assert {"nvidia-kernel-dkms", "nvidia-smi", "libcuda1"} <= set(held)
    assert "^nvidia-" in host.check_output("apt-config dump Unattended-Upgrade::Package-Blacklist")


def test_the_persistence_daemon_starts_with_the_host(host):
    assert host.service("nvidia-persistenced").is_enabled


def test_no_x_server_came_with_it(host):
    assert not host.package("xserver-xorg-core").is_installed


def test_no_package_is_left_half_installed(host):
    assert host.check_output("dpkg --audit") == ""
