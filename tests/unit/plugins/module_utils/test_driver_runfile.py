# -*- coding: utf-8 -*-
"""NVIDIA's installer: what is asked of it, what it says of itself, and when it is not started at all."""

import hashlib

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver_runfile as runfile
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run, Wanted
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Result
from test_driver_load import RELEASE, Kernel

DIGITS = hashlib.sha256(b"").hexdigest()
# From what NVIDIA-Linux-x86_64-575.57.08.run --advanced-options prints.
SAID = """
--extract-decompress
  Extract the embedded decompression program to stdout

  -s, --silent
      Run silently; no questions are asked.  This option implies '--ui=none --no-questions'.

  -k KERNEL-NAME, --kernel-name=KERNEL-NAME
      The options '--kernel-install-path' and '--invented-here' are inferred.

  --dkms, --no-dkms
      nvidia-installer can optionally register the sources with DKMS.

  -M KERNEL-MODULE-TYPE, --kernel-module-type=KERNEL-MODULE-TYPE
      The type of kernel modules to build and install. Valid values are open and proprietary.

  --allow-installation-with-running-driver, --no-allow-installation-with-running-driver
      Proceed with installation even if an NVIDIA driver is already installed and running.
"""


def made(version="580.126.16", flavor="proprietary"):
    return runfile.wish(f"https://x.example.org/NVIDIA-Linux-x86_64-{version}.run", DIGITS, "", flavor)


@pytest.mark.parametrize(
    ("url", "version"),
    [
        ("https://x.example.org/a/NVIDIA-Linux-x86_64-535.261.03.run", "535.261.03"),
        ("https://u:p@x.example.org/NVIDIA-Linux-aarch64-580.126.16.run", "580.126.16"),
        ("file:///srv/NVIDIA-Linux-x86_64-470.82-no-compat32.run", "470.82"),
        ("/srv/with space/NVIDIA-Linux-x86_64-535.261.03-custom.run", "535.261.03"),
    ],
)
def test_the_version_stands_in_the_files_name(url, version):
    wanted = runfile.wish(url, "sha256:" + DIGITS.upper(), "", "proprietary")
    assert (wanted.version, wanted.checksum) == (version, DIGITS)
    assert "://" in wanted.url and " " not in wanted.url


@pytest.mark.parametrize(
    ("url", "checksum", "version", "flavor", "words"),
    [
        ("", DIGITS, "", "proprietary", "nvidia_driver_runfile_url"),
        ("/srv/NVIDIA-Linux-x86_64-535.261.03.run", "", "", "proprietary", "nvidia_driver_runfile_checksum"),
        ("/srv/NVIDIA-Linux-x86_64-535.261.03.run", "md5:" + DIGITS[:32], "", "proprietary", "SHA-256"),
        ("ftp://x.example.org/NVIDIA-Linux-x86_64-535.261.03.run", DIGITS, "", "proprietary", "neither an address"),
        ("https://x.example.org/NVIDIA-Linux-x86_64-580.1.1.run?token=a", DIGITS, "", "proprietary", "has a query"),
        ("/srv/driver.run", DIGITS, "", "proprietary", "set nvidia_driver_version"),
        ("/srv/NVIDIA-Linux-x86_64-470.256.02.run", DIGITS, "", "open", "begin with branch 515"),
    ],
)
def test_what_cannot_be_meant_is_refused(url, checksum, version, flavor, words):
    with pytest.raises(Failed, match=words):
        runfile.wish(url, checksum, version, flavor)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("580.159.04\nNVIDIA Driver\n1: /usr/bin/nvidia-modprobe\n", "580.159.04"),
        ("1.0-105917 (470.82)\nNVIDIA Driver\n", "470.82"),
        ("", None),
    ],
)
def test_the_notes_of_an_installer_say_what_is_installed(text, version):
    assert runfile.noted_version(text) == version


