"""The rules of the role preflight: for each a host that breaks it, one that keeps it, and one that does not say."""

import copy
import random

import pytest
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._preflight import LEVELS, SEVERITIES, findings
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules import RULES

GB = 1000**3
GIB = 2**30
KEY = "/usr/share/keyrings/cuda-archive-keyring.gpg"

GPU = {
    "address": "0000:3b:00.0",
    "kind": "gpu",
    "vendor": "nvidia",
    "vendor_id": "10de",
    "device_id": "1db6",
    "model": "Tesla V100 PCIe 32GB",
    "architecture": "volta",
    "compute_capability": "7.0",
    "kernel_driver": "nvidia",
    "link": {"speed_gts": 2.5, "width": 16, "max_speed_gts": 8.0, "max_width": 16},
}
SWITCH = {"address": "0000:05:00.0", "kind": "nvswitch", "vendor": "nvidia", "kernel_driver": "nvidia"}
ANSWER = {
    "address": "0000:3b:00.0",
    "complaint": None,
    "name": "Tesla V100-PCIE-32GB",
    "uuid": "GPU-1",
    "vbios": "88.00.48.00.02",
    "ecc_mode": True,
    "ecc_mode_pending": True,
    "mig_mode": None,
    "mig_mode_pending": None,
    "ecc_errors_volatile": {"corrected": 3, "uncorrected": 0},
    "ecc_errors_aggregate": {"corrected": 3, "uncorrected": 0},
    "ecc_sram_threshold_exceeded": None,
    "row_remap_pending": None,
    "row_remap_failure": None,
    "row_remap_banks": None,
    "retired_pages_single_bit": 1,
    "retired_pages_double_bit": 0,
    "retired_pages_pending": False,
    "recovery_action": "None",
    "reset_required": None,
    "nvlinks": [{"index": 0, "active": True}, {"index": 1, "active": True}],
    "nvlinks_active": 2,
    "power_limit_watts": 250.0,
    "power_default_limit_watts": 250.0,
    "clocks_event_reasons": ["sw_power_cap"],
    "fabric_state": None,
    "fabric_status": None,
    "persistence": True,
    "processes": [],
}
KERNEL = {
    "driver_version": "580.126.16",
    "flavor": "proprietary",
    "userspace_version": "580.126.16",
    "userspace_matches": True,
    "modules": ["nvidia", "nvidia_uvm"],
    "installed_module": {"path": "/lib/modules/x/nvidia.ko", "flavor": "proprietary", "signed": False},
    "kernels": [
        {"release": "6.1.0-28-amd64", "running": True, "module_files": ["nvidia.ko"], "dkms_state": "installed"},
        {"release": "6.1.0-29-amd64", "running": False, "module_files": ["nvidia.ko"], "dkms_state": "installed"},
        {"release": "5.10.0-1-amd64", "running": False, "module_files": [], "dkms_state": "failed"},
    ],
    "secure_boot": False,
    "module_signatures_enforced": False,
    "xid_counts": [],
    "driver_complaints": [],
}
DRIVE = {
    "name": "nvme0",
    "model": "PM1733",
    "serial": "S1",
    "state": "live",
    "local": True,
    "link": {"width": 4, "max_width": 4},
    "namespaces": [{"name": "nvme0n1", "wwid": "eui.1", "size_bytes": 3840 * GB, "read_only": False}],
    "health": {
        "critical_warning": {"spare_below_threshold": False, "temperature": False, "read_only": False},
        "temperature_celsius": 38,
        "available_spare_percent": 10,
        "spare_threshold_percent": 10,
        "percentage_used": 89,
        "media_errors": 0,
    },
}
WAY = {**DRIVE, "name": "nvme1", "local": False, "subsystem_nqn": "nqn.x", "namespaces": [], "health": None}
DOWN = {**WAY, "name": "nvme2", "state": "connecting"}
DIMM = {
    "slot": "DIMM_A1",
    "array": "0x1000",
    "size_bytes": 32 * GIB,
    "type": "DDR4",
    "speed_mts": 2666,
    "configured_speed_mts": 2666,
    "manufacturer": "Samsung",
    "part_number": "M393A4K40CB2-CTD",
    "ecc": True,
    "rank": 2,
}
MEMORY = {
    "total_bytes": 64 * GB,
    "installed_bytes": 64 * GIB,
    "missing_bytes": 0,
    "hardware_corrupted_bytes": 0,
    "dimms": [DIMM, {**DIMM, "slot": "DIMM_B1", "array": "0x1001"}],
    "arrays": [
        {"handle": "0x1000", "use": "system"},
        {"handle": "0x1001", "use": "system"},
        {"handle": "0x2000", "use": "flash"},
    ],
    "edac": [{"controller": "mc0", "corrected": 0, "uncorrected": 0, "modules": []}],
    "gaps": [],
}


def filesystem(path, mountpoint, free_gb, **more):
    return {
        "path": path,
        "mountpoint": mountpoint,
        "fstype": "ext4",
        "read_only": False,
        "noexec": False,
        "free_bytes": int(free_gb * GB),
        "inodes": 6_000_000,
        "free_inodes": 5_000_000,
        **more,
    }


