# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver from a runfile, a stand-in that behaves as NVIDIA's installer: forth, back, to packages, from packages."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import REPOSITORIES, Refused


def wish(version, **more):
    """Return the options for a runfile."""
    path = f"/repositories/runfiles/NVIDIA-Linux-x86_64-{version}.run"
    digest = (REPOSITORIES / "runfiles" / f"NVIDIA-Linux-x86_64-{version}.run.sha256").read_text()
    return {"source": "runfile", "runfile_url": path, "runfile_checksum": digest, **more}


def noted(host):
    """Return the version that the installer noted, an empty text where no runfile's driver is installed."""
    return host.sh("head -n 1 /var/lib/nvidia/log 2>/dev/null || true")


def calls(host):
    """Return the command lines of the installer."""
    return host.sh("cat /var/log/stand-in-installer-calls").splitlines()


@pytest.fixture
def host(machine):
    """Return a host with driver 550.163.01 from a runfile, and a /tmp that runs no programs."""
    one = machine("--tmpfs", "/tmp:noexec")
    one.driver(**wish("550.163.01"))
    return one


def test_the_first_run_installs_and_the_second_finds_nothing_to_do_without_a_network(machine):
    host = machine("--tmpfs", "/tmp:noexec")
    foretold = host.driver(check_mode=True, **wish("580.126.16"))
    assert (foretold["changed"], foretold["version"], noted(host)) == (True, "580.126.16", "")
    first = host.driver(**wish("580.126.16"))
    assert (first["version"], first["flavor"], noted(host)) == ("580.126.16", "proprietary", "580.126.16")
    assert host.modules() == ["nvidia.ko"]
    said = calls(host)[-1]
    assert "--kernel-module-type=proprietary" in said and "--dkms" in said and "--skip-module-load" in said
    host.sh("rm -rf /var/lib/apt/lists")
    second = host.driver(
        **{**wish("580.126.16"), "runfile_url": "https://gone.invalid/NVIDIA-Linux-x86_64-580.126.16.run"}
    )
    assert (second["changed"], second["reasons"], len(calls(host))) == (False, [], 1)
    assert host.driver(check_mode=True, **wish("580.126.16"))["changed"] is False


def test_each_installer_is_told_the_flavour_in_its_own_words(host):
    assert "kernel-module" not in calls(host)[-1]  # 550 has no type yet, and builds the proprietary ones unasked
    assert host.driver(**wish("550.163.01", flavor="open"))["flavor"] == "open"
    assert "--kernel-module-build-directory=kernel-open" in calls(host)[-1]
    later = host.driver(**wish("580.126.16", flavor="open"))
    assert (later["flavor"], later["previous"]) == ("open", "550.163.01")
    assert "--kernel-module-type=open" in calls(host)[-1] and "--kernel-module-build" not in calls(host)[-1]
    back = host.driver(state="previous")
    assert (back["version"], back["flavor"], noted(host)) == ("550.163.01", "open", "550.163.01")
    assert host.driver(**wish("550.163.01", flavor="open"))["changed"] is False


def test_packages_give_way_to_a_runfile_and_come_back_without_a_network(machine):
    host = machine()
    host.driver(branch="535")
    before = host.installed()
    changed = host.driver(**wish("550.163.01"))
    assert (changed["version"], changed["previous"]) == ("550.163.01", "535.247.01")
    assert (host.installed(), host.held(), host.modules()) == (set(), set(), ["nvidia.ko"])
    host.assert_healthy()
    host.sh("rm -rf /var/lib/apt/lists /etc/apt/sources.list.d/*")
    back = host.driver(state="previous")
    assert (back["version"], back["previous"], host.installed()) == ("535.247.01", "550.163.01", before)
    assert (noted(host), host.modules(), host.sh("ls /etc/apt/preferences.d")) == ("", ["nvidia-current.ko"], "")
    assert "nvidia-kernel-dkms" in host.held()
    again = host.driver(state="previous")
    assert (again["version"], noted(host), host.installed()) == ("550.163.01", "550.163.01", set())
    host.assert_healthy()


def test_after_a_run_that_was_cut_off_the_way_back_leads_to_the_packages_before(machine):
    host = machine()
    host.driver(branch="535")
    before = host.installed()
    host.sh("mv $(command -v modinfo) /root/modinfo")
    host.write("/usr/bin/modinfo", '#!/bin/sh\n[ ! -e /run/slow ] || sleep 60\nexec /root/modinfo "$@"\n')
    host.sh("chmod +x /usr/bin/modinfo; touch /run/slow")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(host.driver, **wish("550.163.01"))
        for _second in range(60):
            time.sleep(1)
            if noted(host):
                break
        time.sleep(3)
        host.sh("rm /run/slow; pkill -9 python3", check=False)
    assert run.exception() and host.installed() == set()
    assert host.driver(**wish("550.163.01"))["previous"] == "535.247.01"
    host.driver(state="previous")
    assert host.installed() == before
    host.assert_healthy()


def test_a_runfile_gives_way_to_packages(host):
    assert "libcuda1" not in host.sh("apt-get --simulate install nvidia-smi 2>&1 | grep ^Inst || true")
    changed = host.driver(branch="535")
    assert (changed["version"], changed["previous"], noted(host)) == ("535.247.01", "550.163.01", "")
    assert host.modules() == ["nvidia-current.ko"]
    assert host.driver(branch="535")["changed"] is False
    assert host.driver(state="previous")["version"] == "550.163.01"
    host.assert_healthy()


