# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver from NVIDIA's repository or a mirror of it: keys, pins, names before and after 590, one owner."""

import subprocess
import time

import pytest
from conftest import REPOSITORIES, SITE, Refused

# A mirror whose first answers for the index do not fit its Release; then come the right ones.
STALE = """
import http.server
class Handler(http.server.SimpleHTTPRequestHandler):
    stale = {times}
    def do_GET(self):
        if 'Packages' in self.path and Handler.stale > 0:
            Handler.stale -= 1
            self.send_response(200); self.end_headers(); self.wfile.write(b'stale')
        else:
            super().do_GET()
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), lambda *a: Handler(*a, directory='/srv/nvidia')).serve_forever()
"""
SOURCE = "/etc/apt/sources.list.d/gpufleet-nvidia-driver.sources"


def key(name):
    """Return the options for one of the two keys."""
    return {
        "repository_key": (REPOSITORIES / "keys" / f"{name}.asc").read_text(),
        "repository_fingerprint": (REPOSITORIES / "keys" / f"{name}.fingerprint").read_text(),
    }


NVIDIA = {"source": "nvidia", "repository_url": "file:/srv/nvidia/debian12/x86_64"}


@pytest.fixture
def host(machine):
    """Return a host that has a mirror of NVIDIA's repository in /srv/nvidia, signed with the first key."""
    one = machine()
    one.sh("ln -s /repositories/nvidia /srv/nvidia")
    return one


def test_the_driver_comes_from_nvidia_with_names_as_before_590_and_after(host):
    wish = {**NVIDIA, **key("first")}
    first = host.driver(branch="580", version="580.126.16", **wish)
    assert (first["version"], host.modules()) == ("580.126.16", ["nvidia.ko"])
    assert "cuda-drivers-580=580.126.16-1" in host.installed() and "nvidia-dkms-580" in host.held()
    assert host.driver(branch="580", version="580.126.16", **wish)["changed"] is False
    newer = host.driver(branch="580", version="580.178.04", **wish)
    assert (newer["version"], newer["previous"]) == ("580.178.04", "580.126.16")
    older = host.driver(branch="580", version="580.126.16", **wish)
    assert older["version"] == "580.126.16"
    later = host.driver(branch="595", version="595.91.07", flavor="open", **wish)
    assert (later["version"], later["flavor"]) == ("595.91.07", "open")
    assert {"nvidia-open=595.91.07-1", "nvidia-driver-pinning-595.91.07=595.91.07-1"} <= host.installed()
    assert not any("580" in package for package in host.installed())
    assert host.driver(branch="595", version="595.91.07", flavor="open", **wish)["changed"] is False
    host.assert_healthy()


def test_a_driver_of_the_distribution_gives_way_to_nvidias_and_comes_back(host):
    host.driver(branch="535")
    nvidia = host.driver(branch="580", **NVIDIA, **key("first"))
    assert (nvidia["version"], nvidia["previous"]) == ("580.178.04", "535.247.01")
    assert not any("535.247" in package for package in host.installed())
    assert host.driver(branch="535")["version"] == "535.247.01"
    assert "/srv/nvidia" not in host.sh("cat " + SOURCE)
    assert host.sh("ls /etc/apt/preferences.d /usr/share/keyrings | grep gpufleet || true") == ""
    assert host.driver(branch="535")["changed"] is False
    host.assert_healthy()


def test_a_pin_keeps_a_newer_branch_of_the_same_repository_away(host):
    host.driver(branch="550", hold=False, **NVIDIA, **key("first"))
    planned = host.sh("apt-get --simulate dist-upgrade; apt-get --simulate install nvidia-utils-550")
    assert "580" not in planned and "595" not in planned


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"repository_fingerprint": "A" * 40}, "and A{40} is trusted"),
        ({"repository_fingerprint": "3BF863CC"}, "not known by its full fingerprint"),
        ({"repository_key": "-----BEGIN nonsense"}, "the repository's key is no key"),
    ],
)
def test_only_the_key_with_the_full_fingerprint_is_trusted(host, change, words):
    with pytest.raises(Refused, match=words):
        host.driver(branch="580", **{**NVIDIA, **key("first"), **change})
    assert host.sh("ls /etc/apt/sources.list.d") == "site.list"