def built(free_gb, **more):
    """Return the filesystem of a host that was provisioned, everything on one."""
    there = {"exists": True, **more}
    return [filesystem(path, "/", free_gb, **there) for path in ("/", "/opt/gpufleet", "/var")]


def source(file, uri, suite="jammy", components=("main",), signed_by=None, kind="deb"):
    return {
        "file": file,
        "line": 1,
        "type": kind,
        "uri": uri,
        "suite": suite,
        "components": list(components),
        "signed_by": signed_by,
    }


HOST = {
    "gaps": [],
    "clock_offset_seconds": -60.0,
    "clock_synchronized": True,
    "container": None,
    "processors": {"logical": 8},
    "kernel": {"release": "6.1.0-29-amd64", "headers": True, "newest_installed": "6.1.0-29-amd64"},
    "reboot_required": False,
    "reboot_required_by": [],
    "fabric_manager": False,
    "filesystems": [
        filesystem("/", "/", 20),
        filesystem("/boot", "/boot", 0.3, inodes=60_000, free_inodes=59_000),
        filesystem("/var", "/", 20),
        filesystem("/tmp", "/tmp", 2),
        filesystem("/opt/gpufleet", "/", 20),
        filesystem("/media", "/media", 0, read_only=True, free_inodes=0),
    ],
    "packages": {
        "manager": "dpkg",
        "interrupted": [],
        "journal": [],
        "lock_pid": None,
        "held": ["grub-pc"],
        "held_by_roles": [],
        "unattended_upgrades": False,
        "blacklisted": ["vim"],
        "excluded": ["httpd*"],
        "version_locked": [],
    },
    "apt_sources": [
        source("/etc/apt/sources.list", "http://archive.example.org/ubuntu", components=["main", "restricted"]),
        source("/etc/apt/sources.list", "http://archive.example.org/ubuntu/", components=["universe"]),
        source("/etc/apt/sources.list", "http://archive.example.org/ubuntu", kind="deb-src"),
        source(
            "/etc/apt/sources.list.d/gpufleet-cuda.sources", "https://developer.download.nvidia.com/x/", "/", [], KEY
        ),
    ],
}
HEALTHY = {
    "gpu": {
        "pci": [GPU],
        "kernel": KERNEL,
        "smi": {"gpus": [ANSWER]},
        "smi_status": "answered",
        "gaps": [],
        "disagreements": [],
    },
    "memory": MEMORY,
    "nvme": {"controllers": [DRIVE], "gaps": []},
    "host": HOST,
    "processor_nproc": 8,
}
EXPECTED = {
    "expected_gpus": {"model": "v100", "count": 1},
    "minimum_memory_gb": 64,
    "minimum_nvme_tb": 3.84,
    "minimum_processors": 8,
    "minimum_free_gb": {"/": 20, "/boot": 0.3, "/var": 5, "/tmp": 2, "/opt/gpufleet": 10},
    "root": "/opt/gpufleet",
    "maximum_clock_offset": 60,
    "maximum_nvme_wear": 90,
}
LINKED = {**EXPECTED, "expected_gpus": {"pcie_width": 16, "nvlinks": 2}}

