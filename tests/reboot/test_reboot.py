"""A machine behind ssh: facts.yml reads it; then the role nvidia_driver takes the GPU from nouveau by a real reboot.

The machine is emulated, and so is the GPU: see disk.py. A reboot ends qemu, and what lies on the disk is started anew,
as a boot loader does.

pytest tests/reboot
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import cores
import pytest
from disk import CHECKOUT, VERSION, build, machine, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no machine to reboot: {REASON}")
START_SECONDS, LIFE_SECONDS, STARTS = 400, 3000, 5
CONFIG = "/etc/modprobe.d/gpufleet-nvidia.conf"
SMI = CHECKOUT / "tests" / "emulation" / "mig_smi.py"
MIG = "/root/mig.json"
PLAY = """
- hosts: all
  gather_facts: false
  roles:
    - role: gpufleet.workstation.nvidia_driver
      nvidia_driver_branch: "535"
      nvidia_driver_flavor: open
      nvidia_driver_minimum_free_mb: {/: 100}
      nvidia_driver_reboot_timeout: 900
      nvidia_driver_reboot: "{{ policy }}"
  post_tasks:
    - ansible.builtin.copy: {content: "{{ __nvidia_driver_result | to_json }}", dest: /root/result.json, mode: "0600"}
      changed_when: false
