# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver on a host with apt: what is held, what comes back after a failure, what is waited for."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SITE, Refused

UPDATES = SITE + SITE.replace("bookworm", "bookworm-updates")
SECURITY = SITE + SITE.replace("bookworm", "bookworm-security")
TAKE_LOCK = (
    "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep({})"
)


@pytest.fixture
def host(machine):
    """Return a host with driver 535.247.01."""
    one = machine()
    one.driver(branch="535")
    return one


def test_the_first_run_installs_and_the_second_finds_nothing_to_do_without_a_network(machine):
    host = machine()
    foretold = host.driver(check_mode=True, branch="535")
    assert foretold["changed"] and host.installed() == set()
    first = host.driver(branch="535")
    assert (first["version"], first["flavor"]) == ("535.247.01", "proprietary")
    assert host.modules() == ["nvidia-current.ko"]
    assert {"nvidia-kernel-dkms", "libcuda1", "nvidia-smi"} <= host.held()
    host.sh("rm -rf /var/lib/apt/lists; mv /repositories/debian /gone 2>/dev/null || true")
    second = host.driver(branch="535")
    assert (second["changed"], second["reasons"]) == (False, [])
    assert host.driver(check_mode=True, branch="535")["changed"] is False
    host.assert_healthy()


def test_another_branch_takes_the_place_of_the_first_and_the_way_back_needs_no_network(host):
    before = host.installed()
    switched = host.driver(branch="470")
    assert (switched["version"], switched["previous"]) == ("470.256.02", "535.247.01")
    assert host.modules() == ["nvidia-tesla-470.ko"]
    assert not any("535.247" in package for package in host.installed())
    assert host.driver(branch="470")["changed"] is False
    host.sh("rm -rf /var/lib/apt/lists /etc/apt/sources.list.d/site.list")
    back = host.driver(state="previous")
    assert (back["version"], host.installed(), host.modules()) == ("535.247.01", before, ["nvidia-current.ko"])
    assert "nvidia-kernel-dkms" in host.held()
    host.assert_healthy()


def test_the_other_flavour_is_an_ordinary_run(host):
    assert host.driver(branch="535", flavor="open")["flavor"] == "open"
    assert host.modules() == ["nvidia-current-open.ko"]
    assert host.driver(branch="535", flavor="open")["changed"] is False


def test_where_a_security_update_lacks_the_open_modules_all_else_comes_in_their_version(machine):
    host = machine()
    host.write("/etc/apt/sources.list.d/site.list", SECURITY)
    assert host.driver(branch="535")["version"] == "535.309.01"
    opened = host.driver(branch="535", flavor="open")
    assert (opened["version"], opened["flavor"]) == ("535.247.01", "open")
    assert {name for name in host.installed() if "535.309" in name} <= {"nvidia-modprobe=535.309.01-0+deb12u1"}
    assert host.driver(branch="535", flavor="open", upgrade=True)["changed"] is False
    host.write("/etc/apt/sources.list.d/site.list", SECURITY + UPDATES)
    assert host.driver(branch="535", flavor="open")["version"] == "535.247.01"
    host.sh("apt-mark unhold $(apt-mark showhold)")  # the pin stands by itself
    assert "nvidia" not in host.sh("apt-get --simulate dist-upgrade | grep ^Inst || true")
    assert host.driver(branch="535", flavor="open", upgrade=True)["version"] == "535.261.03"
    host.sh("rm -rf /var/lib/apt/lists")
    assert host.driver(check_mode=True, branch="535", flavor="open")["changed"] is False
    host.assert_healthy()


def test_what_both_drivers_need_stays_though_it_has_the_version_of_the_one_that_goes(machine):
    host = machine()
    host.write("/etc/apt/sources.list.d/site.list", SECURITY)
    host.driver(branch="535")
    assert host.driver(branch="470")["version"] == "470.256.02"
    assert {name for name in host.installed() if "535.309" in name} == {"nvidia-modprobe=535.309.01-0+deb12u1"}
    assert host.driver(branch="470")["changed"] is False
    assert host.driver(state="previous")["version"] == "535.309.01"
    host.assert_healthy()


@pytest.mark.parametrize("wish", [{"branch": "535", "upgrade": True}, {"branch": "470"}], ids=["upgrade", "switch"])
def test_a_build_that_fails_leaves_the_previous_driver_and_a_healthy_apt(host, wish):
    host.write("/etc/apt/sources.list.d/site.list", UPDATES)
    host.write("/etc/gpufleet-fail-build", "535.261.03" if wish["branch"] == "535" else "470.256.02")
    before, held = host.installed(), host.held()
    with pytest.raises(Refused, match=r"driver 535\.247\.01 is installed as before(?s:.*)error: unknown type name"):
        host.driver(**wish)
    assert (host.installed(), host.held(), host.modules()) == (before, held, ["nvidia-current.ko"])
    host.assert_healthy()
    assert host.driver(branch="535")["changed"] is False
    host.sh("rm /etc/gpufleet-fail-build")
    assert host.driver(**wish)["changed"] is True


