# -*- coding: utf-8 -*-
"""What the kernel, its log, DKMS and the libraries say of the GPU drivers; good, bad and missing."""

import os
import random
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _gpu_kernel as kernel
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

OLD, NEW = "5.15.0-113-generic", "5.15.0-119-generic"


def put(root, path, text=""):
    """Put one file below a root."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def link(root, path, target):
    """Put one link below a root."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def side(root, **options):
    """Return what is read below a root, and the gaps."""
    host = Host(str(root))
    options = {"timeout": 20, "nvidia": True, **options}
    return kernel.kernel_side(host, **options), host.gaps


def program(root, name, text):
    """Put a program at a path of its own, and return the path."""
    file = put(root, name, "#!/bin/sh\n" + text)
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("text", "version", "flavor"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Thu Jun 19 02:01:34 UTC 2025\nGCC: 12\n",
            "535.261.03",
            "proprietary",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\n",
            "580.65.06",
            "open",
        ),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.87  Wed Aug  8\n", "418.87", "proprietary"),
        ("", None, None),
        ("something else 535.1\n", None, None),
    ],
)
def test_the_loaded_driver_tells_version_and_flavour(text, version, flavor):
    assert kernel.parse_driver_version(text) == (version, flavor)


def test_modules_are_taken_by_their_whole_name():
    text = "nvidia_uvm 1 0 - Live 0x0 (OE)\nnvidia 2 1 nvidia_uvm, Live 0x0\nnvidia_peermem 1 0 -\nnouveau_like 1 0 -\n"
    assert kernel.parse_modules(text) == ["nvidia", "nvidia_uvm", "nvidia_peermem"]


@pytest.mark.parametrize(
    ("variable", "on"), [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"", None), (b"\1", None), (b"\0" * 9, None)]
)
def test_secure_boot_is_on_off_or_unknown(variable, on):
    assert kernel.parse_secure_boot(variable) is on


def test_a_host_without_efi_has_no_secure_boot(tmp_path):
    fact, _gaps = side(tmp_path)
    assert (fact["efi"], fact["secure_boot"]) == (False, None)
    put(tmp_path, kernel.SECURE_BOOT, b"\6\0\0\0\1")
    fact, _gaps = side(tmp_path)
    assert (fact["efi"], fact["secure_boot"]) == (True, True)


@pytest.mark.parametrize(
    ("sig_enforce", "lockdown", "enforced"),
    [
        ("Y", "", True),
        ("N", "[none] integrity confidentiality", False),
        ("N", "none [integrity] confidentiality", True),
        ("", "none integrity [confidentiality]", True),
        ("", "", None),
        ("?", "lots", None),
    ],
)
def test_unsigned_modules_are_refused_by_parameter_or_lockdown(sig_enforce, lockdown, enforced):
    assert kernel.parse_signature_policy(sig_enforce, lockdown) is enforced


MODINFO = """filename:       /lib/modules/{k}/updates/dkms/nvidia.ko
firmware:       nvidia/580.178.04/gsp_ga10x.bin
import_ns:      DMA_BUF
version:        580.178.04
license:        {license}
alias:          pci:v000010DEd*sv*sd*bc03sc02i00*
"""


@pytest.mark.parametrize(
    ("text", "version", "flavor", "signed", "signer"),
    [
        (MODINFO.format(k=NEW, license="NVIDIA"), "580.178.04", "proprietary", False, None),
        (
            MODINFO.format(k=NEW, license="Dual MIT/GPL") + "sig_id: PKCS#7\nsigner:  gpu01 DKMS MOK\nsig_key: 1:2\n",
            "580.178.04",
            "open",
            True,
            "gpu01 DKMS MOK",
        ),
        ("license: GPL\n", None, None, False, None),
        ("", None, None, None, None),
        ("version\nversion:\n: 580\n", None, None, None, None),
    ],
)
def test_modinfo_tells_version_licence_and_signature(text, version, flavor, signed, signer):
    wanted = {"version": version, "flavor": flavor, "signed": signed, "signer": signer}
    assert kernel.parse_modinfo(text) == wanted


