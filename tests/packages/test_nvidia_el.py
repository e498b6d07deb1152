# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver on a host that takes itself for Rocky Linux 9 or 10: dnf really resolves, verifies, installs and locks."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Refused, build_el
from test_nvidia_runfile import noted
from test_nvidia_runfile import wish as runfile

BUILD = {"dkms=1", "gcc=1", "make=1"}  # what a build needs stays


@pytest.fixture
def start(machine):
    """Return what starts a host with dnf, a signed repository in /srv/nvidia and one kernel."""
    build_el()

    return lambda *options: machine(*options, image="el")


@pytest.fixture
def host(start):
    """Return a host with dnf."""
    return start()


@pytest.fixture
def wish(host):
    """Return the options for the repository."""
    return options(host)


def options(host):
    return {
        "source": "nvidia",
        "repository_url": "file:///srv/nvidia/rhel9/x86_64",
        "repository_key": host.sh("cat /srv/nvidia/key.asc"),
        "repository_fingerprint": host.sh("cat /srv/nvidia/fingerprint"),
    }


def installed(host):
    return set(host.sh("rpm -qa --qf '%{NAME}=%{VERSION}\\n' | grep -v pubkey || true").split())


def locked(host):
    return host.sh("grep -v '^#' /etc/dnf/plugins/versionlock.list")


def stream(host):
    return host.sh("sed -n 's/^stream=//p' /etc/dnf/modules.d/nvidia-driver.module")


def test_a_stream_is_chosen_and_the_versions_are_locked(host, wish):
    assert host.driver(check_mode=True, branch="580", **wish)["changed"] is True
    first = host.driver(branch="580", version="580.126.16", **wish)
    assert (first["version"], first["flavor"], stream(host)) == ("580.126.16", "proprietary", "580-dkms")
    assert "kmod-nvidia-latest-dkms-0:580.126.16" in locked(host)
    assert host.driver(branch="580", version="580.126.16", **wish)["changed"] is False
    assert "580.178.04" not in host.sh("dnf --assumeno upgrade 2>&1 || true")


def test_versions_flavours_and_branches_are_ordinary_runs(host, wish):
    host.driver(branch="580", version="580.126.16", **wish)
    assert host.driver(branch="580", version="580.178.04", **wish)["version"] == "580.178.04"
    assert host.driver(branch="580", version="580.126.16", **wish)["version"] == "580.126.16"
    opened = host.driver(branch="580", version="580.178.04", flavor="open", **wish)
    assert (opened["flavor"], stream(host)) == ("open", "580-open")
    assert not any("latest" in name or "cuda-drivers" in name for name in installed(host))
    older = host.driver(branch="550", **wish)
    assert (older["version"], older["flavor"], stream(host)) == ("550.163.01", "proprietary", "550-dkms")
    assert host.driver(branch="550", **wish)["changed"] is False


def test_a_build_that_fails_leaves_the_previous_driver(host, wish):
    host.driver(branch="580", version="580.126.16", **wish)
    before = installed(host)
    host.write("/etc/gpufleet-fail-build", "580.178.04")
    with pytest.raises(Refused, match=r"It was taken back: driver 580\.126\.16 is installed as before"):
        host.driver(branch="580", version="580.178.04", **wish)
    assert installed(host) == before
    assert host.driver(branch="580", version="580.126.16", **wish)["changed"] is False


def test_after_a_run_that_was_cut_off_the_way_back_leads_to_the_driver_before_it(host, wish):
    host.driver(branch="550", **wish)
    host.sh("mv /usr/sbin/modinfo /root/modinfo 2>/dev/null || mv /usr/bin/modinfo /root/modinfo")
    host.write("/usr/bin/modinfo", '#!/bin/sh\n[ ! -e /run/slow ] || sleep 60\nexec /root/modinfo "$@"\n')
    host.sh("chmod +x /usr/bin/modinfo; touch /run/slow")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(host.driver, branch="580", **wish)
        for _second in range(60):
            time.sleep(1)
            if "kmod-nvidia-latest-dkms=580.178.04" in installed(host):
                break
        time.sleep(3)
        host.sh("rm /run/slow; kill -9 $(grep -al ^python3 /proc/[0-9]*/comm | cut -d / -f 3)", check=False)
    assert run.exception()
    assert host.driver(branch="580", **wish)["previous"] == "550.163.01"
    assert host.driver(state="previous")["version"] == "550.163.01"


@pytest.mark.parametrize(
    "other",
    [("580", "580.178.04", "proprietary"), ("580", "580.126.16", "open"), ("550", "", "proprietary")],
    ids=["version", "flavour", "branch"],
)
def test_the_way_back_needs_no_network(host, wish, other):
    host.driver(branch="580", version="580.126.16", **wish)
    before, locks = installed(host), locked(host)
    branch, version, flavor = other
    changed = host.driver(branch=branch, version=version, flavor=flavor, **wish)
    after = installed(host)
    assert changed["previous"] == "580.126.16" and after != before
    host.sh("mv /srv/nvidia/rhel9 /srv/gone; rm -rf /var/cache/dnf")
    back = host.driver(state="previous")
    assert (back["version"], back["flavor"], stream(host)) == ("580.126.16", "proprietary", "580-dkms")
    assert (installed(host), locked(host)) == (before, locks)
    forth = host.driver(state="previous")
    assert (installed(host), forth["flavor"]) == (after, flavor)
    host.sh("mv /srv/gone /srv/nvidia/rhel9")
    assert host.driver(branch=branch, version=version, flavor=flavor, **wish)["changed"] is False