SMI = ("gpu", "smi", "gpus", 0)
DRIVER = ("gpu", "kernel")
NVME = ("nvme", "controllers", 0)
HEALTH = (*NVME, "health")
PACKAGES = ("host", "packages")
SOURCES = ("host", "apt_sources")
XID = {"address": "0000:3b:00.0", "count": 2}
ARCHIVE = "http://archive.example.org/ubuntu"
# The rule, where the facts differ from the healthy host's, what raises it, what does not though it is as near as
# can be, and what the message says.
TABLE = [
    ("gpu.none", ("gpu", "pci"), [], [GPU], "frameworks are installed for the CPU"),
    ("gpu.unknown", ("gpu", "pci", 0, "architecture"), None, "hopper", "10de:1db6"),
    ("gpu.expected", ("gpu", "pci"), [GPU, {**GPU, "address": "x"}], [GPU, {**GPU, "model": "T4"}],
     "1 x v100 expected, 2 found"),
    ("gpu.lost", (*SMI, "uuid"), None, "GPU-2", "0000:3b:00.0 is on the bus but does not answer"),
    ("gpu.silent", ("gpu", "smi_status"), "timed_out", "missing", "does not come to an end, though the driver holds"),
    ("gpu.nouveau", ("gpu", "pci", 0, "kernel_driver"), "nouveau", "vfio-pci", "0000:3b:00.0"),
    ("gpu.passed_through", ("gpu", "pci", 0, "kernel_driver"), "vfio-pci", "nvidia", "vfio-pci holds the GPU at"),
    ("gpu.driver_mismatch", (*DRIVER, "userspace_matches"), False, None, "580.126.16"),
    ("gpu.flavor", (*DRIVER, "flavor"), "open", "proprietary",
     "0000:3b:00.0 (Tesla V100 PCIe 32GB) cannot use the open"),
    ("gpu.driver_too_new", (*DRIVER, "userspace_version"), "595.91.07", "580.178.04",
     "is driven up to the branch 580, and 595.91.07 is installed"),
    ("gpu.unsigned_module", DRIVER, {**KERNEL, "driver_version": None, "secure_boot": True},
     {**KERNEL, "secure_boot": True}, "Secure Boot is on and /lib/modules/x/nvidia.ko is not signed"),
    ("gpu.secure_boot", DRIVER, {**KERNEL, "driver_version": None, "installed_module": None, "secure_boot": True},
     {**KERNEL, "driver_version": None, "installed_module": None}, "no NVIDIA driver is installed yet"),
    ("gpu.no_module", (*DRIVER, "kernels", 1, "module_files"), [], ["nvidia.ko.xz"],
     "6.1.0-29-amd64, which boots next, has no NVIDIA module"),
    ("gpu.build_failed", (*DRIVER, "kernels", 0),
     {**KERNEL["kernels"][0], "module_files": [], "dkms_state": "failed", "dkms_version": "575.57.08"},
     {**KERNEL["kernels"][0], "module_files": [], "dkms_state": "added", "dkms_version": "575.57.08"},
     "the driver 575.57.08 could not be built for the kernel 6.1.0-28-amd64, which runs"),
    ("gpu.complaint", ("gpu",),
     {**HEALTHY["gpu"], "smi": None, "kernel": {**KERNEL, "driver_complaints": [
         {"kind": "needs_older_driver", "address": "0000:3b:00.0"}, {"kind": "version_mismatch", "address": None}]}},
     {**HEALTHY["gpu"], "kernel": {**KERNEL, "driver_complaints": [
         {"kind": "needs_older_driver", "address": "0000:3b:00.0"}]}}, "too new for it"),
    ("gpu.fabric", (*SMI, "fabric_state"), "In Progress", "Completed", "'In Progress'"),
    ("gpu.fabric_manager", ("gpu", "pci"), [GPU, SWITCH], [GPU], "1 NVSwitches are on the bus"),
    ("gpu.remap_pending", (*SMI, "row_remap_pending"), True, False, "reset"),
    ("gpu.remap_failure", (*SMI, "row_remap_failure"), True, False, "isolate it"),
    ("gpu.pages_pending", (*SMI, "retired_pages_pending"), True, False, "reboot"),
    ("gpu.sram_threshold", (*SMI, "ecc_sram_threshold_exceeded"), True, False, "0000:3b:00.0"),
    ("gpu.pages_full", (*SMI, "retired_pages_double_bit"), 63, 62, "64 memory pages of 64"),
    ("gpu.spare_rows", (*SMI, "row_remap_banks"), {"max": 600, "none": 2}, {"max": 600, "none": 0}, "2 memory banks"),
    ("gpu.reset", (*SMI, "recovery_action"), "Drain and Reset", "None", "'Drain and Reset'"),
    ("gpu.uncorrected", (*SMI, "ecc_errors_volatile", "uncorrected"), 2, 0,
     "2 uncorrected ECC errors since the driver"),
    ("gpu.uncorrected_ever", (*SMI, "ecc_errors_aggregate", "uncorrected"), 2, 0,
     "2 uncorrected ECC errors in its life"),
    ("gpu.ecc_off", (*SMI, "ecc_mode"), False, True, "0000:3b:00.0"),
    ("gpu.ecc_pending", (*SMI, "ecc_mode_pending"), False, True, "is on and will be off"),
    ("gpu.mig_pending", SMI, {**ANSWER, "mig_mode": False, "mig_mode_pending": True},
     {**ANSWER, "mig_mode": True, "mig_mode_pending": True}, "is off and will be on"),
    ("gpu.xid_fatal", (*DRIVER, "xid_counts"), [{**XID, "xid": 79}], [], "Xid 79 (it fell off the bus) 2 times"),
    ("gpu.xid_warning", (*DRIVER, "xid_counts"), [{**XID, "xid": 94, "count": 1}], [],
     "Xid 94 (an uncorrectable memory error, kept to the program that met it) once"),
    ("gpu.xid_program", (*DRIVER, "xid_counts"), [{**XID, "xid": 31}], [], "Xid 31 (a program's access"),
    ("gpu.xid_other", (*DRIVER, "xid_counts"), [{**XID, "xid": 999, "address": None}], [],
     "unknown address had Xid 999 2 times"),
    ("gpu.width", ("gpu", "pci", 0, "link", "width"), 8, 16, "8 of its 16 PCIe lanes"),
    ("gpu.width_expected", ("gpu", "pci", 0, "link", "width"), 8, 16, "8 PCIe lanes, 16 expected"),
    ("gpu.nvlink", (*SMI, "nvlinks", 1, "active"), False, True, "NVLink 1 of the GPU at 0000:3b:00.0"),
    ("gpu.nvlink_expected", (*SMI, "nvlinks_active"), 1, 2, "has 1 NVLinks up, 2 expected"),
    ("gpu.power_limit", (*SMI, "power_limit_watts"), 200.0, 300.0, "limited to 200 W, 250 W"),
    ("gpu.throttled", (*SMI, "clocks_event_reasons"), ["sw_power_cap", "hw_thermal_slowdown"],
     ["sw_power_cap", "sync_boost"], "by the hardware for heat"),
    ("gpu.vbios", ("gpu", "smi", "gpus"), [ANSWER, {**ANSWER, "vbios": "88.00.43"}],
     [ANSWER, {**ANSWER, "vbios": "88.00.43", "name": "T4"}], "88.00.43, 88.00.48.00.02"),
    ("gpu.uvm", (*DRIVER, "modules"), ["nvidia"], ["nvidia", "nvidia_uvm"], "nvidia_uvm, which CUDA needs"),
    ("gpu.persistence", (*SMI, "persistence"), False, True, "0000:3b:00.0"),
    ("gpu.busy", (*SMI, "processes"), [{"pid": 7, "name": "python --token=x"}], [],
     "python on the GPU at 0000:3b:00.0"),
    ("gpu.disagreement", ("gpu", "disagreements"), ["one says 2, one says 1"], [], "one says 2"),
    ("memory.minimum", ("memory", "total_bytes"), 32 * GB, 64 * GB, "32 GB of memory, 64 GB expected"),
    ("memory.uncorrected", ("memory", "edac", 0, "uncorrected"), 3, 0, "mc0 counts 3 uncorrected"),
    ("memory.corrected", ("memory", "edac", 0),
     {"controller": "mc1", "corrected": 5, "modules": [{"label": "DIMM_B2", "corrected": 5}, {"name": "dimm0"}]},
     {"controller": "mc1", "corrected": 0, "modules": []}, "mc1 counts 5 corrected errors, of DIMM_B2"),
    ("memory.corrupted", ("memory", "hardware_corrupted_bytes"), 8192, 0, "8 KiB"),
    ("memory.missing", ("memory", "missing_bytes"), 32 * GIB, 0, "32 GiB of 64 GiB"),
    ("memory.mixed", ("memory", "dimms", 1, "speed_mts"), 2400, 2666, "2400 MT/s and 2666 MT/s"),
    ("memory.mixed_parts", ("memory", "dimms", 1, "part_number"), "X1", "M393A4K40CB2-CTD", "Samsung M393A4K40CB2-CTD"),
    ("memory.unequal", ("memory", "dimms"), [DIMM], [DIMM, {**DIMM, "array": "0x1001"}], "0 GiB in 0x1001"),
    ("memory.slow", ("memory", "dimms", 0, "configured_speed_mts"), 2133, 2666, "DIMM_A1 at 2133 MT/s of 2666 MT/s"),
    ("memory.no_ecc", ("memory", "dimms", 0, "ecc"), False, True, "DIMM_A1"),
    ("nvme.minimum", (*NVME, "namespaces"), [{"name": "nvme0n1", "size_bytes": 3839 * GB}],
     [{"name": "nvme0n1", "size_bytes": 3840 * GB}], "3.84 TB expected"),
    ("nvme.critical", (*HEALTH, "critical_warning", "read_only"), True, False, "nvme0 (PM1733, S1) warns of read_only"),
    ("nvme.hot", (*HEALTH, "critical_warning", "temperature"), True, False, "38 degrees"),
    ("nvme.state", (*NVME, "state"), "dead", "live", "is dead, not live"),
    ("nvme.path", ("nvme", "controllers"), [DRIVE, WAY, DOWN], [DRIVE, WAY], "nvme2 (PM1733, S1) is connecting"),
    ("nvme.read_only", (*NVME, "namespaces", 0, "read_only"), True, False, "nvme0n1 of nvme0"),
    ("nvme.spare", (*HEALTH, "available_spare_percent"), 9, 10, "9 % of its spare blocks left, its threshold is 10 %"),
    ("nvme.worn", (*HEALTH, "percentage_used"), 90, 89, "90 % of its rated life"),
    ("nvme.media_errors", (*HEALTH, "media_errors"), 3, 0, "3 media errors"),
    ("nvme.width", (*NVME, "link", "width"), 2, 4, "2 of its 4 PCIe lanes"),
    ("cpu.minimum", ("processor_nproc",), 4, 8, "4 processors, 8 expected"),
    ("disk.space", ("host", "filesystems", 0), filesystem("/", "/", 19.9), filesystem("/", "/", 20),
     "19.9 GB are free on / (which holds /var, /opt/gpufleet), 20 GB needed"),
    ("disk.space_left", ("host", "filesystems"), built(19.9), built(20),
     "19.9 GB are free on / (which holds /opt/gpufleet, /var), 20 GB needed"),
    ("disk.inodes", ("host", "filesystems", 0, "free_inodes"), 99_999, 100_000, "99999 more files fit on /"),
    ("disk.read_only", ("host", "filesystems", 0, "read_only"), True, False, "is mounted read-only"),
    ("disk.noexec", ("host", "filesystems", 4, "noexec"), True, False,
     "/, which holds /opt/gpufleet, is mounted noexec"),
    ("disk.noexec_tmp", ("host", "filesystems", 3, "noexec"), True, False, "/tmp"),
    ("clock.offset", ("host", "clock_offset_seconds"), -61.0, 60.0, "61 s behind the controller's, 60 s allowed"),
    ("clock.unsynchronized", ("host", "clock_synchronized"), False, True, "keeps its clock right"),
    ("kernel.headers", ("host", "kernel", "headers"), False, True, "6.1.0-29-amd64"),
    ("kernel.newer", ("host", "kernel", "release"), "6.1.0-28-amd64", "6.1.0-29-amd64", "6.1.0-28-amd64 runs"),
    ("kernel.reboot", ("host", "reboot_required"), True, False, "a reboot is due"),
    ("packages.interrupted", (*PACKAGES, "interrupted"), [{"name": "nvidia-dkms-535", "state": "half-configured"}], [],
     "nvidia-dkms-535 (half-configured): run `dpkg --configure -a`"),
    ("packages.busy", (*PACKAGES, "lock_pid"), 4711, None, "process 4711"),
    ("packages.held", (*PACKAGES, "held"), ["libnvidia-compute-535", "vim"], ["vim", "python3-nvidia"],
     "libnvidia-compute-535:"),
    ("packages.excluded", (*PACKAGES, "version_locked"), ["kernel-0:5.14.0-503.*"], ["bash-0:5.1.8-9.*"],
     "kernel-0:5.14"),
    ("packages.blacklisted", (*PACKAGES, "blacklisted"), ["nvidia-.*"], ["libc6$"], "nvidia-.*"),
    ("packages.unattended", (*PACKAGES, "unattended_upgrades"), True, False, "keeps them from the NVIDIA driver"),
    ("apt.conflict", SOURCES, [source("a.list", ARCHIVE, signed_by="/a.gpg"), source("b.sources", ARCHIVE + "/")],
     [source("a.list", ARCHIVE, signed_by="/a.gpg"), source("b.list", ARCHIVE, "noble")],
     "a.list:1 binds http://archive.example.org/ubuntu/ jammy to /a.gpg, b.sources:1 to no key"),
    ("apt.duplicate", SOURCES, [source("a.list", ARCHIVE), source("b.list", "https://archive.example.org/ubuntu/")],
     [source("a.list", ARCHIVE), source("b.list", ARCHIVE, components=["contrib"])], "a.list:1 and b.list:1"),
    ("apt.foreign_nvidia", (*SOURCES, 3, "file"), "/etc/apt/sources.list.d/cuda.list", "/x/gpufleet-cuda.list",
     "cuda.list:1"),
    ("host.container", ("host", "container"), "docker", None, "docker"),
    ("facts.gap", ("nvme", "gaps"), ["/sys/class/nvme: absent"], [], "nvme: /sys/class/nvme"),
]  # fmt: skip
# A rule that only speaks where the inventory expects something.
EXPECTING = {"gpu.width_expected": LINKED, "gpu.nvlink_expected": LINKED}
IDS = [row[0] for row in TABLE]