def test_a_rotated_key_takes_the_place_of_the_old_one(host):
    host.driver(branch="580", **NVIDIA, **key("first"))
    host.sh("rm /srv/nvidia; ln -s /repositories/rotated/nvidia /srv/nvidia")
    with pytest.raises(Refused, match="cannot be refreshed"):
        host.driver(branch="580", upgrade=True, **NVIDIA, **key("first"))
    before = host.sh("cat /usr/share/keyrings/gpufleet-nvidia-driver.asc /etc/apt/sources.list.d/gpufleet*")
    dead = {**NVIDIA, "repository_url": "file:/srv/nothing/debian12/x86_64"}
    with pytest.raises(Refused, match="cannot be refreshed"):
        host.driver(branch="580", **dead, **key("second"))
    assert host.sh("cat /usr/share/keyrings/gpufleet-nvidia-driver.asc /etc/apt/sources.list.d/gpufleet*") == before
    assert host.driver(branch="580", **NVIDIA, **key("second"))["changed"] is True
    assert host.sh("apt-get update 2>&1 | grep -c '^[EW]' || true") == "0"
    assert host.sh("ls /usr/share/keyrings | grep gpufleet") == "gpufleet-nvidia-driver.asc"
    assert host.driver(branch="580", **NVIDIA, **key("second"))["changed"] is False


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("cuda.list", "deb [signed-by=/root/other.gpg] file:/srv/nvidia/debian12/x86_64/ /\n"),
        ("cuda.sources", "Types: deb\nURIs: file:/srv/nvidia/debian12/x86_64\nSuites: /\nSigned-By: /root/other.gpg\n"),
    ],
)
def test_a_repository_has_one_owner(host, file, text):
    path = f"/etc/apt/sources.list.d/{file}"
    host.write(path, text)
    with pytest.raises(Refused, match=f"{path} has file:/srv/nvidia/debian12/x86_64 already"):
        host.driver(branch="580", **NVIDIA, **key("first"))
    assert host.installed() == set()
    assert host.driver(branch="580", duplicates="remove", **NVIDIA, **key("first"))["version"] == "580.178.04"
    assert host.sh(f"cat {path}.gpufleet-backup; ls {path} 2>/dev/null || true") == text.strip()


def test_the_distribution_stays_a_source_where_one_file_has_both(host):
    host.write("/etc/apt/sources.list", SITE + "deb file:/srv/nvidia/debian12/x86_64/ /\n")
    host.sh("rm /etc/apt/sources.list.d/site.list")
    host.driver(branch="580", duplicates="remove", **NVIDIA, **key("first"))
    assert host.sh("cat /etc/apt/sources.list") == SITE.strip()
    assert "file:/srv/nvidia" in host.sh("cat /etc/apt/sources.list.gpufleet-backup")


@pytest.mark.parametrize(("times", "works"), [(1, True), (99, False)], ids=["once", "for ever"])
def test_a_mirror_in_the_middle_of_its_sync_is_asked_again_and_named_at_last(host, times, works):
    host.write("/root/mirror.py", STALE.replace("{times}", str(times)))
    subprocess.run(["docker", "exec", "--detach", host.name, "python3", "/root/mirror.py"], check=True)
    time.sleep(2)
    wish = {**NVIDIA, **key("first"), "repository_url": "http://127.0.0.1:8000/debian12/x86_64"}
    if works:
        assert host.driver(branch="580", **wish)["version"] == "580.178.04"
    else:
        foreign = "deb [signed-by=/repositories/keys/first.asc] http://127.0.0.1:8000/debian12/x86_64/ /"
        host.write("/etc/apt/sources.list.d/cuda.list", foreign)
        with pytest.raises(Refused, match=r"cannot be refreshed, tried 3 times: .*127\.0\.0\.1:8000"):
            host.driver(branch="580", duplicates="remove", **wish)
        assert host.installed() == set() and host.sh("cat /etc/apt/sources.list.d/cuda.list") == foreign
        assert host.sh("find /etc/apt /usr/share/keyrings -name 'gpufleet*' | xargs -r cat") == ""
    host.assert_healthy()


def test_the_key_is_fetched_once_and_verified(host):
    host.write("/root/mirror.py", STALE.replace("{times}", "0").replace("/srv/nvidia", "/repositories"))
    subprocess.run(["docker", "exec", "--detach", host.name, "python3", "/root/mirror.py"], check=True)
    time.sleep(2)
    wish = {**NVIDIA, **key("first"), "repository_key": "http://127.0.0.1:8000/keys/first.asc"}
    assert host.driver(branch="580", **wish)["version"] == "580.178.04"
    host.sh("pkill -f '[m]irror.py'")
    assert host.driver(branch="580", **wish)["changed"] is False