def test_the_library_that_programs_load_is_the_installed_version(tmp_path):
    put(tmp_path, "/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  x\n")
    folder = "/usr/lib/x86_64-linux-gnu/"
    for file in ("libnvidia-ml.so.580.126.09", "libnvidia-ml.so.580.95.05", "libcuda.so.580.126.09", "libcuda.so.1.1"):
        put(tmp_path, folder + file)
    put(tmp_path, "/usr/local/cuda/compat/libcuda.so.590.44.01")
    link(tmp_path, folder + "libnvidia-ml.so.1", "libnvidia-ml.so.580.95.05")
    fact, _gaps = side(tmp_path)
    assert (fact["userspace_version"], fact["userspace_matches"]) == ("580.95.05", True)
    assert [row["version"] for row in fact["libraries"]] == ["580.126.09", "580.126.09", "580.95.05"]
    (tmp_path / folder.lstrip("/") / "libnvidia-ml.so.1").unlink()
    fact, _gaps = side(tmp_path)
    assert (fact["userspace_version"], fact["userspace_matches"]) == ("580.126.09", False)  # 126 is newer than 95


@pytest.mark.parametrize("folder", kernel.LIBRARY_FOLDERS)
def test_a_library_is_found_wherever_it_is_usual(tmp_path, folder):
    put(tmp_path, folder + "/libcuda.so.470.256.02")
    fact, _gaps = side(tmp_path)
    assert (fact["userspace_version"], fact["userspace_matches"]) == ("470.256.02", None)
    assert fact["libraries"] == [{"path": folder + "/libcuda.so.470.256.02", "version": "470.256.02"}]


@pytest.mark.parametrize(
    ("files", "first"),
    [
        (["updates/dkms/nvidia.ko", "updates/dkms/nvidia-uvm.ko"], "updates/dkms/nvidia.ko"),
        (["updates/nvidia-current.ko", "updates/nvidia-current-modeset.ko"], "updates/nvidia-current.ko"),
        (["extra/nvidia.ko.xz", "extra/nvidia-drm.ko.xz"], "extra/nvidia.ko.xz"),
        (
            ["extra/drivers/video/nvidia/nvidia.ko", "kernel/drivers/video/nvidia.ko"],
            "extra/drivers/video/nvidia/nvidia.ko",
        ),
        (
            ["kernel/nvidia-580srv/nvidia.ko.zst", "kernel/nvidia-580srv/bits/nvidia.o"],
            "kernel/nvidia-580srv/nvidia.ko.zst",
        ),
        (["weak-updates/nvidia/nvidia.ko"], "weak-updates/nvidia/nvidia.ko"),
        (["updates/dkms/nvidia-peermem.ko", "updates/dkms/nvidia-fs.ko", "kernel/drivers/nvme/nvme.ko"], None),
    ],
)
def test_the_module_that_modprobe_would_load_comes_first(tmp_path, files, first):
    for file in files:
        put(tmp_path, "/lib/modules/" + NEW + "/" + file)
    found = kernel.module_files(Host(str(tmp_path)), NEW)
    assert found[:1] == ([] if first is None else ["/lib/modules/" + NEW + "/" + first])
    assert not [file for file in found if "uvm" in file or "drm" in file or "modeset" in file]


def dkms(root, version="580.178.04", name="nvidia"):
    """Put a version into DKMS's tree, added and no more."""
    put(root, f"/usr/src/{name}-{version}/dkms.conf")
    link(root, f"/var/lib/dkms/{name}/{version}/source", f"/usr/src/{name}-{version}")
    return f"/var/lib/dkms/{name}/{version}"


def states(root):
    return {row["release"]: (row["dkms_state"], row["dkms_version"]) for row in side(root)[0]["kernels"]}


def two_kernels(root):
    put(root, "/proc/sys/kernel/osrelease", NEW + "\n")
    for release in (OLD, NEW):
        put(root, "/lib/modules/" + release + "/modules.builtin")
    put(root, "/lib/modules/5.4.0-1-removed/updates/dkms/nvidia.ko")