def changed(path, value, delete=False):
    """Return the healthy host with one value changed or deleted; the path is made of keys and positions."""
    host = copy.deepcopy(HEALTHY)
    place = host
    for step in path[:-1]:
        place = place[step]
    if delete:
        del place[path[-1]]
    else:
        place[path[-1]] = copy.deepcopy(value)
    return host


def raised(host, rule):
    return [row for row in findings(host, EXPECTING.get(rule, EXPECTED)) if row["rule"] == rule]


def test_a_healthy_host_has_no_findings():
    assert findings(HEALTHY, EXPECTED) == []
    assert findings(HEALTHY, LINKED) == []


@pytest.mark.parametrize(("rule", "path", "bad", "good", "words"), TABLE, ids=IDS)
def test_each_rule_says_what_broke_it_and_the_way_out(rule, path, bad, good, words):
    (found,) = raised(changed(path, bad), rule)
    assert words in found["message"]
    assert found["message"].endswith(": " + RULES[rule].way_out)
    assert found["severity"] == SEVERITIES[rule]


@pytest.mark.parametrize(("rule", "path", "bad", "good", "words"), TABLE, ids=IDS)
def test_no_rule_speaks_of_a_host_that_keeps_it(rule, path, bad, good, words):
    assert raised(changed(path, good), rule) == []


