# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver on a host that takes itself for Ubuntu 22.04: modules that come built, DKMS where there are none."""

import pytest

OS = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n'
SITE = "deb [signed-by=/repositories/keys/first.asc] file:/repositories/ubuntu jammy main restricted\n"


@pytest.fixture
def host(machine):
    """Return such a host, with kernel 5.15.0-119-generic installed."""
    one = machine()
    one.sh("rm /etc/os-release; apt-get -qq update")
    one.write("/etc/os-release", OS)
    one.write("/etc/apt/sources.list.d/site.list", SITE)
    kernel(one, "5.15.0-119-generic")
    return one


def kernel(host, release):
    """Let a kernel be installed."""
    host.sh(f"mkdir -p /lib/modules/{release}/kernel; touch /boot/vmlinuz-{release}")


def modules(host):
    return host.sh("find /lib/modules -name 'nvidia*.ko' | sort").split()


def test_modules_that_canonical_built_are_taken_before_dkms(host):
    first = host.driver(branch="580", flavor="open")
    assert (first["version"], first["flavor"]) == ("580.173.02", "open")
    assert modules(host) == ["/lib/modules/5.15.0-119-generic/kernel/nvidia-580-server-open/nvidia.ko"]
    assert {"linux-modules-nvidia-580-server-open-5.15.0-119-generic", "nvidia-utils-580-server"} <= host.held()
    assert not any(package.startswith("nvidia-dkms") for package in host.installed())
    assert host.driver(branch="580", flavor="open")["changed"] is False
    host.assert_healthy()


def test_the_next_kernel_gets_modules_of_the_driver_that_is_held(host):
    host.driver(branch="580")
    host.write("/etc/apt/sources.list.d/site.list", SITE + SITE.replace("jammy", "jammy-updates"))
    host.sh("apt-get -qq update; apt-get -qq -y --with-new-pkgs upgrade")
    kernel(host, "5.15.0-120-generic")
    assert any("5.15.0-120-generic/kernel" in path for path in modules(host))
    assert host.driver(branch="580")["reasons"] == ["the driver's packages are put on hold"]
    assert host.driver(branch="580")["changed"] is False


def test_modules_that_one_kernel_lacks_are_named_and_come_without_another_driver(host):
    host.driver(branch="580")
    kernel(host, "5.15.0-120-generic")
    lacks = "linux-modules-nvidia-580-server-5.15.0-120-generic is not installed"
    assert lacks in host.driver(check_mode=True, branch="580")["reasons"]
    host.write("/etc/apt/sources.list.d/site.list", SITE + SITE.replace("jammy", "jammy-updates"))
    assert lacks in host.driver(branch="580")["reasons"]
    assert host.driver(branch="580")["changed"] is False


def test_dkms_is_taken_where_a_kernel_has_no_modules_and_where_it_is_asked_for(host):
    kernel(host, "5.15.0-999-generic")  # the newest, and nobody built modules for it
    host.sh("mkdir -p /lib/modules/5.15.0-999-generic/build")
    host.driver(branch="580")
    assert "nvidia-dkms-580-server=580.173.02-0ubuntu0.22.04.1" in host.installed()
    assert "/lib/modules/5.15.0-999-generic/updates/dkms/nvidia.ko" in modules(host)
    assert host.driver(branch="580")["changed"] is False
    host.sh("rm -rf /lib/modules/5.15.0-999-generic /boot/vmlinuz-5.15.0-999-generic")
    assert host.driver(branch="580", modules="prebuilt")["reasons"]
    assert not any(package.startswith("nvidia-dkms") for package in host.installed())


def test_branches_and_flavours_are_switched_like_versions(host):
    host.driver(branch="535")
    switched = host.driver(branch="580")
    assert (switched["version"], switched["previous"]) == ("580.173.02", "535.216.01")
    assert not any("535" in package for package in host.installed())
    host.driver(branch="580", flavor="open")
    assert [path.split("/")[-2] for path in modules(host)] == ["nvidia-580-server-open"]
    host.driver(state="previous")
    assert [path.split("/")[-2] for path in modules(host)] == ["nvidia-580-server"]
    host.assert_healthy()


def test_a_daemon_that_would_turn_persistence_off_is_set_right(host):
    host.driver(branch="580")
    assert host.sh("cat /lib/systemd/system/nvidia-persistenced.service").count("--no-persistence-mode") == 1