def test_dkms_is_told_for_each_installed_kernel(tmp_path):
    two_kernels(tmp_path)
    assert states(tmp_path) == {NEW: (None, None), OLD: (None, None)}
    folder = dkms(tmp_path)
    assert states(tmp_path)[NEW] == ("added", "580.178.04")
    put(tmp_path, folder + "/build/make.log", "DKMS make.log for nvidia/580.178.04 for kernel " + OLD + " (x86_64)\n")
    assert states(tmp_path) == {NEW: ("added", "580.178.04"), OLD: ("failed", "580.178.04")}
    (tmp_path / folder.lstrip("/") / "build" / "make.log").unlink()
    put(tmp_path, folder + "/" + NEW + "/x86_64/module/nvidia.ko")
    assert states(tmp_path) == {NEW: ("built", "580.178.04"), OLD: ("added", "580.178.04")}
    put(tmp_path, "/lib/modules/" + NEW + "/updates/dkms/nvidia.ko")
    link(tmp_path, "/var/lib/dkms/nvidia/kernel-" + NEW + "-x86_64", "580.178.04/" + NEW + "/x86_64")
    put(tmp_path, folder + "/build/make.log", "DKMS make.log for nvidia-580.178.04 for kernel " + OLD + " (x86_64)\n")
    assert states(tmp_path) == {NEW: ("installed", "580.178.04"), OLD: ("failed", "580.178.04")}
    fact, _gaps = side(tmp_path)
    assert [row["running"] for row in fact["kernels"]] == [True, False]
    assert [len(row["module_files"]) for row in fact["kernels"]] == [1, 0]


def test_a_dkms_module_that_was_deleted_from_the_kernel_is_only_built(tmp_path):
    two_kernels(tmp_path)
    put(tmp_path, dkms(tmp_path) + "/" + NEW + "/x86_64/module/nvidia.ko")
    link(tmp_path, "/var/lib/dkms/nvidia/kernel-" + NEW + "-x86_64", "580.178.04/" + NEW + "/x86_64")
    assert states(tmp_path)[NEW] == ("built", "580.178.04")


def test_a_dkms_module_beside_a_packaged_one_is_only_built(tmp_path):
    two_kernels(tmp_path)
    put(tmp_path, dkms(tmp_path) + "/" + NEW + "/x86_64/module/nvidia.ko")
    put(tmp_path, "/lib/modules/" + NEW + "/kernel/nvidia-580srv/nvidia.ko")
    assert states(tmp_path)[NEW] == ("built", "580.178.04")


def test_a_dkms_module_without_source_is_broken(tmp_path):
    two_kernels(tmp_path)
    dkms(tmp_path)
    (tmp_path / "usr/src/nvidia-580.178.04/dkms.conf").unlink()
    (tmp_path / "usr/src/nvidia-580.178.04").rmdir()
    assert states(tmp_path)[NEW] == ("broken", "580.178.04")


def test_a_dkms_tree_that_says_nothing_of_its_source_is_not_broken(tmp_path):
    two_kernels(tmp_path)
    put(tmp_path, "/var/lib/dkms/nvidia/580.178.04/notes")
    assert states(tmp_path)[NEW] == ("added", "580.178.04")


def test_of_several_dkms_versions_the_best_state_counts_and_then_the_newest(tmp_path):
    two_kernels(tmp_path)
    dkms(tmp_path, "580.9.1")
    dkms(tmp_path, "580.95.05")
    dkms(tmp_path, "999.1", name="nvidia-fs")  # GPUDirect Storage, no driver
    assert states(tmp_path)[NEW] == ("added", "580.95.05")
    put(tmp_path, "/var/lib/dkms/nvidia/580.9.1/" + NEW + "/x86_64/module/nvidia.ko")
    assert states(tmp_path)[NEW] == ("built", "580.9.1")


def test_the_installed_module_is_asked_of_modinfo(tmp_path):
    two_kernels(tmp_path)
    file = put(tmp_path, "/lib/modules/" + NEW + "/updates/dkms/nvidia.ko")
    (tmp_path / "said").write_text(MODINFO.format(k=NEW, license="Dual MIT/GPL"))
    modinfo = program(tmp_path, "bin/modinfo", 'test "$1" = "{}" && cat "{}"\n'.format(file, tmp_path / "said"))
    fact, _gaps = side(tmp_path, modinfo=modinfo)
    assert fact["installed_module"] == {
        "path": "/lib/modules/" + NEW + "/updates/dkms/nvidia.ko",
        "version": "580.178.04",
        "flavor": "open",
        "signed": False,
        "signer": None,
    }


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("sleep 30\n", "timed out after 0.3 s"),
        ("echo 'ERROR: not a module' >&2; exit 1\n", "not a module"),
        ("exit 3\n", "status 3"),
    ],
)
def test_a_modinfo_that_fails_is_a_gap_and_the_path_is_told(tmp_path, text, gap):
    two_kernels(tmp_path)
    put(tmp_path, "/lib/modules/" + NEW + "/extra/nvidia.ko.xz")
    fact, gaps = side(tmp_path, modinfo=program(tmp_path, "bin/modinfo", text), timeout=0.3)
    assert fact["installed_module"]["path"].endswith("extra/nvidia.ko.xz")
    assert fact["installed_module"]["version"] is None
    assert gap in gaps[0]