def test_a_first_build_that_fails_leaves_no_driver_and_a_healthy_apt(machine):
    host = machine()
    host.write("/etc/gpufleet-fail-build", "535.247.01")
    with pytest.raises(Refused, match="no driver is installed, as before"):
        host.driver(branch="535")
    beside = {"glx-alternative-nvidia=1.2.2", "nvidia-installer-cleanup=20220217+3"}  # which apt's autoremove takes
    assert host.installed() <= beside and host.held() <= {one.split("=")[0] for one in beside} and host.modules() == []
    host.assert_healthy()


def test_a_newer_version_is_taken_when_it_is_asked_for_and_not_before(host):
    host.write("/etc/apt/sources.list.d/site.list", UPDATES)
    assert host.driver(branch="535")["version"] == "535.247.01"  # the new source's non-free is added, and no more
    assert host.driver(branch="535")["changed"] is False
    assert host.driver(branch="535", upgrade=True)["reasons"] == ["driver 535.247.01 is replaced by 535.261.03"]
    assert host.driver(branch="535", upgrade=True)["changed"] is False
    exact = host.driver(branch="535", version="535.247.01")
    assert (exact["version"], exact["previous"]) == ("535.247.01", "535.261.03")
    with pytest.raises(
        Refused, match=r"nvidia-kernel-dkms 535\.1\.1 is not to be had .* there is 535\.261\.03, 535\.247\.01"
    ):
        host.driver(branch="535", version="535.1.1")


def test_headers_that_are_missing_come_without_a_newer_driver(host):
    host.write("/etc/apt/sources.list.d/site.list", UPDATES)
    host.sh("apt-get -qq -y purge linux-headers-amd64 && apt-get -qq update")
    assert host.driver(branch="535")["reasons"][0] == "linux-headers-amd64 is not installed"
    assert host.driver(branch="535")["changed"] is False
    assert not any("535.261" in package for package in host.installed())


def test_headers_to_come_are_those_of_the_kernel_from_backports(machine):
    host = machine()
    for name in ("image", "headers"):
        control = f"Package: linux-{name}-amd64\nVersion: 6.12.38-1~bpo12+1\nArchitecture: amd64\n"
        host.write(f"/srv/bpo/{name}/DEBIAN/control", control + "Maintainer: x\nDescription: x\n")
    host.sh("cd /srv/bpo; dpkg-deb -b image; dpkg -i image.deb; dpkg-deb -b headers; "
            "cp headers/DEBIAN/control Packages; echo Filename: headers.deb >>Packages; "
            "echo Size: $(stat -c %s headers.deb) >>Packages; "
            "echo SHA256: $(sha256sum headers.deb | cut -d ' ' -f 1) >>Packages")  # fmt: skip
    host.write("/etc/apt/sources.list.d/bpo.list", "deb [trusted=yes] file:/srv/bpo ./\n")
    host.write("/etc/apt/preferences.d/bpo", "Package: linux-headers-amd64\nPin: version 6.12*\nPin-Priority: 100\n")
    host.driver(branch="535")
    assert host.sh("dpkg-query -W -f '${Version}' linux-headers-amd64") == "6.12.38-1~bpo12+1"


def test_unattended_upgrades_and_dist_upgrades_leave_the_driver_alone(host):
    host.write("/etc/apt/sources.list.d/site.list", UPDATES)
    host.sh("apt-get -qq update")
    assert "nvidia" not in host.sh("apt-get --simulate dist-upgrade | grep ^Inst || true")
    host.sh("apt-mark unhold $(apt-mark showhold)")  # the blacklist stands by itself
    host.write("/etc/apt/apt.conf.d/99all", 'Unattended-Upgrade::Origins-Pattern {"origin=*";};\n')
    said = host.sh("unattended-upgrade --dry-run --debug 2>&1")
    assert "Packages blacklist due to conffile prompts" in said or "blacklist" in said.lower()
    assert "Checking: nvidia" not in said.split("pkgs that look like they should be upgraded")[-1].split("\n")[0]