def test_the_files_of_a_driver_that_somebody_else_installed_are_kept_too(host, wish):
    host.write("/etc/yum.repos.d/cuda.repo", "[cuda]\nname=x\ngpgcheck=0\nbaseurl=file:///srv/nvidia/rhel9/x86_64\n")
    host.sh("dnf -q -y module enable nvidia-driver:580-dkms; dnf -q -y install cuda-drivers-580.126.16")
    before = installed(host) - BUILD
    changed = host.driver(branch="580", version="580.178.04", duplicates="remove", **wish)
    assert (changed["previous"], changed["warnings"]) == ("580.126.16", [])
    host.sh("mv /srv/nvidia/rhel9 /srv/gone; rm -rf /var/cache/dnf")
    assert host.driver(state="previous")["version"] == "580.126.16"
    assert installed(host) - BUILD - {"python3-dnf-plugin-versionlock=1"} == before


def test_a_way_back_that_fails_leaves_the_driver_of_now(host, wish):
    host.driver(branch="580", version="580.126.16", **wish)
    with pytest.raises(Refused, match="there is no earlier driver"):
        host.driver(state="previous")
    host.driver(branch="580", version="580.178.04", **wish)
    before, locks = installed(host), locked(host)
    host.write("/etc/gpufleet-fail-build", "580.126.16")
    with pytest.raises(Refused, match=r"It was taken back: driver 580\.178\.04 is installed as before"):
        host.driver(state="previous")
    assert (installed(host), locked(host)) == (before, locks)
    host.sh("rm /var/lib/gpufleet/nvidia_driver/cuda-drivers-580.126.16-*")
    with pytest.raises(Refused, match="the files of cuda-drivers are not in"):
        host.driver(state="previous")


def test_packages_give_way_to_a_runfile_and_come_back(host, wish):
    host.driver(branch="580", version="580.126.16", **wish)
    before, locks = installed(host), locked(host)
    host.write("/etc/gpufleet-fail-build", "550.163.01")
    with pytest.raises(Refused, match=r"driver 580\.126\.16 \(proprietary\) is installed as before"):
        host.driver(**runfile("550.163.01"))
    assert (installed(host) - BUILD, locked(host), noted(host)) == (before, locks, "")
    host.sh("rm /etc/gpufleet-fail-build")
    changed = host.driver(**runfile("550.163.01"))
    assert (changed["version"], changed["previous"], noted(host)) == ("550.163.01", "580.126.16", "550.163.01")
    assert not any("nvidia-driver" in name or "kmod" in name for name in installed(host))
    assert host.driver(**runfile("550.163.01"))["changed"] is False
    assert host.driver(state="previous")["version"] == "580.126.16"
    assert (installed(host) - BUILD, locked(host), noted(host)) == (before, locks, "")
    assert host.driver(state="previous")["version"] == "550.163.01"
    assert (host.driver(branch="580", **wish)["version"], noted(host)) == ("580.178.04", "")


def test_release_8_chooses_by_stream_as_9_does(host, wish):
    host.sh("sed -i 's/9.6/8.10/; s/el9/el8/' /etc/os-release")
    wish["repository_url"] = "file:///srv/nvidia/rhel8/x86_64"
    assert host.driver(branch="580", version="580.126.16", **wish)["version"] == "580.126.16"
    assert (stream(host), host.driver(branch="580", version="580.126.16", **wish)["changed"]) == ("580-dkms", False)
    assert host.driver(branch="550", **wish)["version"] == "550.163.01"  # from where no other flavour was in between
    assert (host.driver(state="previous")["version"], stream(host)) == ("580.126.16", "580-dkms")


def test_release_10_has_no_streams_and_takes_the_branch_by_its_number(host, wish):
    host.sh("sed -i 's/9.6/10.0/; s/el9/el10/' /etc/os-release")
    wish["repository_url"] = "file:///srv/nvidia/rhel10/x86_64"
    assert host.driver(branch="550", **wish)["version"] == "550.163.01"
    assert "nvidia-driver-cuda-0:550.163.01" in locked(host)
    assert host.driver(branch="550", **wish)["changed"] is False


def test_a_removed_driver_leaves_nothing(host, wish):
    before = installed(host)
    host.driver(branch="580", **wish)
    host.write("/etc/systemd/system/nvidia-persistenced.service.d/gpufleet.conf", "")  # where a unit needs it
    host.driver(state="absent", **wish)
    assert {name for name in installed(host) - before if "nvidia" in name or "cuda" in name} == set()
    assert host.sh("find /etc -name '*gpufleet*'; find /lib/modules -name 'nvidia*.ko'") == ""
    assert host.driver(state="absent", **wish)["changed"] is False


