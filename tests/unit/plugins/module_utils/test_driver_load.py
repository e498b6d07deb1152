# -*- coding: utf-8 -*-
"""Which driver is loaded, who uses it, and how another takes its place; the kernel is a folder that commands change."""

import os
import shutil

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver_load as load
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run, Wanted
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result

RELEASE = "6.1.0-50-amd64"
NVRM = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Jan 1 00:00:00 UTC 2026\n"


class Kernel(Host):
    """A host with one V100, whose modprobe loads ``installed`` and refuses to unload what is named in ``stuck``."""

    def __init__(self, root, installed="535.261.03", stuck=(), refuses="", stopped=False):
        super().__init__(str(root))
        self.installed, self.stuck, self.refuses, self.stopped = installed, stuck, refuses, stopped
        self.commands = []
        device = "sys/bus/pci/devices/0000:3b:00.0/"
        files = {
            device + "vendor": "0x10de",
            device + "class": "0x030200",
            "proc/sys/kernel/osrelease": RELEASE,
            "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
            f"boot/vmlinuz-{RELEASE}": "",
            f"lib/modules/{RELEASE}/kernel/a": "",
            "proc/1/environ": "",
            "run/systemd/system/a": "",
        }
        for path, text in files.items():
            self.put(path, text)

    def put(self, path, text):
        place = self.path(path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w", encoding="utf-8") as file:
            file.write(text)

    def loads(self, version, *modules):
        """Let a driver be loaded; none with None."""
        self.put("proc/modules", "".join(f"{name} 1 0 - Live\n" for name in modules))
        if version:
            self.put("proc/driver/nvidia/version", NVRM.format(version))
        else:
            shutil.rmtree(self.path("proc/driver"), ignore_errors=True)
        return self

    def uses(self, pid, name, device="/dev/nvidia0"):
        self.put(f"proc/{pid}/comm", name)
        os.makedirs(self.path(f"proc/{pid}/fd"), exist_ok=True)
        os.symlink(device, self.path(f"proc/{pid}/fd/7"))

    def run(self, argv, timeout, env=None, pass_fds=()):
        self.commands.append(" ".join(argv))
        if argv[:2] == ["modprobe", "--remove"]:
            if argv[2] in self.stuck:
                return Result(1, "", f"modprobe: FATAL: Module {argv[2]} is in use.", None)
            left = [
                line.split()[0] for line in self.read_text("proc/modules").splitlines() if argv[2] not in line.split()
            ]
            self.loads(None, *left) if argv[2] == "nvidia" else self.put(
                "proc/modules", "\n".join(f"{one} 1" for one in left)
            )
        elif argv == ["modprobe", "nvidia"]:
            if self.refuses:
                return Result(1, "", self.refuses, None)
            self.loads(self.installed, "nvidia", "nvidia_uvm")
        active = "persistenced" in argv[-1] and not self.stopped
        return Result(0 if argv[:2] != ["systemctl", "is-active"] or active else 3, "", "", None)


def bring_up(kernel, **wanted):
    return Run(kernel, Wanted(**wanted), False).bring_up(kernel.installed, "proprietary")


def test_a_loaded_driver_that_is_the_installed_one_is_left_alone(tmp_path):
    kernel = Kernel(tmp_path).loads("535.261.03", "nvidia")
    assert bring_up(kernel) == {"needed": False, "reason": "", "processes": []}
    assert kernel.commands == []


def test_another_driver_is_unloaded_and_loaded_anew_with_the_daemon_stopped_for_it(tmp_path):
    kernel = Kernel(tmp_path).loads("470.256.02", "nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm")
    assert bring_up(kernel)["needed"] is False
    assert load.look(kernel).loaded == "535.261.03"
    assert [command for command in kernel.commands if "is-active" not in command] == [
        "systemctl stop nvidia-persistenced",
        "modprobe --remove nvidia_drm",
        "modprobe --remove nvidia_modeset",
        "modprobe --remove nvidia_uvm",
        "modprobe --remove nvidia",
        "modprobe nvidia",
        "modprobe nvidia_uvm",
        "systemctl start nvidia-persistenced",
    ]


def test_no_module_is_touched_while_a_program_uses_the_gpu(tmp_path):
    kernel = Kernel(tmp_path).loads("470.256.02", "nvidia")
    kernel.uses(4711, "python3", "/dev/nvidia-uvm")
    kernel.uses(12, "nvidia-persiste")
    kernel.uses(13, "bash", "/dev/null")
    reboot = bring_up(kernel)
    assert (reboot["needed"], reboot["processes"]) == (True, [{"pid": 4711, "name": "python3"}])
    assert reboot["reason"] == "driver 470.256.02 is loaded and 535.261.03 is installed"
    assert kernel.commands == []


def test_a_program_that_began_after_the_run_did_is_seen(tmp_path):
    kernel = Kernel(tmp_path).loads("470.256.02", "nvidia")
    run = Run(kernel, Wanted(), False)
    kernel.uses(4711, "python3")
    os.unlink(kernel.path(f"boot/vmlinuz-{RELEASE}"))  # the driver is not built for what runs: a reboot is due
    run.see_kernels()
    assert run.bring_up("535.261.03", "proprietary")["processes"] == [{"pid": 4711, "name": "python3"}]
    with pytest.raises(Failed, match=r"python3 \(4711\) use the GPU"):
        run.refuse_busy("535")


def test_a_change_is_refused_while_a_program_uses_the_gpu_unless_it_may_be_ended(tmp_path):
    kernel = Kernel(tmp_path).loads("470.256.02", "nvidia")
    kernel.uses(4711, "python3")
    for policy in ("never", "when_idle"):
        with pytest.raises(Failed, match=r"python3 \(4711\) use the GPU, so the driver 470\.256\.02 is left as it is"):
            Run(kernel, Wanted(reboot=policy), False).refuse_busy("535")
    Run(kernel, Wanted(reboot="always"), False).refuse_busy("535")


def test_a_module_that_stays_needs_a_reboot_and_the_daemon_runs_again(tmp_path):
    kernel = Kernel(tmp_path, stuck=["nvidia_modeset"]).loads("470.256.02", "nvidia", "nvidia_modeset")
    reboot = bring_up(kernel)
    assert reboot["needed"] and reboot["reason"].endswith("Module nvidia_modeset is in use.")
    assert kernel.commands[-1] == "systemctl start nvidia-persistenced"


def test_nouveau_gives_way_or_a_reboot_is_needed(tmp_path):
    kernel = Kernel(tmp_path).loads(None, "nouveau")
    assert bring_up(kernel)["needed"] is False and load.look(kernel).loaded == "535.261.03"
    stuck = Kernel(tmp_path, stuck=["nouveau"]).loads(None, "nouveau")
    assert "nouveau drives the GPU and cannot be unloaded" in bring_up(stuck)["reason"]


def test_a_driver_for_a_kernel_that_does_not_run_needs_a_reboot(tmp_path):
    kernel = Kernel(tmp_path).loads(None)
    kernel.put("proc/sys/kernel/osrelease", "6.1.0-49-amd64")
    reboot = bring_up(kernel)
    assert reboot["needed"] and "is not built for the kernel 6.1.0-49-amd64 that runs" in reboot["reason"]


def test_what_secure_boot_rejects_is_told_as_that(tmp_path):
    kernel = Kernel(tmp_path, refuses="modprobe: ERROR: could not insert 'nvidia': Key was rejected by service").loads(
        None
    )
    with pytest.raises(Failed, match=r"Key was rejected by service\. The kernel takes modules only from signers"):
        bring_up(kernel)


def test_a_host_without_a_gpu_and_a_container_load_nothing(tmp_path):
    kernel = Kernel(tmp_path).loads(None)
    kernel.put("proc/1/environ", "container=docker\0")
    assert bring_up(kernel)["needed"] is False and kernel.commands == []
    shutil.rmtree(kernel.path("sys/bus/pci"))
    kernel.put("proc/1/environ", "")
    assert bring_up(kernel)["needed"] is False and kernel.commands == []


def test_a_container_on_a_gpu_host_is_refused(tmp_path):
    kernel = Kernel(tmp_path).loads("470.256.02", "nvidia")
    kernel.put("proc/1/environ", "container=docker\0")
    with pytest.raises(Failed, match="the driver belongs to that host"):
        Run(kernel, Wanted(), False).refuse_container()


def test_signatures_matter_where_a_gpu_is_and_the_kernel_is_ours(tmp_path):
    kernel = Kernel(tmp_path).loads(None)
    kernel.put("sys/kernel/security/lockdown", "none [integrity] confidentiality")
    assert load.look(kernel).enforced is True
    kernel.put("proc/1/environ", "container=docker\0")
    assert load.look(kernel).enforced is False


def test_check_mode_foretells_and_touches_no_module(tmp_path):
    kernel = Kernel(tmp_path).loads("470.256.02", "nvidia")
    run = Run(kernel, Wanted(), True)
    assert run.bring_up("535.261.03", "proprietary")["needed"] is False
    assert run.reasons == ["driver 470.256.02 is loaded and 535.261.03 is installed"]
    assert kernel.commands == []


def test_the_daemon_is_started_when_its_own_driver_is_loaded_and_only_enabled_before(tmp_path):
    kernel = Kernel(tmp_path, stopped=True).loads("470.256.02", "nvidia")
    kernel.put("lib/systemd/system/nvidia-persistenced.service", "[Service]\nExecStart=/bin/p --no-persistence-mode\n")
    Run(kernel, Wanted(), False).services("535.261.03")  # the other one is still loaded; a reboot is due
    assert [command for command in kernel.commands if "is-" not in command] == ["systemctl daemon-reload"]
    assert (
        "ExecStart=/bin/p\n"
        in kernel.read_text("/etc/systemd/system/nvidia-persistenced.service.d/gpufleet.conf") + "\n"
    )
    kernel.loads("535.261.03", "nvidia")
    Run(kernel, Wanted(), False).services("535.261.03")
    assert kernel.commands[-1] == "systemctl restart nvidia-persistenced.service"


def test_a_daemon_that_runs_without_persistence_starts_anew_with_it(tmp_path):
    kernel = Kernel(tmp_path).loads("535.261.03", "nvidia")
    kernel.put("lib/systemd/system/nvidia-persistenced.service", "[Service]\nExecStart=/bin/p --no-persistence-mode\n")
    for _run in range(2):
        Run(kernel, Wanted(), False).services("535.261.03")
    assert kernel.commands.count("systemctl restart nvidia-persistenced.service") == 1


def test_the_fabric_manager_runs_where_an_nvswitch_is_and_nowhere_else(tmp_path):
    kernel = Kernel(tmp_path, stopped=True).loads("535.261.03", "nvidia")
    Run(kernel, Wanted(), False).services("535.261.03")
    assert kernel.commands == []
    kernel.put("sys/bus/pci/devices/0000:c4:00.0/vendor", "0x10de")
    kernel.put("sys/bus/pci/devices/0000:c4:00.0/class", "0x068000")
    Run(kernel, Wanted(), False).services("535.261.03")
    assert kernel.commands[-1] == "systemctl restart nvidia-fabricmanager.service"


def test_an_initramfs_is_rebuilt_once_and_again_only_if_that_failed(tmp_path):
    kernel = Kernel(tmp_path)
    kernel.put("usr/sbin/update-initramfs", "")
    run = Run(kernel, Wanted(), False)
    run.file("/etc/modprobe.d/gpufleet-nvidia.conf", "blacklist nouveau\n")
    run.initramfs()
    Run(kernel, Wanted(), False).initramfs()
    assert kernel.commands == ["update-initramfs -u -k all"]
    os.unlink(kernel.path("var/lib/gpufleet/nvidia_driver.json"))  # as after a run that was cut off
    Run(kernel, Wanted(), False).initramfs()
    assert len(kernel.commands) == 2