"""


class Machine:
    """A machine on a disk of its own, started again whenever it reboots."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="reboot-")
        self.path = Path(self.folder.name)
        self.made = build()
        self.kernel = (self.made / "kernel").read_text()
        subprocess.run(["cp", "--sparse=always", self.made / "disk", self.path / "disk"], check=True)
        shutil.copy(self.made / "key", self.path / "key")
        with (self.path / "scratch").open("wb") as file:
            file.truncate(1 << 30)
        (self.path / "key").chmod(0o600)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.first_roots = []
        self.process, self.stopped = None, False
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.keeper.start()

    def keep(self) -> None:
        """Start what lies on the disk, as often as the machine reboots."""
        while not self.stopped and len(self.first_roots) < STARTS:
            for name in ("vmlinuz", "initrd.img"):
                order = f"dump /boot/{name}-{self.kernel} {self.path}/{name}"
                subprocess.run(["debugfs", "-R", order, self.path / "disk"], check=True, capture_output=True)
            self.first_roots.append(hashlib.sha256((self.path / "initrd.img").read_bytes()).hexdigest())
            with (self.path / "console").open("ab") as console:
                self.process = subprocess.Popen(
                    ["timeout", str(LIFE_SECONDS), *self.command()], stdin=subprocess.DEVNULL, stdout=console
                )
                self.process.wait()

    def command(self) -> list[str]:
        """Return qemu's command line."""
        return [
            *(machine.QEMU, "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", f"{self.path}/vmlinuz", "-initrd", f"{self.path}/initrd.img"),
            *("-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1"),
            *("-drive", f"if=virtio,format=raw,file={self.path}/disk"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-drive", f"if=none,id=scratch,format=raw,file={self.path}/scratch"),
            *("-device", "nvme,serial=EX-SCRATCH,drive=scratch"),
            *("-smbios", "type=17,loc_pfx=DIMM_A,manufacturer=Example,part=EX4-1G,serial=10000001,speed=2666"),
            *("-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci", "-device", "pci-testdev"),
        ]

    def ssh(self) -> list[str]:
        """Return the options that ssh needs."""
        no = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=20")
        return ["-i", f"{self.path}/key", *[word for option in no for word in ("-o", option)]]

    def sh(self, script: str, check: bool = True) -> str:
        """Run a shell script in the machine and return what it printed."""
        words = ["ssh", *self.ssh(), "-p", str(self.port), "root@127.0.0.1", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def wait(self) -> None:
        """Wait until it lets somebody in."""
        end = time.monotonic() + START_SECONDS
        while self.sh("echo in", check=False) != "in":
            assert time.monotonic() < end, (self.path / "console").read_text(errors="replace")[-4000:]
            time.sleep(2)

    def boot_id(self) -> str:
        """Return which start of the machine this is."""
        return self.sh("cat /proc/sys/kernel/random/boot_id")

    def loaded(self) -> list[str]:
        """Return which of the two modules are loaded."""
        return [line.split()[0] for line in self.sh("cat /proc/modules").splitlines() if line.startswith(("no", "nv"))]

    def put(self, path: str, text: str) -> None:
        """Write a program into the machine."""
        words = ["ssh", *self.ssh(), "-p", str(self.port), "root@127.0.0.1", f"cat >{path} && chmod 755 {path}"]
        subprocess.run(words, input=text, text=True, check=True, timeout=120)

    def play(self, playbook: str, program: str = "ansible-playbook", **variables: object) -> tuple[int, str]:
        """Run a playbook on the machine, and return the status and what Ansible said."""
        (self.path / "ansible.cfg").write_text("[ssh_connection]\npipelining = true\n")
        (self.path / "inventory").write_text("[workstations]\ngpu01\n")
        told = {
            **variables,
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": " ".join(self.ssh()),
        }
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
            "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"),
            "ANSIBLE_TIMEOUT": "60",
        }
        done = subprocess.run(
            [program, "-i", str(self.path / "inventory"), "-e", json.dumps(told), playbook],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        return done.returncode, done.stdout + done.stderr

    def role(self, policy: str, **variables: object) -> tuple[int, str]:
        """Give the machine the role."""
        (self.path / "play.yml").write_text(PLAY)
        return self.play(str(self.path / "play.yml"), policy=policy, **variables)

    def instances(self) -> list[list[str]]:
        """Return how the stand-in for nvidia-smi says that the two A100 are cut."""
        state = json.loads(self.sh(f"nvidia-smi -q -x >/dev/null; cat {MIG}"))
        return [sorted(one["name"] for one in gpu["instances"] if gpu["mode"]) for gpu in state["gpus"][:2]]

    def stop(self) -> None:
        """End the machine and remove its disk."""
        self.stopped = True
        if self.process:
            self.process.terminate()
        self.keeper.join(timeout=20)
        self.folder.cleanup()


@pytest.fixture(scope="module")
def host():
    running = Machine()
    try:
        running.wait()
        yield running
    finally:
        running.stop()


# Each of these goes on where the one before it ended.


def test_before_it_nouveau_has_the_gpu(host):
    assert host.loaded() == ["nouveau"]
    assert host.sh("lsinitramfs /initrd.img 2>/dev/null | grep -c gpufleet", check=False) == "0"
    assert host.sh("cat /proc/driver/nvidia/version", check=False) == ""


@pytest.mark.parametrize("core", [None, *cores.CORES], ids=lambda core: core or "the environment's ansible-core")
def test_facts_yml_reads_and_judges_it_through_each_ansible_core(host, core):
    program = "ansible-playbook"
    if core:
        requirement, pythons, _targets = cores.CORES[core]
        python = cores.first(pythons)
        if python is None:
            pytest.skip(f"{core} runs on Python {', '.join(pythons)}, and none of these is here")
        folder = CHECKOUT / ".cache" / "cores" / core.replace(" ", "-")
        trouble = cores.environment(requirement, python[0], folder)
        if trouble:
            pytest.skip(f"{core} cannot be had: {trouble}")
        program = str(folder / "bin" / "ansible-playbook")
    status, said = host.play("gpufleet.workstation.facts", program, output_dir=f"{host.path}/facts")
    assert status == 0, said
    facts = json.loads((host.path / "facts" / "gpu01.json").read_text())
    (drive,) = facts["nvme"]["controllers"]
    assert (drive["serial"], drive["health"]["source"]) == ("EX-SCRATCH", "ioctl")
    assert drive["namespaces"][0]["size_bytes"] == 1 << 30
    (dimm,) = facts["memory"]["dimms"]
    assert (dimm["slot"], dimm["part_number"], dimm["size_bytes"]) == ("DIMM_A 0", "EX4-1G", 1 << 30)
    assert [gpu["vendor_id"] for gpu in facts["gpu"]["pci"]] == ["10de"]
    assert {"gpu.unknown", "nvme.minimum", "memory.minimum"} <= {finding["rule"] for finding in facts["findings"]}
    assert "host.container" not in {finding["rule"] for finding in facts["findings"]}


def test_without_leave_to_reboot_the_host_fails_with_the_reason_and_stays_up(host):
    start = host.boot_id()
    status, said = host.role("never")
    assert status == 2, said
    assert "nouveau drives the GPU and cannot be unloaded, and only a reboot changes that" in said
    assert "nvidia_driver_reboot, which is never" in said
    assert (host.boot_id(), host.loaded()) == (start, ["nouveau"])
    assert "blacklist nouveau" in host.sh(f"cat {CONFIG}")


def test_with_leave_it_reboots_and_goes_on_with_the_driver_loaded(host):
    start = host.boot_id()
    status, said = host.role("when_idle")
    assert status == 0, said
    assert host.boot_id() != start
    assert host.loaded() == ["nvidia"]
    assert VERSION in host.sh("cat /proc/driver/nvidia/version")
    assert json.loads(host.sh("cat /root/result.json"))["reboot"]["needed"] is True


def test_the_first_root_knows_that_nouveau_is_not_wanted_and_was_rebuilt_once(host):
    assert CONFIG.lstrip("/") in host.sh(f"lsinitramfs /boot/initrd.img-{host.kernel}").split()
    assert len(host.first_roots) == 2
    assert host.first_roots[0] != host.first_roots[1]


def test_a_further_run_changes_nothing_and_does_not_reboot(host):
    start, first_root = host.boot_id(), host.sh("sha256sum /boot/initrd.img-*")
    status, said = host.role("when_idle")
    assert status == 0, said
    assert "changed=0" in said
    assert (host.boot_id(), host.sh("sha256sum /boot/initrd.img-*")) == (start, first_root)


def test_a_mig_mode_that_waits_for_a_reboot_gets_it_where_the_policy_says_so(host):
    host.put("/usr/local/lib/mig_smi.py", SMI.read_text())
    host.put("/usr/local/bin/nvidia-smi", f'#!/bin/sh\nMIG_STATE={MIG} exec python3 /usr/local/lib/mig_smi.py "$@"\n')
    gpus = [{"mode": False, "pending": False, "instances": []} for _index in range(2)]
    host.put(MIG, json.dumps({"gpus": gpus, "stuck": True, "version": VERSION}))
    layout = {"0": ["1g.5gb", "2g.10gb", "4g.20gb"]}
    start = host.boot_id()
    status, said = host.role("never", nvidia_driver_mig=layout)
    assert status == 2, said
    assert "the MIG mode of GPU 0 changes with a reset that is not possible, and only a reboot changes that" in said
    assert (host.boot_id(), host.instances()) == (start, [[], []])
    status, said = host.role("when_idle", nvidia_driver_mig=layout)
    assert status == 0, said
    assert "failed=0" in said and "Cut the GPUs whose mode waited for the reboot" in said
    assert host.boot_id() != start
    assert host.instances() == [["1g.5gb", "2g.10gb", "4g.20gb"], []]
    start = host.boot_id()
    status, said = host.role("when_idle", nvidia_driver_mig=layout)
    assert status == 0, said
    assert "changed=0" in said and host.boot_id() == start


def test_where_the_reboot_does_not_bring_the_driver_the_host_fails(host):
    host.sh("printf 'install nvidia /bin/false\nblacklist nvidia-current-open\n' >/etc/modprobe.d/nvidia.conf")
    host.sh("rmmod nvidia && modprobe nouveau")
    start = host.boot_id()
    status, said = host.role("always")
    assert status == 2, said
    assert f"after the reboot driver none is loaded and {VERSION} is installed" in " ".join(said.split())
    assert host.boot_id() != start
    assert host.loaded() == []