def test_holds_of_others_are_respected_and_stay(host):
    host.sh("apt-mark hold dkms >/dev/null")
    host.driver(state="absent")
    assert host.held() == {"dkms"} or "dkms" in host.held()
    host.driver(branch="535", hold=False)
    host.sh("apt-mark hold libcuda1")
    with pytest.raises(Refused, match="libcuda1 is on hold, and not by this role"):
        host.driver(branch="470", hold=False)


def test_a_removed_driver_leaves_nothing(host):
    host.driver(branch="470")
    host.driver(state="absent")
    assert (host.installed(), host.held(), host.modules()) == (set(), set(), [])
    assert host.sh("find /etc /usr/share/keyrings -name '*gpufleet*'; dpkg-query -W dkms 2>/dev/null || true") == ""
    assert host.driver(state="absent")["changed"] is False
    host.assert_healthy()


def test_a_program_that_begins_while_packages_are_fetched_keeps_its_driver(host):
    before = host.installed()
    host.write("/etc/apt/apt.conf.d/99late", 'APT::Update::Post-Invoke { "touch /run/late"; };\n')
    with pytest.raises(Refused, match=r"late \(12\) use the GPU.*due: driver 470\.256\.02.* No driver was changed"):
        host.driver(branch="470")
    assert host.installed() == before and "nvidia-kernel-dkms" in host.held()


def test_what_needs_the_driver_is_not_removed_with_it(host):
    host.driver(branch="470")
    control = "Package: site-monitor\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    host.write("/root/deb/DEBIAN/control", control + "Depends: nvidia-tesla-470-smi\n")
    host.sh("cd /root; dpkg-deb -b deb site-monitor.deb; dpkg -i site-monitor.deb")
    before = host.installed()
    with pytest.raises(Refused, match="site-monitor needs the driver's packages"):
        host.driver(state="absent")
    with pytest.raises(Refused, match="apt would remove site-monitor to install the driver"):
        host.driver(state="previous")
    assert host.installed() == before and "nvidia-tesla-470-smi" in host.held()
    assert host.sh("dpkg -s site-monitor | grep -c 'install ok installed'") == "1"


def test_libraries_of_a_foreign_architecture_are_held_and_go_with_the_driver(host):
    host.sh("dpkg --add-architecture i386")
    for arch in ("amd64", "i386"):
        control = f"Package: libnvidia-extra\nVersion: 535.247.01-1~deb12u1\nArchitecture: {arch}\nMulti-Arch: same\n"
        host.write(f"/root/{arch}/DEBIAN/control", control + "Maintainer: x\nDescription: x\n")
        host.sh(f"cd /root; dpkg-deb -b {arch} {arch}.deb; dpkg -i {arch}.deb")
    assert host.driver(branch="535")["changed"] is True
    assert {"libnvidia-extra", "libnvidia-extra:i386"} <= host.held()
    assert host.driver(branch="535")["changed"] is False
    host.sh("cp /root/*.deb /var/lib/gpufleet/nvidia_driver; cd /var/lib/gpufleet/nvidia_driver; "
            "for one in amd64 i386; do mv $one.deb libnvidia-extra_535.247.01-1~deb12u1_$one.deb; done")  # fmt: skip
    host.driver(branch="470")
    assert "libnvidia-extra=535.247.01-1~deb12u1" not in host.installed()
    assert host.driver(branch="470")["changed"] is False
    host.driver(state="previous")
    assert {"libnvidia-extra", "libnvidia-extra:i386"} <= host.held()
    host.driver(state="absent")
    assert host.driver(state="absent")["changed"] is False and host.installed() == set()


def test_a_lock_is_waited_for(host):
    holder = subprocess.Popen(["docker", "exec", host.name, "python3", "-c", TAKE_LOCK.format(20)])
    time.sleep(2)
    start = time.monotonic()
    assert host.driver(branch="470")["version"] == "470.256.02"
    assert time.monotonic() - start > 15
    assert holder.wait() == 0  # it was not ended


def test_a_lock_that_is_never_released_is_an_error_that_names_its_holder(host):
    before = host.installed()
    host.sh(f'(python3 -c "{TAKE_LOCK.format(60)}" &) ; sleep 1')
    with pytest.raises(
        Refused, match=r"process \d+ \(python3\) has held /var/lib/dpkg/lock-frontend for more than 3 s"
    ):
        host.driver(branch="470", lock_timeout=3)
    assert host.installed() == before
    assert host.driver(branch="535", lock_timeout=3)["changed"] is False  # who changes nothing needs no lock