def test_a_runfile_says_what_it_is_and_something_else_says_nothing():
    head = 'label="NVIDIA Accelerated Graphics Driver for Linux-x86_64 580.126.16"\n'
    assert runfile.identity(head) == ("x86_64", "580.126.16")
    assert runfile.identity('targetdir="NVIDIA-Linux-aarch64-535.54"') == ("aarch64", "535.54")
    assert runfile.identity("<html>not here</html>") is None


def test_an_option_is_known_where_the_installer_describes_it_and_not_where_it_only_mentions_it():
    known = runfile.known_options(SAID)
    assert {"--silent", "--kernel-name", "--no-dkms", "--kernel-module-type"} <= known
    assert "--allow-installation-with-running-driver" in known
    assert not {"--invented-here", "--ui", "--no-questions"} & known


def test_the_flavour_is_said_in_the_words_of_each_installer():
    later = runfile.arguments(runfile.known_options(SAID), made(), None, True, "/t", False)
    assert "--kernel-module-type=proprietary" in later and "--no-opengl-files" in later and "--tmpdir=/t" in later
    assert not any(name.startswith(("--kernel-name", "--allow")) for name in later)
    before = runfile.arguments(set(), made("535.261.03", "open"), "6.1.0-50-amd64", False, "/t", False)
    assert {"--kernel-module-build-directory=kernel-open", "--kernel-name=6.1.0-50-amd64"} <= set(before)
    assert not any(name.startswith(("--kernel-module-type", "--no-opengl")) for name in before)
    oldest = runfile.arguments(set(), made("470.256.02"), None, True, "/t", False)
    assert not any(name.startswith("--kernel-module") for name in oldest)


def test_an_installer_that_does_not_work_beside_a_loaded_driver_is_not_started():
    assert "--allow-installation-with-running-driver" in runfile.arguments(
        runfile.known_options(SAID), made(), None, True, "/t", True
    )
    with pytest.raises(Failed, match=r"does not work while another driver is loaded.*Nothing was changed"):
        runfile.arguments(set(), made("535.261.03"), None, True, "/t", True)


def test_what_an_installer_complains_of_is_one_line():
    said = "ERROR: An error occurred\n   while building.\nERROR: Installation has\n  failed.\n"
    assert runfile.complaint(Result(1, "", said, None)) == "ERROR: An error occurred ERROR: Installation has"
    assert runfile.complaint(Result(None, "", "", "timed out after 5 s")) == "timed out after 5 s"


# ---- on a host that is a folder ----


class NoPackages:
    """A package manager that has no driver and all that a build needs."""

    def settle(self):
        pass

    def driver(self):
        return None

    def drivers(self):
        return {}

    def missing_to_build(self):
        return []

    require_to_build = refuse_held = leave = tidy = settle

    def keep_drivers(self, change):
        pass


class Installed(Kernel):
    """A host whose installer installs ``brings``; None fails."""

    brings = "580.126.16"

    def run(self, argv, timeout, env=None, pass_fds=()):
        if argv[0] == "modinfo":
            version = self.read_text(runfile.NOTES).split("\n")[0]
            return Result(0, f"version: {version}\nlicense: NVIDIA\n", "", None)
        if argv[-1] == "--advanced-options":
            return Result(0, SAID, "", None)
        if argv[0] == "sh":
            self.commands.append("installer " + " ".join(argv[2:]))
            if not self.brings:
                self.put(runfile.LOG, "ERROR: it went wrong\n")
                return Result(1, "", "ERROR: it went wrong", None)
            self.notes(self.brings)
            return Result(0, "", "", None)
        return super().run(argv, timeout, env, pass_fds)

    def notes(self, version):
        self.put(runfile.NOTES, version + "\nNVIDIA\n")
        self.put(runfile.UNINSTALL, "")
        self.put(f"lib/modules/{RELEASE}/updates/dkms/nvidia.ko", version)