@pytest.mark.parametrize(("rule", "path", "bad", "good", "words"), TABLE, ids=IDS)
def test_no_rule_speaks_of_what_nobody_read(rule, path, bad, good, words):
    for length in [length for length in range(1, len(path) + 1) if isinstance(path[length - 1], str)]:
        assert raised(changed(path[:length], None, delete=True), rule) == []
        # An architecture and a UUID that are null are what these two are about.
        if rule not in ("gpu.unknown", "gpu.lost") or length < len(path):
            assert raised(changed(path[:length], None), rule) == []


def test_each_rule_stands_in_the_table_once():
    assert sorted(IDS) == sorted(SEVERITIES)


def test_every_rule_explains_itself():
    for name, rule in RULES.items():
        assert rule.severity in LEVELS, name
        assert rule.meaning.endswith(".") and not rule.way_out.endswith("."), name


@pytest.mark.parametrize("missing", ["gpu", "memory", "nvme", "host", "processor_nproc"])
def test_a_subject_that_nobody_read_is_neither_good_nor_bad(missing):
    host = {name: value for name, value in HEALTHY.items() if name != missing}
    assert findings(host, EXPECTED) == []


def test_facts_with_nothing_but_gaps_raise_no_alarm():
    host = {
        "gpu": {"pci": [], "smi": None, "gaps": ["no sysfs"], "disagreements": []},
        "memory": {"total_bytes": None, "gaps": []},
        "nvme": {"controllers": [{"name": "nvme0", "state": None, "health": None, "namespaces": []}], "gaps": []},
    }
    assert {finding["severity"] for finding in findings(host, {})} == {"warn", "info"}