def test_a_dpkg_that_was_killed_in_a_postinst_is_finished_first(machine):
    host = machine()
    host.write("/etc/gpufleet-slow", "60")
    run = subprocess.Popen(
        ["docker", "exec", host.name, "sh", "-c",
         "echo 'deb [signed-by=/repositories/keys/first.asc] file:/repositories/debian bookworm contrib non-free' "
         "> /etc/apt/sources.list.d/more.list; apt-get -qq update; apt-get -qq -y install nvidia-kernel-dkms"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    for _second in range(40):
        time.sleep(1)
        if host.sh("pgrep -f '[n]vidia-kernel-dkms.postinst' || true"):
            break
    host.sh("pkill -9 apt-get; pkill -9 dpkg; pkill -9 -f '[p]ostinst'", check=False)
    run.wait()
    host.sh("rm /etc/gpufleet-slow")
    assert "nvidia-kernel-dkms" in host.sh("dpkg --audit")
    result = host.driver(branch="535")
    assert any(reason.startswith("dpkg was cut off at") for reason in result["reasons"])
    assert host.modules() == ["nvidia-current.ko"]
    host.assert_healthy()


@pytest.fixture
def cut(host):
    """Return a host with driver 535.247.01 that lost its power while driver 470.256.02 was built in its place."""
    host.write("/etc/gpufleet-slow", "60")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(host.driver, branch="470")
        for _second in range(40):
            time.sleep(1)
            if host.sh("pgrep -f '[k]ernel-dkms.postinst' || true"):
                break
        host.sh("pkill -9 python3; pkill -9 apt-get; pkill -9 dpkg; pkill -9 -f '[p]ostinst'", check=False)
    assert run.exception() and "nvidia-tesla-470-kernel-dkms" in host.sh("dpkg --audit")
    host.sh("rm /etc/gpufleet-slow")
    return host


def test_a_change_that_was_cut_off_is_finished_and_there_is_a_way_back_from_it(cut):
    done = cut.driver(branch="470")
    assert (done["version"], done["previous"]) == ("470.256.02", "535.247.01")
    assert cut.driver(branch="470")["changed"] is False
    assert cut.driver(state="previous")["version"] == "535.247.01"
    cut.assert_healthy()


def test_a_change_that_was_cut_off_and_cannot_be_finished_is_taken_back(cut):
    cut.write("/etc/gpufleet-fail-build", "470.256.02")
    with pytest.raises(Refused, match=r"driver 535\.247\.01 is installed as before(?s:.*)error: unknown type name"):
        cut.driver(branch="470")
    assert cut.modules() == ["nvidia-current.ko"] and not any("470" in package for package in cut.installed())
    assert {"nvidia-kernel-dkms", "libcuda1"} <= cut.held()
    cut.assert_healthy()


def test_a_driver_that_somebody_installed_and_that_does_not_compile_gives_way_to_another(machine):
    host = machine()
    host.write("/etc/gpufleet-fail-build", "535.247.01")
    host.write("/etc/apt/sources.list.d/more.list", SITE.replace("main", "contrib non-free"))
    host.sh("apt-get -qq update; apt-get -qq -y install linux-headers-amd64; "
            "apt-get -qq -y install nvidia-kernel-dkms || true")  # fmt: skip
    assert "nvidia-kernel-dkms" in host.sh("dpkg --audit")
    with pytest.raises(Refused, match="Bad return status for module build"):
        host.driver(branch="535")
    assert host.driver(branch="470")["version"] == "470.256.02"
    assert host.driver(branch="470")["changed"] is False
    host.assert_healthy()


def test_what_somebody_left_half_done_is_named_and_not_removed(machine):
    host = machine()
    control = "Package: site-tool\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    host.write("/root/deb/DEBIAN/control", control + "Depends: not-to-be-had\n")
    host.sh("cd /root; dpkg-deb -b deb site-tool.deb; dpkg -i site-tool.deb || true")
    with pytest.raises(Refused, match=r"cannot finish what is half done: .*site-tool"):
        host.driver(branch="535")
    assert host.sh("dpkg -s site-tool | grep -c 'install ok unpacked'") == "1"


def test_a_full_boot_is_refused_before_anything_is_changed(machine):
    host = machine("--tmpfs", "/boot:size=16m")
    host.sh("touch /boot/vmlinuz-6.1.0-50-amd64")
    with pytest.raises(Refused, match=r"/boot has 17 MB free and the driver needs 200 MB there"):
        host.driver(branch="535", minimum_free_mb={"/boot": 200})
    assert (host.installed(), host.sh("ls /etc/apt/sources.list.d")) == (set(), "site.list")


def test_a_branch_that_the_archive_does_not_have_is_named(machine):
    host = machine()
    with pytest.raises(Refused, match=r"no driver of branch 580 for this release: it has 535\.247\.01"):
        host.driver(branch="580")
    assert host.installed() == set()
    host.assert_healthy()