@pytest.fixture
def host(tmp_path):
    """Return a host with a loaded driver 535.261.03, and a runfile of another in its cache."""
    one = Installed(tmp_path, installed="580.126.16").loads("535.261.03", "nvidia_uvm", "nvidia")
    one.notes("535.261.03")
    one.put(f"var/lib/gpufleet/nvidia_driver/{DIGITS[:12]}-NVIDIA-Linux-x86_64-580.126.16.run", "")
    return one


def change(host, **wanted):
    options = {"source": "runfile", "runfile_url": made().url, "runfile_checksum": DIGITS, **wanted}
    run = Run(host, Wanted(**options), False)
    one = runfile.Runfile(run, NoPackages())
    one._fetch = lambda made: host.path("/cached.run")
    return run, one


def test_the_loaded_driver_is_unloaded_before_the_installer_starts(host):
    run, one = change(host)
    assert one.present() == ("580.126.16", "proprietary")
    said = [line for line in host.commands if line.startswith(("modprobe", "installer", "systemctl stop"))]
    assert [line.split()[0:2] for line in said[:3]] == [
        ["systemctl", "stop"],
        ["modprobe", "--remove"],
        ["modprobe", "--remove"],
    ]
    assert said[3].startswith("installer --silent") and "--allow-installation" not in said[3]
    assert run.state["current"]["version"] == "580.126.16" and run.machine.loaded is None
    assert run.state["previous"] == {
        "version": "535.261.03", "flavor": "proprietary", "packages": {}, "runfile": "", "checksum": "",
    }  # fmt: skip


def test_the_persistence_daemon_gets_a_unit_which_goes_with_the_runfile_and_is_never_somebody_elses(host):
    host.put(runfile.PERSISTENCED, "")
    _run, one = change(host)
    one.present()
    assert f"ExecStart={runfile.PERSISTENCED}" in host.read_text(runfile.UNIT)
    one.leave()
    assert host.exists(runfile.UNIT)  # for the driver is there
    one.there = None
    one.leave()
    assert not host.exists(runfile.UNIT)
    host.put(runfile.UNIT, "[Service]\nExecStart=/site/daemon\n")
    one._finish()
    one.leave()
    assert "/site/daemon" in host.read_text(runfile.UNIT)


def test_a_driver_that_a_program_uses_is_left_as_it_is(host):
    host.uses(4711, "python3")
    _run, one = change(host)
    with pytest.raises(Failed, match=r"python3 \(4711\) use the GPU"):
        one.present()
    assert not any(line.startswith("installer") for line in host.commands)


def test_with_the_policy_always_the_installer_works_beside_what_is_loaded(host):
    host.uses(4711, "python3")
    host.stuck = ("nvidia_uvm",)
    _run, one = change(host, reboot="always")
    one.present()
    assert "--allow-installation-with-running-driver" in next(line for line in host.commands if "installer -" in line)


def test_an_nvswitch_is_a_reason_not_to_take_a_runfile(host):
    host.put("sys/bus/pci/devices/0000:c4:00.0/vendor", "0x10de")
    host.put("sys/bus/pci/devices/0000:c4:00.0/class", "0x068000")
    _run, one = change(host)
    with pytest.raises(Failed, match="fabric manager of exactly the driver's version"):
        one.present()


def test_an_installer_that_fails_before_it_removed_anything_leaves_all_and_the_driver_is_loaded_again(host):
    host.installed = "535.261.03"
    host.brings = None
    run, one = change(host)
    with pytest.raises(
        Failed, match=r"driver 535\.261\.03 \(proprietary\) is installed as before\n.*ends with"
    ) as caught:
        one.present()
    assert "it went wrong" in str(caught.value)
    assert host.commands[-2:] == ["modprobe nvidia", "modprobe nvidia_uvm"] and run.stopped
    run.restart()
    assert host.commands[-1].startswith("systemctl start")
