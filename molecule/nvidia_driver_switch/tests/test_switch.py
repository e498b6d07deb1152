"""From one real driver to the next: a newer version, another branch, back, modules that do not build, and none at all.

Each is built by DKMS; the container has no GPU. Each of these tests goes on where the one before it ended.
"""

import json
import os
import re
import subprocess
from pathlib import Path

testinfra_hosts = ["ansible://driver-switch"]

CONVERGE = str(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "converge.yml")
FIRST, NEWER, TESLA = "535.261.03", "535.309.01", "470.256.02"
SERVE_ALL = {"nvidia-modprobe", "nvidia-persistenced"}  # their versions are their own
MODULES = "find /lib/modules -name 'nvidia*.ko*' | grep -vE -- '-(drm|modeset|peermem|uvm)\\.ko' || true"


def run(playbook, **variables):
    """Run a playbook as a user does."""
    words = ["-i", os.environ["MOLECULE_INVENTORY_FILE"], "-e", json.dumps(variables), "--diff", playbook]
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(["ansible-playbook", *words], capture_output=True, text=True, check=False, env=environment)


def play(playbook, **variables):
    """Run a playbook, which has to succeed; return how many things it changed."""
    done = run(playbook, **variables)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return int(re.search(r"changed=(\d+)", done.stdout).group(1))


def packages(host):
    """Return version and state of the packages of drivers, also of those that are gone but for their configuration."""
    form = "${Package} ${Version} ${db:Status-Abbrev}\n"
    said = host.run(
        "dpkg-query --show --showformat=%s 'nvidia-*' 'libnvidia-*' 'firmware-nvidia-*' 'libcuda1*'", form
    ).stdout
    rows = [line.split() for line in said.splitlines() if len(line.split()) == 3]
    return {name: (version, state) for name, version, state in rows if state != "un"}


def assert_has(host, version, file, licence):
    """Hold the host to having one driver, built and held, and nothing of another."""
    (module,) = host.check_output(MODULES).split()
    assert module.endswith(f"/updates/dkms/{file}.ko")
    told = host.check_output("modinfo %s", module)
    assert f"version:        {version}\n" in told and f"license:        {licence}\n" in told
    (built,) = [line for line in host.check_output("dkms status").splitlines() if "nvidia" in line]
    assert version in built and "installed" in built
    there = {name: row for name, row in packages(host).items() if row[1] != "rc"}
    assert {state for _version, state in there.values()} == {"hi"}
    own = {name: found for name, (found, _state) in there.items() if re.match(r"\d{3}\.", found)}
    assert {found.split("-")[0] for name, found in own.items() if name not in SERVE_ALL} == {version}
    assert host.check_output("dpkg --audit") == ""


def test_the_version_that_was_asked_for_is_there_and_not_the_newest(host):
    assert_has(host, FIRST, "nvidia-current", "NVIDIA")


def test_a_newer_version_is_an_ordinary_run(host):
    assert play(CONVERGE, version=NEWER) == 1
    assert_has(host, NEWER, "nvidia-current", "NVIDIA")


def test_another_branch_is_an_ordinary_run(host):
    assert play(CONVERGE, branch="470", version="") == 1
    assert_has(host, TESLA, "nvidia-tesla-470", "NVIDIA")
    assert play(CONVERGE, branch="470", version="") == 0


def test_the_way_back_needs_no_archive(host):
    host.check_output("mv /etc/apt/sources.list.d /etc/apt/sources.list /var/lib/apt/lists /root")
    assert play("gpufleet.workstation.rollback", rollback="nvidia_driver") == 1
    assert_has(host, NEWER, "nvidia-current", "NVIDIA")
    host.check_output(
        "cd /root; mv sources.list.d sources.list /etc/apt; rm -rf /var/lib/apt/lists; mv lists /var/lib/apt"
    )


def test_open_modules_that_this_kernel_is_too_new_for_leave_the_driver_that_was_there(host):
    # Debian's security updates have a newer driver, and none with open modules: these are of 535.261.03, and since
    # 6.1.0-56 or before do not compile any more. Should Debian mend that, they have to be what is there.
    done = run(CONVERGE, version="", flavor="open")
    if done.returncode == 0:
        assert_has(host, FIRST, "nvidia-current-open", "Dual MIT/GPL")
        return
    said = " ".join(done.stdout.split())
    assert f"the installation of driver {FIRST} failed: Error! Bad return status for module build on kernel" in said
    assert f"It was taken back: apt is healthy and driver {NEWER} is installed as before" in said
    assert "error: too few arguments to function" in said  # the end of the build's log
    assert_has(host, NEWER, "nvidia-current", "NVIDIA")


def test_a_removed_driver_leaves_nothing(host):
    assert play(CONVERGE, state="absent") == 1
    assert packages(host) == {}
    assert host.check_output(MODULES) == ""
    assert host.check_output("apt-mark showhold; dpkg --audit") == ""
    assert host.check_output("find /etc /usr/src /usr/share/keyrings -iname '*nvidia*'") == ""
    assert host.run("dpkg-query --show dkms").rc != 0
    assert play(CONVERGE, state="absent") == 0