def test_below_another_root_no_command_of_this_machine_is_asked(tmp_path):
    two_kernels(tmp_path)
    put(tmp_path, "/lib/modules/" + NEW + "/extra/nvidia.ko")
    put(tmp_path, "/dev/kmsg", KMSG[KMSG.index("3,4471") :])
    folder = tmp_path / "bin"
    for name in ("modinfo", "journalctl", "dmesg"):
        program(folder, name, 'touch "{}"\n'.format(tmp_path / "asked"))
    before = os.environ["PATH"]
    os.environ["PATH"] = str(folder) + os.pathsep + before
    try:
        _fact, gaps = side(tmp_path)
    finally:
        os.environ["PATH"] = before
    assert gaps == []
    assert not (tmp_path / "asked").exists()


KMSG = """6,0,0,-;Linux version 5.15.0-119-generic
 SUBSYSTEM=pci
 DEVICE=+pci:0000:3b:00.0
4,900,9000000,-;NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.178.04
3,4471,3023054882,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
3,4472,3023054900,-,caller=T1;NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.
3,4480,3023900000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.
"""
DMESG = """[    0.000000] Linux version 5.15.0-119-generic
[ 3023.054882] NVRM: Xid (PCI:0000:17:00.0): 119, pid=5678, name=python, Timeout after 6s of waiting for RPC response
[ 3024.000001][ T1234] NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No
<3>[ 3025.5] NVRM: Xid (0000:03:00): 14, Channel 00000001
[12345.25] NVRM: Xid (0003:00): 13, 0003 00000000 00008297 00001098
[12346.25] NVRM: Xid (PCI:0001:af:00): 31, Ch 0000000a, intr 00000000. MMU Fault
"""


@pytest.mark.parametrize(
    ("text", "events", "complete"),
    [
        (KMSG, [("0000:3b:00.0", 79, 3023.054882), ("0000:3b:00.0", 79, 3023.9)], True),
        (KMSG[KMSG.index("3,4471") :], [("0000:3b:00.0", 79, 3023.054882), ("0000:3b:00.0", 79, 3023.9)], False),
        (
            DMESG,
            [
                ("0000:17:00.0", 119, 3023.054882),
                ("0000:01:00.0", 94, 3024.000001),
                ("0000:03:00.0", 14, 3025.5),
                ("0000:03:00.0", 13, 12345.25),
                ("0001:af:00.0", 31, 12346.25),
            ],
            True,
        ),
        ("[Mon Nov 23 09:00:00 2026] NVRM: Xid (PCI:0000:3b:00): 62, x", [("0000:3b:00.0", 62, None)], None),
        ("[    7.5] NVRM: Xid: 6, PE0001", [(None, 6, 7.5)], False),
        ("", [], None),
        ("[    7.5] NVRM: Xid (PCI:0000:3b:00): many\n[    8.5] audit: Xid (PCI:0000:3b:00): 79", [], False),
    ],
)
def test_xid_events_are_read_in_every_form(text, events, complete):
    log = kernel.parse_kernel_log(text)
    assert [(event["address"], event["xid"], event["time_seconds"]) for event in log["xid_events"]] == events
    assert log["log_complete"] is complete


def test_an_xid_keeps_its_words():
    event = kernel.parse_kernel_log(KMSG)["xid_events"][0]
    assert event["message"] == "pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_xid_events_are_counted_by_gpu_and_number():
    count = {"address": "0000:3b:00.0", "xid": 79, "count": 2, "first_seconds": 3023.054882, "last_seconds": 3023.9}
    assert kernel.parse_kernel_log(KMSG)["xid_counts"] == [count]