def test_what_stands_beside_the_driver_comes_also_while_a_program_uses_the_gpu(host):
    wish = {**NVIDIA, **key("first"), "users": [{"pid": 4711, "name": "python3"}]}
    host.driver(branch="550", **NVIDIA, **key("first"))
    before = host.installed()
    added = host.driver(branch="550", **wish, dcgm=True)
    assert added["reasons"] == ["datacenter-gpu-manager-4-cuda12 is not installed"]
    assert host.driver(branch="550", **wish, dcgm=True)["changed"] is False
    with pytest.raises(Refused, match=r"python3 \(4711\) use the GPU, so the driver .* \(due: driver 550"):
        host.driver(branch="580", **wish, dcgm=True)
    assert host.installed() == {*before, "datacenter-gpu-manager-4-cuda12=1:4.4.1-1"}
    host.assert_healthy()


def test_the_fabric_manager_is_left_out_where_no_nvswitch_is(host):
    host.driver(branch="580", fabric_manager="nvidia-fabricmanager", **NVIDIA, **key("first"))
    assert not any("fabricmanager" in package for package in host.installed())


def test_the_fabric_manager_is_of_exactly_the_drivers_version_where_an_nvswitch_is(machine, nvswitches):
    host = machine(*nvswitches)
    host.sh("ln -s /repositories/nvidia /srv/nvidia")
    wish = {**NVIDIA, **key("first"), "branch": "580"}
    with pytest.raises(Refused, match="this host has 1 NVSwitch, so CUDA needs the fabric manager of exactly"):
        host.driver(**wish)
    wish["fabric_manager"] = "nvidia-fabricmanager"
    host.driver(version="580.126.16", **wish)
    assert "nvidia-fabricmanager=580.126.16-1" in host.installed() and "nvidia-fabricmanager" in host.held()
    assert host.driver(version="580.126.16", **wish)["changed"] is False
    host.sh("apt-get -qq -y --allow-change-held-packages install nvidia-fabricmanager=580.178.04-1")
    mended = host.driver(version="580.126.16", **wish)
    assert "nvidia-fabricmanager is 580.178.04 and the driver 580.126.16" in mended["reasons"]
    assert "nvidia-fabricmanager=580.126.16-1" in host.installed()
    assert host.driver(version="580.178.04", **wish)["version"] == "580.178.04"
    assert "nvidia-fabricmanager=580.178.04-1" in host.installed()
    before = host.installed()
    with pytest.raises(Refused, match=r"nvidia-fabricmanager is not to be had in exactly the driver's version 550"):
        host.driver(**{**wish, "branch": "550"})
    assert host.installed() == before
    older = host.driver(**{**wish, "branch": "550", "fabric_manager": "nvidia-fabricmanager-550"})
    assert older["version"] == "550.163.01"
    assert {name for name in host.installed() if "fabric" in name} == {"nvidia-fabricmanager-550=550.163.01-1"}
    host.assert_healthy()


def test_the_container_toolkit_comes_from_the_repository_that_the_site_names(host):
    packages = "dpkg-query -W -f '${Package} ' nvidia-container-toolkit 2>/dev/null || true"
    with pytest.raises(Refused, match="does not have nvidia-container-toolkit"):
        host.driver(branch="535", container_toolkit=True)
    with pytest.raises(Refused, match="the source is runfile"):
        host.driver(source="runfile", container_toolkit=True)
    wish = {f"container_toolkit_{name[11:]}": value for name, value in key("first").items()}
    wish.update(container_toolkit=True, container_toolkit_url="file:/repositories/container/deb/amd64")
    with pytest.raises(Refused, match=r"and A{40} is trusted \(nvidia_driver_container_toolkit_fingerprint\)"):
        host.driver(branch="535", **{**wish, "container_toolkit_fingerprint": "A" * 40})
    for source in ({"branch": "535"}, {"branch": "580", **NVIDIA, **key("first")}):
        assert host.driver(**source, **wish)["changed"]
        assert host.sh(packages).strip() == "nvidia-container-toolkit"
        assert host.driver(**source, **wish)["changed"] is False
    assert "nvidia-container-toolkit" not in host.held()
    host.driver(state="absent")
    assert host.sh(packages) == "" and "gpufleet" not in host.sh("ls /etc/apt/* /usr/share/keyrings")
    host.assert_healthy()


def test_dcgm_comes_in_the_package_for_the_cuda_of_the_branch(host):
    wish = {**NVIDIA, **key("first"), "dcgm": True}
    host.driver(branch="550", **wish)
    dcgm = "dpkg-query -W -f '${Package} ' 'datacenter-gpu-manager*' 2>/dev/null || true"
    assert host.sh(dcgm) == "datacenter-gpu-manager-4-cuda12"
    assert host.driver(branch="550", **wish)["changed"] is False
    host.driver(branch="580", **wish)
    assert "datacenter-gpu-manager-4-cuda13" in host.sh(dcgm)
    with pytest.raises(Refused, match="DCGM is in NVIDIA's repository only, and the source is distribution"):
        host.driver(branch="535", dcgm=True)