def test_no_gap_in_the_facts_of_a_sick_host_makes_a_rule_raise():
    chance = random.Random(5)
    for _ in range(2500):
        host = copy.deepcopy(HEALTHY)
        for _rule, path, bad, _good, _words in chance.sample(TABLE, 12):
            try:
                host = merged(host, path, copy.deepcopy(bad))
            except (KeyError, IndexError, TypeError):
                pass  # an earlier change took that place away
        for _hole in range(chance.randint(1, 6)):
            place = host
            while isinstance(place, (dict, list)) and place:
                key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
                if chance.random() < 0.25 or not isinstance(place[key], (dict, list)):
                    if isinstance(place, dict) and chance.random() < 0.5:
                        del place[key]
                    else:
                        place[key] = None
                    break
                place = place[key]
        for expectations in (EXPECTED, LINKED, {}):
            assert all(row["message"] for row in findings(host, expectations))


def merged(host, path, value):
    place = host
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return host


def short_of_space(filesystems):
    found = findings(changed(("host", "filesystems"), filesystems), EXPECTED)
    return [row for row in found if row["rule"].startswith("disk.space")]


@pytest.mark.parametrize(
    ("free", "exists", "rules"),
    [
        (19.9, True, ["disk.space_left"]),
        (19.9, False, ["disk.space"]),
        (19.9, None, ["disk.space"]),
        (5, True, ["disk.space_left"]),
        (4.9, True, ["disk.space"]),  # what /var needs, it needs on every run
        (20, False, []),
    ],
)
def test_what_a_host_was_filled_with_by_its_provisioning_does_not_fail_it_later(free, exists, rules):
    found = short_of_space(built(free, exists=exists))
    assert [row["rule"] for row in found] == rules
    assert all(f"{20 if free != 4.9 or not exists else 5} GB needed" in row["message"] for row in found)


def test_a_root_on_a_filesystem_of_its_own_leaves_the_others_their_minimum():
    own = [filesystem("/", "/", 19), filesystem("/opt/gpufleet", "/opt/gpufleet", 9, exists=True)]
    found = short_of_space(own)
    assert [row["rule"] for row in found] == ["disk.space", "disk.space_left"]


def test_an_expected_width_takes_the_place_of_the_possible_one():
    host = changed(("gpu", "pci", 0, "link", "width"), 2)  # as on POWER9, where two lanes and NVLink are normal
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["gpu.width"]
    assert findings(host, {**EXPECTED, "expected_gpus": {"pcie_width": 2}}) == []


def test_an_expected_number_of_links_takes_the_place_of_all():
    host = changed((*SMI, "nvlinks", 1, "active"), False)
    host["gpu"]["smi"]["gpus"][0]["nvlinks_active"] = 1
    assert findings(host, {**EXPECTED, "expected_gpus": {"nvlinks": 1}}) == []


def test_links_that_are_all_down_are_those_of_a_card_without_a_bridge():
    assert findings(changed((*SMI, "nvlinks"), [{"index": 0, "active": False}]), EXPECTED) == []


def test_a_model_without_a_count_is_asked_of_every_gpu():
    host = changed(
        ("gpu", "pci"), [GPU, {**GPU, "address": "0000:3c:00.0", "model": "Tesla T4", "kernel_driver": None}]
    )
    (found,) = findings(host, {"expected_gpus": {"model": "V100"}})
    assert "only V100 expected, 1 found (all GPUs on the bus: Tesla V100 PCIe 32GB, Tesla T4)" in found["message"]


@pytest.mark.parametrize("model", ["V100", "v100-pcie", "Tesla V100-PCIE-32GB", "NVIDIA V100 PCIe 32GB", "V100 PCIe"])
def test_a_model_is_expected_by_the_name_that_anybody_gives_it(model):
    assert (
        findings(changed((*SMI, "name"), "Tesla V100-PCIE-32GB"), {"expected_gpus": {"model": model, "count": 1}}) == []
    )
    (found,) = findings(
        changed(("gpu", "pci", 0, "model"), "Tesla V100 SXM2 32GB"), {"expected_gpus": {"model": "V100-PCIE"}}
    )
    assert "only V100-PCIE expected, 0 found" in found["message"]


def test_lanes_and_links_are_expected_of_the_model_and_not_of_the_card_for_the_screen():
    expected = {"model": "V100", "count": 1, "pcie_width": 16, "nvlinks": 2}
    screen = {**GPU, "address": "0000:05:00.0", "model": "Tesla T4", "link": {"width": 8, "max_width": 8}}
    host = changed(("gpu", "pci"), [GPU, screen])
    host["gpu"]["smi"]["gpus"] = [ANSWER, {**ANSWER, "address": screen["address"], "nvlinks": [], "nvlinks_active": 0}]
    assert findings(host, {**EXPECTED, "expected_gpus": expected}) == []
    host["gpu"]["pci"][0] = {**GPU, "link": {"width": 8, "max_width": 16}}
    host["gpu"]["smi"]["gpus"][0] = {**ANSWER, "nvlinks_active": 1}
    rules = [row["rule"] for row in findings(host, {**EXPECTED, "expected_gpus": expected})]
    assert rules == ["gpu.width_expected", "gpu.nvlink_expected"]