def test_a_storm_of_xids_is_counted_and_its_end_is_listed():
    text = "".join(f"[{n}.0] NVRM: Xid (PCI:0000:{n % 256:02x}:00): {n % 90000}, x\n" for n in range(20000))
    log = kernel.parse_kernel_log(text)
    assert [event["time_seconds"] for event in log["xid_events"]] == [float(n) for n in range(19900, 20000)]
    assert len(log["xid_counts"]) == 1000


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        ("NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.", "fallen_off_bus", "0000:3b:00.0"),
        (
            "NVRM: The NVIDIA GPU 0000:b3:00.0\nNVRM: (PCI ID: 10de:20b5) installed in this system has\n"
            "NVRM: fallen off the bus and is not responding to commands.",
            "fallen_off_bus",
            "0000:b3:00.0",
        ),
        (
            "NVRM: The NVIDIA Tesla V100-PCIE-32GB GPU installed in this system is\nNVRM:  supported through the "
            "NVIDIA 580.xx Legacy drivers. Please\nNVRM:  visit the driver page. The 595.71.05 driver will ignore",
            "needs_older_driver",
            None,
        ),
        (
            "NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:1db5)\nNVRM: installed in this system is not supported "
            "by open\nNVRM: nvidia.ko because it does not include the required GPU\nNVRM: System Processor (GSP).",
            "needs_proprietary_modules",
            "0000:01:00.0",
        ),
        (
            "NVRM: The NVIDIA GPU 0000:0b:00.0 (PCI ID: 10de:2c02)\nNVRM: installed in this system requires use of the "
            "NVIDIA open kernel modules.",
            "needs_open_modules",
            "0000:0b:00.0",
        ),
        (
            "NVRM: API mismatch: the client has the version 580.126.09, but\nNVRM: this kernel module has the version",
            "version_mismatch",
            None,
        ),
        ("NVRM: GPU 0000:65:00.0: RmInitAdapter failed! (0x62:0xffff:2351)", "init_failed", "0000:65:00.0"),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            "nvswitch_error",
            "0000:c1:00.0",
        ),
    ],
)
@pytest.mark.parametrize("form", ["dmesg", "kmsg", "one record"])
def test_the_driver_complains_in_one_line_or_several(text, kind, address, form):
    if form == "one record":
        log = "3,17,12250000,-;" + text.replace("\n", "\\x0a") + "\n"
    else:
        stamp = "[   12.250000] " if form == "dmesg" else "3,17,12250000,-;"
        log = "".join(stamp + line + "\n" for line in ["NVRM: loading", *text.split("\n"), "eth0: link up"])
    (complaint,) = kernel.parse_kernel_log(log)["driver_complaints"]
    assert (complaint["kind"], complaint["address"], complaint["time_seconds"]) == (kind, address, 12.25)
    assert complaint["message"]


def test_two_gpus_that_the_driver_ignores_are_two_complaints():
    text = "".join(
        f"NVRM: The NVIDIA GPU 0000:{bus}:00.0\nNVRM: installed in this system has\nNVRM: fallen off the bus\n"
        for bus in ("b3", "b4")
    )
    complaints = kernel.parse_kernel_log(text)["driver_complaints"]
    assert [complaint["address"] for complaint in complaints] == ["0000:b3:00.0", "0000:b4:00.0"]


def test_words_of_another_driver_end_a_complaint():
    text = "NVRM: The NVIDIA GPU 0000:b3:00.0\neth0: link up\nNVRM: fallen off the bus\n"
    (complaint,) = kernel.parse_kernel_log(text)["driver_complaints"]
    assert complaint["address"] is None


def test_a_log_below_the_root_is_read(tmp_path):
    put(tmp_path, "/dev/kmsg", KMSG)
    fact, gaps = side(tmp_path)
    assert (fact["log_readable"], len(fact["xid_events"]), gaps) == (True, 2, [])


def test_a_log_that_cannot_be_read_is_a_gap_and_no_clean_bill(tmp_path):
    fact, gaps = side(tmp_path)
    assert fact["log_readable"] is False
    assert (fact["xid_events"], fact["xid_counts"], fact["driver_complaints"], fact["log_complete"]) == (None,) * 4
    assert gaps == ["the kernel's log: No such file or directory"]
    assert side(tmp_path, nvidia=False)[1] == []


@pytest.mark.parametrize(
    ("text", "events", "gap"),
    [
        ("echo '[    7.5] NVRM: Xid (PCI:0000:3b:00): 48, x'\n", 1, None),
        (
            "echo 'dmesg: read failed: Operation not permitted' >&2; exit 1\n",
            None,
            "Operation not permitted",
        ),
        ("sleep 30\n", None, "timed out after 0.3 s"),
        ("", None, "empty"),
    ],
)
def test_dmesg_is_asked_where_the_log_is_not_readable(tmp_path, text, events, gap):
    fact, gaps = side(tmp_path, dmesg=program(tmp_path, "bin/dmesg", text), timeout=0.3 if "sleep" in text else 20)
    assert (fact["xid_events"] and len(fact["xid_events"])) == events
    assert not gaps if gap is None else gap in gaps[0]