def test_a_repository_that_does_not_answer_leaves_no_entry_behind(host, wish):
    host.write("/etc/yum.repos.d/cuda.repo", "[cuda]\nname=x\nbaseurl=file:///srv/nothing/\nenabled=0\n")
    with pytest.raises(Refused, match="No package was changed"):
        host.driver(branch="580", duplicates="remove", **{**wish, "repository_url": "file:///srv/nothing"})
    assert "baseurl=file:///srv/nothing/" in host.sh("cat /etc/yum.repos.d/cuda.repo")
    assert host.sh("find /etc/yum.repos.d /etc/pki/rpm-gpg -name '*gpufleet*' ! -name '*.gpufleet-backup'") == ""


def test_an_entry_of_somebody_else_is_reported_and_put_aside_when_that_is_allowed(host, wish):
    host.write("/etc/yum.repos.d/cuda.repo", "[cuda]\nname=x\nbaseurl=file:///srv/nvidia/rhel9/x86_64\n")
    with pytest.raises(Refused, match=r"/etc/yum\.repos\.d/cuda\.repo has file:"):
        host.driver(branch="580", **wish)
    assert host.driver(branch="580", duplicates="remove", **wish)["version"] == "580.178.04"
    assert host.sh("ls /etc/yum.repos.d") == "cuda.repo.gpufleet-backup\ngpufleet-nvidia-driver.repo"


def test_the_fabric_manager_is_of_exactly_the_drivers_version_where_an_nvswitch_is(start, nvswitches):
    host = start(*nvswitches)
    wish = {**options(host), "fabric_manager": "nvidia-fabricmanager"}
    assert host.driver(branch="580", version="580.126.16", **wish)["version"] == "580.126.16"
    assert "nvidia-fabricmanager=580.126.16" in installed(host) and "nvidia-fabricmanager-0:580.126.16" in locked(host)
    assert host.driver(branch="580", version="580.126.16", **wish)["changed"] is False
    assert host.driver(branch="550", **wish)["version"] == "550.163.01"
    assert "nvidia-fabricmanager=550.163.01" in installed(host)
    assert host.driver(state="previous")["version"] == "580.126.16"
    assert "nvidia-fabricmanager=580.126.16" in installed(host)
    host.sh("dnf -q --disablerepo=* versionlock clear; dnf -q -y install nvidia-fabricmanager-580.178.04")
    mended = host.driver(branch="580", version="580.126.16", **wish)
    assert mended["reasons"][0] == "nvidia-fabricmanager is 580.178.04 and the driver 580.126.16"
    assert "nvidia-fabricmanager=580.126.16" in installed(host)


def test_a_kernel_without_the_module_is_named_also_where_no_package_is_missing(host, wish):
    host.driver(branch="580", hold=False, **wish)
    host.sh("mkdir -p /lib/modules/5.14.0-999.el9.x86_64/build")
    with pytest.raises(Refused, match=r"kernel 5\.14\.0-999\.el9\.x86_64 has no nvidia module") as caught:
        host.driver(branch="580", hold=False, **wish)
    assert "driver 580.178.04 is installed as before" in str(caught.value)


def test_companions_come_with_the_driver_and_after_it(host, wish):
    host.driver(branch="580", dcgm=True, **wish)
    assert "datacenter-gpu-manager-4-cuda13=1" in installed(host)
    assert host.driver(branch="580", dcgm=True, **wish)["changed"] is False
    later = host.driver(branch="580", dcgm=True, packages=["gcc-1"], **wish)
    assert (later["reasons"], "gcc=1" in installed(host)) == (["gcc-1 is not installed"], True)
    assert host.driver(branch="580", dcgm=True, packages=["gcc-1"], **wish)["changed"] is False


def test_the_container_toolkit_comes_from_the_repository_that_the_site_names(host, wish):
    container = {f"container_toolkit_{name[11:]}": wish[name] for name in ("repository_key", "repository_fingerprint")}
    container.update(container_toolkit=True, container_toolkit_url="file:///srv/container")
    host.driver(branch="580", **wish)
    added = host.driver(branch="580", **wish, **container)
    assert added["reasons"][0] == "nvidia-container-toolkit is not installed"
    assert "nvidia-container-toolkit=1.17.8" in installed(host)
    assert host.driver(branch="580", **wish, **container)["changed"] is False
    assert "container" not in locked(host)
    host.driver(state="absent")
    assert host.sh("find /etc -name '*gpufleet*'") == ""


def test_only_the_trusted_key_is_taken(host, wish):
    with pytest.raises(Refused, match=r"and A{40} is trusted"):
        host.driver(branch="580", **{**wish, "repository_fingerprint": "A" * 40})
    assert "gpufleet" not in host.sh("find /etc")