@pytest.mark.parametrize("what", ["build", "early"])
def test_an_installer_that_fails_leaves_the_previous_runfile(host, what):
    host.write(f"/etc/gpufleet-fail-{what}", "580.126.16")
    words = "through DKMS" if what == "build" else "kernel source tree"
    with pytest.raises(
        Refused, match=rf"{words}.*driver 550\.163\.01 \(proprietary\) is installed as before"
    ) as caught:
        host.driver(**wish("580.126.16"))
    if what == "build":
        assert "/var/log/nvidia-installer.log ends with:" in str(caught.value)
        assert "error: unknown type name" in str(caught.value)
    assert (noted(host), host.modules()) == ("550.163.01", ["nvidia.ko"])
    assert host.driver(**wish("550.163.01"))["changed"] is False
    host.sh(f"rm /etc/gpufleet-fail-{what}")
    assert host.driver(**wish("580.126.16"))["changed"] is True


def test_an_installer_that_fails_leaves_the_previous_packages_and_a_healthy_apt(machine):
    host = machine()
    host.driver(branch="535")
    before, held = host.installed(), host.held()
    host.write("/etc/gpufleet-fail-build", "580.126.16")
    with pytest.raises(Refused, match=r"driver 535\.247\.01 \(proprietary\) is installed as before"):
        host.driver(**wish("580.126.16"))
    assert (host.installed(), host.held(), noted(host)) == (before, held, "")
    assert host.modules() == ["nvidia-current.ko"]
    assert host.driver(branch="535")["changed"] is False
    host.assert_healthy()


def test_packages_that_fail_leave_the_previous_runfile_and_a_healthy_apt(host):
    host.write("/etc/gpufleet-fail-build", "535.247.01")
    with pytest.raises(Refused, match=r"driver 550\.163\.01 is installed as before"):
        host.driver(branch="535")
    assert (host.installed(), noted(host), host.modules()) == (set(), "550.163.01", ["nvidia.ko"])
    host.assert_healthy()
    host.sh("rm /etc/gpufleet-fail-build")
    assert host.driver(**wish("550.163.01"))["changed"] is True  # the sources of the packages go again
    assert host.driver(**wish("550.163.01"))["changed"] is False


def test_a_first_installer_that_fails_leaves_nothing(machine):
    host = machine()
    host.write("/etc/gpufleet-fail-build", "580.126.16")
    with pytest.raises(Refused, match="no driver is installed, as before"):
        host.driver(**wish("580.126.16"))
    assert (noted(host), host.modules(), host.sh("ls /usr/bin/nvidia* 2>/dev/null || true")) == ("", [], "")
    host.assert_healthy()


def test_a_driver_that_somebody_else_installed_from_a_runfile_is_recognised(machine):
    host = machine()
    host.driver(branch="535")
    host.driver(state="absent")
    host.sh("apt-get -qq -y install dkms linux-headers-6.1.0-50-amd64")
    host.sh("sh /repositories/runfiles/NVIDIA-Linux-x86_64-550.163.01.run --silent --dkms --kernel-name=6.1.0-50-amd64")
    assert host.driver(**wish("550.163.01"))["version"] == "550.163.01"
    assert len(calls(host)) == 1
    changed = host.driver(**wish("580.126.16"))
    assert changed["version"] == "580.126.16"
    assert any("there is no way back to it" in warning for warning in changed["warnings"])


def test_a_wrong_file_changes_nothing(host):
    other = wish("580.126.16")["runfile_url"]
    with pytest.raises(Refused, match=r"another sha256 than"):
        host.driver(**{**wish("535.261.03"), "runfile_url": other})
    with pytest.raises(Refused, match=r"is driver 580\.126\.16 for x86_64, and driver 580\.1\.1 for x86_64 is wanted"):
        host.driver(**{**wish("580.126.16"), "version": "580.1.1"})
    assert (noted(host), host.modules(), len(calls(host))) == ("550.163.01", ["nvidia.ko"], 1)


def test_what_needs_the_packages_stops_the_change_before_it_begins(machine):
    host = machine()
    host.driver(branch="535")
    host.sh("apt-get -qq -y install nvidia-cuda-toolkit; apt-mark unhold libcuda1 >/dev/null")
    host.write("/root/needs/DEBIAN/control", "Package: site-tool\nVersion: 1\nArchitecture: all\nDepends: libcuda1\n"
               "Maintainer: nobody <nobody@example.org>\nDescription: needs the driver\n")  # fmt: skip
    host.sh("dpkg-deb -b /root/needs /root/needs.deb && dpkg -i /root/needs.deb")
    before = host.installed()
    with pytest.raises(Refused, match=r"site-tool needs the driver's packages"):
        host.driver(**wish("580.126.16"))
    assert host.installed() == before


def test_a_removed_driver_leaves_nothing(host):
    host.driver(state="absent")
    assert (noted(host), host.modules(), host.sh("ls /usr/bin/nvidia* 2>/dev/null || true")) == ("", [], "")
    assert host.sh("find /etc /var/lib/gpufleet -name '*gpufleet-*' -o -name '*.run'; dpkg-query -W dkms || true") == ""
    assert host.driver(state="absent")["changed"] is False
    host.assert_healthy()