JOURNAL = """[    0.000000] gpu01 kernel: Linux version 5.15.0-119-generic
[   77.125000] gpu01 kernel: NVRM: Xid (PCI:0000:3b:00): 48, pid=1, DBE (double bit error)
[ 3023.054882] gpu01 kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.
"""


@pytest.mark.parametrize(
    ("kmsg", "journal", "xids", "complete"),
    [
        ("3,4471,3023054882,-;NVRM: Xid (PCI:0000:3b:00): 79, x\n", JOURNAL, [48, 79], True),
        ("3,4471,3023054882,-;NVRM: Xid (PCI:0000:3b:00): 79, x\n", JOURNAL[JOURNAL.index("[   77") :], [79], False),
        ("3,4471,3023054882,-;NVRM: Xid (PCI:0000:3b:00): 79, x\n", "", [79], False),
        ("6,0,0,-;Linux version\n", JOURNAL, [], True),
        ("", JOURNAL, [48, 79], True),
    ],
    ids=["buffer overrun", "both overrun", "no journal", "buffer whole", "buffer closed"],
)
def test_the_journal_is_asked_for_what_the_kernel_has_forgotten(tmp_path, kmsg, journal, xids, complete):
    if kmsg:
        put(tmp_path, "/dev/kmsg", kmsg)
    (tmp_path / "said").write_text(journal)
    journalctl = program(tmp_path, "bin/journalctl", 'cat "{}"\n'.format(tmp_path / "said"))
    fact, gaps = side(tmp_path, journalctl=journalctl)
    assert ([event["xid"] for event in fact["xid_events"]], fact["log_complete"]) == (xids, complete)
    assert gaps == []


def test_every_place_where_the_log_was_sought_is_named(tmp_path):
    commands = {
        name: program(tmp_path, "bin/" + name, f"echo no {name} >&2; exit 1\n") for name in ("journalctl", "dmesg")
    }
    _fact, gaps = side(tmp_path, **commands)
    said = [f"{commands[name]}: no {name}" for name in ("journalctl", "dmesg")]
    assert gaps == ["the kernel's log: No such file or directory; " + "; ".join(said)]


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: " + "Kernel Module " * 70000,
        "NVRM: Xid (" * 100000,
        "NVRM: The NVIDIA GPU\n" + "NVRM: more\n" * 100000,
        "NVRM: The NVIDIA " * 60000,
        "[" * 500000,
        "[ " + " " * 500000,
        "1,1,1," * 100000,
        "3,17,1,-;NVRM: " + "\\x0a" * 200000,
        "nvidia-nvswitch" + "9" * 500000 + ": SXid (",
        "0000:" * 100000,
        "version:" * 100000,
        "[a" * 300000,
    ],
    ids=lambda text: text[:24],
)
def test_no_text_makes_the_parsers_slow(text):
    begin = time.process_time()
    kernel.parse_driver_version(text)
    kernel.parse_modules(text)
    kernel.parse_kernel_log(text)
    kernel.parse_modinfo(text)
    kernel.parse_signature_policy(text, text)
    kernel.log_address(text)
    assert time.process_time() - begin < 5


def test_no_damage_makes_a_parser_raise_or_believe_nonsense():
    chance = random.Random(3)
    good = KMSG + DMESG + MODINFO.format(k=NEW, license="NVIDIA")
    for _ in range(1000):
        text = list(good)
        for _change in range(chance.randint(1, 30)):
            place = chance.randrange(len(text))
            if chance.random() < 0.5:
                text[place] = chr(ord(good[place]) ^ 1 << chance.randrange(7))
            else:
                text[place] = chance.choice(["", "\n", "9" * 30, "\0", "\udc80", "\u0663", ";", "NVRM: Xid (", "): "])
        damaged = "".join(text)[: chance.randint(1, 2 * len(text))]
        log = kernel.parse_kernel_log(damaged)
        for event in log["xid_events"]:
            assert 0 <= event["xid"] < 100000 and (event["time_seconds"] or 0) < 1e10
            assert event["address"] is None or len(event["address"]) < 20
        kernel.parse_modinfo(damaged)
        kernel.parse_driver_version(damaged)
        kernel.parse_signature_policy(damaged, damaged)