def test_a_gpu_that_waits_for_a_reset_is_not_lost():
    host = changed(SMI, {"address": "0000:3b:00.0", "uuid": None, "complaint": "GPU requires reset"})
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["gpu.reset"]


def test_volta_with_open_modules_on_disk_only_is_refused_too():
    host = changed((*DRIVER, "installed_module", "flavor"), "open")
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["gpu.flavor"]
    host["gpu"]["pci"][0]["architecture"] = "ampere_dc"
    assert findings(host, EXPECTED) == []


def test_blackwell_with_proprietary_modules_is_refused():
    host = changed(("gpu", "pci", 0, "architecture"), "blackwell")
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["gpu.flavor"]


@pytest.mark.parametrize("version", ["rubbish", "", "595", "99999999999999.1"])
def test_a_version_that_is_none_is_not_compared(version):
    assert raised(changed((*DRIVER, "userspace_version"), version), "gpu.driver_too_new") == []


def test_a_newer_branch_is_right_for_a_newer_gpu():
    host = changed((*DRIVER, "userspace_version"), "620.10.01")
    host["gpu"]["pci"][0]["architecture"] = "ampere_dc"
    assert raised(host, "gpu.driver_too_new") == []


def test_a_module_of_which_nobody_knows_whether_it_is_signed_is_not_refused():
    kernel = {**KERNEL, "driver_version": None, "secure_boot": True, "installed_module": {"path": "x", "signed": None}}
    assert raised(changed(DRIVER, kernel), "gpu.unsigned_module") == []


def test_a_switch_with_a_fabric_manager_of_which_nobody_knows_is_not_named():
    host = changed(("gpu", "pci"), [GPU, SWITCH])
    host["host"]["fabric_manager"] = None
    assert raised(host, "gpu.fabric_manager") == []


def test_a_complaint_without_an_address_is_over_when_every_gpu_answers():
    host = changed((*DRIVER, "driver_complaints"), [{"kind": "fallen_off_bus", "address": None}])
    assert raised(host, "gpu.complaint") == []
    host["gpu"]["pci"].append({**GPU, "address": "0000:d8:00.0"})
    assert "of a GPU that it fell off the bus" in raised(host, "gpu.complaint")[0]["message"]


def test_an_xid_is_judged_by_one_rule_only():
    for xid in range(1, 200):
        host = changed((*DRIVER, "xid_counts"), [{**XID, "xid": xid}])
        assert len(findings(host, EXPECTED)) == 1, xid


def test_one_drive_on_two_ways_is_counted_once_and_one_elsewhere_not_at_all():
    host = changed(("nvme", "controllers"), [DRIVE, {**DRIVE, "name": "nvme1"}, {**DRIVE, "local": False}])
    assert raised(host, "nvme.minimum") == []
    assert findings(host, {"minimum_nvme_tb": 4})[0]["message"].startswith("3.84 TB of NVMe storage, 4 TB expected")


def test_a_drive_of_unknown_size_is_not_taken_for_none():
    assert raised(changed((*NVME, "namespaces", 0, "size_bytes"), None), "nvme.minimum") == []


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [("/a.gpg", "/b.gpg", True), ("/a.gpg", None, True), (None, "/a.gpg", False), ("/a.gpg", "/a.gpg", False)],
)
def test_keys_conflict_as_apt_says_they_do(first, second, conflict):
    # Tried with apt 2.6: a source with a key after one without is taken, the reverse is refused.
    sources = [source("a", ARCHIVE, signed_by=first), source("b", ARCHIVE, signed_by=second, kind="deb-src")]
    assert bool(raised(changed(SOURCES, sources), "apt.conflict")) is conflict


def test_a_third_source_is_compared_with_the_first_that_has_a_key():
    sources = [source(name, ARCHIVE, signed_by=key) for name, key in (("a", None), ("b", "/b.gpg"), ("c", None))]
    (found,) = raised(changed(SOURCES, sources), "apt.conflict")
    assert "b:1 binds" in found["message"] and "c:1 to no key" in found["message"]
    assert raised(changed(SOURCES, sources), "apt.duplicate") == []


@pytest.mark.parametrize("pattern", ["*", ".*", "nvidia*", "^nvidia-", "lib", "cuda-drivers", "kernel*", "linux-"])
def test_a_pattern_that_may_mean_a_package_of_ours_is_named(pattern):
    assert raised(changed((*PACKAGES, "excluded"), [pattern]), "packages.excluded")


def test_a_package_manager_at_work_is_not_one_that_was_cut_off():
    host = changed((*PACKAGES, "interrupted"), [{"name": "a", "state": "unpacked"}])
    host["host"]["packages"]["lock_pid"] = 12
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["packages.busy"]


def test_notes_of_dpkg_alone_are_a_cut_off_run():
    (found,) = findings(changed((*PACKAGES, "journal"), ["0001", "0002"]), EXPECTED)
    assert found["rule"] == "packages.interrupted" and "2 notes" in found["message"]


def test_what_a_role_put_on_hold_is_no_finding_and_what_somebody_else_did_is():
    host = copy.deepcopy(HEALTHY)
    host["host"]["packages"].update(held=["nvidia-kernel-dkms", "libcuda1"], held_by_roles=["nvidia-kernel-dkms"])
    (finding,) = [row for row in findings(host, EXPECTED) if row["rule"] == "packages.held"]
    assert "libcuda1" in finding["message"] and "nvidia-kernel-dkms" not in finding["message"]


def test_a_held_driver_is_safe_from_unattended_upgrades():
    host = changed((*PACKAGES, "unattended_upgrades"), True)
    host["host"]["packages"]["held"] = ["nvidia-driver-580"]
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["packages.held"]


def test_a_path_that_was_not_read_is_named_and_not_passed_over():
    expectations = {**EXPECTED, "minimum_free_gb": {"/scratch": 100}}
    (found,) = findings(HEALTHY, expectations)
    assert (found["rule"], "/scratch" in found["message"]) == ("facts.gap", True)


def test_the_worst_stands_first():
    host = changed(("gpu", "pci", 0, "kernel_driver"), "nouveau")
    host["memory"]["edac"][0]["uncorrected"] = 1
    host["host"]["container"] = "docker"
    assert [finding["severity"] for finding in findings(host, EXPECTED)] == ["fail", "warn", "info"]


def test_a_site_may_judge_otherwise():
    host = changed(("memory", "total_bytes"), 1)
    assert findings(host, {**EXPECTED, "severity": {"memory.minimum": "fail"}})[0]["severity"] == "fail"


@pytest.mark.parametrize("severity", [{"memory.minimun": "warn"}, {"memory.minimum": "critical"}])
def test_a_misspelt_rule_or_severity_is_named(severity):
    with pytest.raises(ValueError, match=r"memory\.minim.*(there are|use info)"):
        findings(HEALTHY, {"severity": severity})


def test_numbers_that_the_inventory_gives_as_text_are_numbers():
    assert raised(changed(("memory", "total_bytes"), 63 * GB), "memory.minimum")
    assert findings(HEALTHY, {**EXPECTED, "minimum_memory_gb": "64", "minimum_free_gb": {"/": "20"}}) == []


@pytest.mark.parametrize(
    ("expectations", "name"),
    [
        ({"minimum_memory_gb": "lots"}, "preflight_minimum_memory_gb is 'lots'"),
        ({"expected_gpus": {"count": "two"}}, "preflight_expected_gpus.count is 'two'"),
        ({"minimum_free_gb": {"/": [1]}}, r"preflight_minimum_free_gb\./ is \[1\]"),
    ],
)
def test_what_is_no_number_is_named(expectations, name):
    with pytest.raises(ValueError, match=name):
        findings(HEALTHY, expectations)


def test_a_gpu_that_keeps_its_uuid_but_is_lost_is_lost():
    assert raised(changed((*SMI, "complaint"), "GPU is lost"), "gpu.lost")
    assert raised(changed((*SMI, "complaint"), "Unknown Error"), "gpu.lost") == []


@pytest.mark.parametrize("known", [{"architecture": None}, {"architecture": "blackwell"}])
def test_what_a_gpu_needs_that_a_virtual_machine_has_is_asked_of_no_host(known):
    host = changed(("gpu", "pci"), [GPU, {**GPU, "address": "0000:3c:00.0", "kernel_driver": "vfio-pci", **known}])
    assert [row["rule"] for row in findings(host, {})] == ["gpu.passed_through"]


def test_a_host_with_another_way_to_its_drive_is_not_refused():
    host = changed(("nvme", "controllers"), [DRIVE, copy.deepcopy(WAY), DOWN])
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["nvme.path"]
    host["nvme"]["controllers"][1]["state"] = "connecting"
    assert [row["rule"] for row in findings(host, EXPECTED)] == ["nvme.state", "nvme.state"]


def test_a_gpu_that_a_container_was_not_given_is_not_lost():
    host = changed(("gpu", "pci"), [GPU, {**GPU, "address": "0000:3c:00.0"}])
    assert raised(host, "gpu.lost")
    host["host"]["container"] = "lxc"
    assert raised(host, "gpu.lost") == []
    host["gpu"]["smi"]["gpus"][0]["complaint"] = "GPU is lost"
    assert raised(host, "gpu.lost")


def test_what_a_hanging_nvidia_smi_had_not_said_yet_is_not_lost():
    cut = changed(("gpu", "smi", "gpus"), [])
    assert raised(cut, "gpu.lost")
    cut["gpu"]["smi_status"] = "timed_out"
    assert raised(cut, "gpu.lost") == []
    assert raised(cut, "gpu.silent")


def test_what_a_cut_answer_counts_and_does_not_describe_is_not_lost():
    cut = changed(("gpu", "smi", "gpus"), [])
    cut["gpu"]["smi"]["attached_gpus"] = 1
    assert raised(cut, "gpu.lost") == []
    cut["gpu"]["smi"]["attached_gpus"] = 0
    assert raised(cut, "gpu.lost")


def test_a_bus_that_could_not_be_read_is_not_a_bus_without_a_gpu():
    unread = changed(("gpu", "pci"), [])
    assert raised(unread, "gpu.none")
    unread["gpu"]["gaps"] = ["/sys/bus/pci/devices: No such file or directory"]
    assert raised(unread, "gpu.none") == []
