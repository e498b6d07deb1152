# -*- coding: utf-8 -*-
"""What is read of GPUs from the PCI bus, and the three layers together; good, bad and missing."""

import copy
import os
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _gpu as gpu
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

EMULATION = os.path.join(os.path.dirname(__file__), "..", "..", "..", "emulation")
MODELS = [
    {"vendor_id": "10de", "device_id": "1db6", "kind": "gpu", "key": "v100_pcie_32", "name": "Tesla V100 PCIe 32GB"},
    {"vendor_id": "10de", "device_id": "1af1", "kind": "nvswitch", "name": "NVSwitch"},
]
MODELS[0].update(architecture="volta", compute_capability="7.0")


def smi_xml(name="v100"):
    with open(os.path.join(EMULATION, name, "bin", "nvidia-smi.xml"), encoding="utf-8") as file:
        return file.read()


def answers(path, text, status):
    """Put an nvidia-smi at a path that prints a text and ends with a status."""
    (path.parent / "answer").write_text(text)
    path.write_text(f'#!/bin/sh\ncat "$(dirname "$0")/answer"\nexit {status}\n')
    path.chmod(0o755)
    return str(path)


def card(root, address, **files):
    """Put one PCI device below a root."""
    folder = root / "sys" / "bus" / "pci" / "devices" / address
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("klass", "class")).write_text(text + "\n")
    return folder


def test_a_gpu_without_a_driver_is_seen(tmp_path):
    card(tmp_path, "0000:3b:00.0", vendor="0x10de", device="0x1db6", klass="0x030200")
    (device,) = gpu.pci_devices(Host(str(tmp_path)), MODELS)
    assert (device["model"], device["architecture"], device["kernel_driver"]) == ("Tesla V100 PCIe 32GB", "volta", None)


def test_a_gpu_that_the_table_does_not_know_is_seen_without_a_name(tmp_path):
    card(tmp_path, "0000:3b:00.0", vendor="0x10de", device="0xffff", klass="0x030200")
    (device,) = gpu.pci_devices(Host(str(tmp_path)), MODELS)
    assert (device["device_id"], device["model"], device["architecture"]) == ("ffff", None, None)


def test_only_gpus_and_known_nvswitches_are_taken(tmp_path):
    card(tmp_path, "0000:00:1f.0", vendor="0x8086", device="0xa1c1", klass="0x060100")
    card(tmp_path, "0000:3b:00.1", vendor="0x10de", device="0x10f7", klass="0x040300")  # a GPU's sound
    card(tmp_path, "0000:c1:00.0", vendor="0x10de", device="0x1af1", klass="0x068000")
    card(tmp_path, "0000:c2:00.0", vendor="0x10de", device="0x0001", klass="0x068000")  # some other bridge
    card(tmp_path, "0000:c3:00.0", vendor="0x1002", device="0x738c", klass="0x038000")
    kinds = [
        (device["address"], device["kind"], device["vendor"]) for device in gpu.pci_devices(Host(str(tmp_path)), MODELS)
    ]
    assert kinds == [("0000:c1:00.0", "nvswitch", "nvidia"), ("0000:c3:00.0", "gpu", "amd")]


def test_the_shares_of_a_gpu_that_a_vgpu_host_has_made_are_no_gpus(tmp_path):
    for function in range(3):
        device = card(tmp_path, f"0000:3b:00.{function}", vendor="0x10de", device="0x1db6", klass="0x030200")
        if function:
            (device / "physfn").symlink_to("../0000:3b:00.0")
    assert [device["address"] for device in gpu.pci_devices(Host(str(tmp_path)), MODELS)] == ["0000:3b:00.0"]


def test_a_link_and_a_node_that_the_firmware_does_not_know_are_unknown(tmp_path):
    card(
        tmp_path,
        "0000:3b:00.0",
        vendor="0x10de",
        device="0x1db6",
        klass="0x030200",
        numa_node="-1",
        current_link_speed="Unknown",
        current_link_width="255",
        max_link_width="0",
    )
    (device,) = gpu.pci_devices(Host(str(tmp_path)), MODELS)
    assert device["numa_node"] is None
    assert device["link"] == {"speed_gts": None, "width": None, "max_speed_gts": None, "max_width": None}


@pytest.mark.parametrize(("status", "count"), [(14, 3), (0, 2)])
def test_an_nvidia_smi_that_fails_after_its_answer_is_believed_and_quoted(tmp_path, status, count):
    smi = answers(tmp_path / "nvidia-smi", smi_xml() + "WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n", status)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, smi, 20, nvlink=False)
    assert fact["smi_status"] == "answered"
    assert len(fact["smi"]["gpus"]) == 2
    assert len(fact["gaps"]) == count  # there is no sysfs below this root either
    assert fact["gaps"][-1] == "nvidia-smi says: WARNING: infoROM is corrupted at gpu 0000:3B:00.0"
    assert (smi + ": ended with status 14" in fact["gaps"]) == (status == 14)


def test_a_hanging_nvidia_smi_leaves_the_other_layers(tmp_path):
    card(tmp_path, "0000:3b:00.0", vendor="0x10de", device="0x1db6", klass="0x030200")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\ntrap '' TERM\nsleep 60\n")
    smi.chmod(0o755)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, str(smi), 0.3)
    assert len(fact["pci"]) == 1
    assert fact["smi"] is None
    assert fact["smi_status"] == "timed_out"
    assert fact["gaps"] == ["the kernel's log: No such file or directory", f"{smi}: timed out after 0.3 s"]


@pytest.mark.parametrize(
    "said", ["Failed to initialize NVML: Driver/library version mismatch", "NVIDIA-SMI has failed because it couldn't"]
)
def test_a_failing_nvidia_smi_is_quoted(tmp_path, said):
    (tmp_path / "sys" / "bus" / "pci" / "devices").mkdir(parents=True)
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "' + said + '"\nexit 9\n')
    smi.chmod(0o755)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, str(smi), 20)
    assert (fact["smi_status"], fact["smi"]) == ("failed", None)
    assert said in fact["gaps"][0]


def test_a_host_without_gpu_and_driver_has_no_gaps(tmp_path):
    (tmp_path / "sys" / "bus" / "pci" / "devices").mkdir(parents=True)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, "nvidia-smi-that-is-not-there", 1)
    assert (fact["gaps"], fact["pci"], fact["smi"], fact["smi_status"]) == ([], [], None, "missing")


def emulated(name="v100", **options):
    """Return the fact of an emulated machine."""
    root = os.path.join(EMULATION, name)
    return gpu.collect(Host(root), MODELS, os.path.join(root, "bin", "nvidia-smi"), 20, **options)


@pytest.mark.parametrize("name", ["v100", "a100"])
def test_the_emulated_machines_are_healthy_in_every_layer(name):
    fact = emulated(name, topology=True)
    assert (fact["gaps"], fact["disagreements"], fact["smi_status"]) == ([], [], "answered")
    kernel = fact["kernel"]
    assert (kernel["userspace_matches"], kernel["xid_events"], kernel["log_complete"]) == (True, [], True)
    assert [row["dkms_state"] for row in kernel["kernels"]] == ["installed"]
    assert [device["nvlinks_active"] for device in fact["smi"]["gpus"]] == [0, 0]
    assert [pair["connection"] for pair in fact["smi"]["topology"]] == ["SYS"]
    assert all(device["iommu_group"] for device in fact["pci"])


def test_what_was_not_asked_is_unknown():
    fact = emulated(nvlink=False)
    assert fact["smi"]["topology"] is None
    assert {device["nvlinks_active"] for device in fact["smi"]["gpus"]} == {None}


@pytest.mark.parametrize(
    ("text", "gap"),
    [("sleep 60", "timed out after 2 s"), ("echo 'Invalid combination'; exit 2", "Invalid combination")],
)
def test_an_nvidia_smi_that_fails_at_its_second_question_keeps_the_first_answer(tmp_path, text, gap):
    smi = tmp_path / "nvidia-smi"
    (tmp_path / "xml").write_text(smi_xml())
    smi.write_text('#!/bin/sh\nif [ "$1" = -q ]; then exec cat "$(dirname "$0")/xml"; fi\n' + text + "\n")
    smi.chmod(0o755)
    (tmp_path / "sys" / "bus" / "pci" / "devices").mkdir(parents=True)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, str(smi), 2)
    assert (fact["smi_status"], len(fact["smi"]["gpus"])) == ("answered", 2)
    assert fact["gaps"] == [f"{smi} nvlink -s: {gap}"]
    assert {device["nvlinks"] for device in fact["smi"]["gpus"]} == {None}


@pytest.mark.parametrize(
    "text",
    ["", "echo 'GPU 0: Tesla V100-PCIE-32GB'; echo 'GPU 0 does not have or support Nvlink'; echo 'GPU 1: x'; exit 3"],
    ids=["driver 580", "driver 595"],
)
def test_gpus_without_nvlink_are_no_gap(tmp_path, text):
    (tmp_path / "xml").write_text(smi_xml())
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\nif [ "$1" = -q ]; then exec cat "$(dirname "$0")/xml"; fi\n' + text + "\n")
    smi.chmod(0o755)
    fact = gpu.collect(Host(os.path.join(EMULATION, "v100")), MODELS, str(smi), 20)
    assert fact["gaps"] == []
    assert [device["nvlinks_active"] for device in fact["smi"]["gpus"]] == [0, 0]


def test_an_nvidia_smi_that_hangs_is_asked_nothing_more(tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho >> "$(dirname "$0")/asked"\nsleep 60\n')
    smi.chmod(0o755)
    begin = time.time()
    gpu.collect(Host(str(tmp_path)), MODELS, str(smi), 0.5, topology=True)
    assert (tmp_path / "asked").read_text() == "\n"
    assert time.time() - begin < 10


def test_an_nvidia_smi_that_hangs_in_the_middle_still_gives_the_gpus_it_described(tmp_path):
    xml = smi_xml()
    (tmp_path / "xml").write_text(xml[: xml.rindex("<temperature>")])
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\ncd "$(dirname "$0")"\necho "$@" >> asked\ncat xml\nsleep 60\n')
    smi.chmod(0o755)
    fact = gpu.collect(Host(os.path.join(EMULATION, "v100")), MODELS, str(smi), 1)
    assert (fact["smi_status"], [device["index"] for device in fact["smi"]["gpus"]]) == ("timed_out", [0])
    assert fact["disagreements"] == []  # half an answer does not deny the second GPU
    assert (tmp_path / "asked").read_text() == "-q -x\n"


def test_an_nvidia_smi_that_may_not_be_run_has_failed(tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("")
    fact = gpu.collect(Host(str(tmp_path)), MODELS, str(smi), 1)
    assert (fact["smi_status"], fact["gaps"][-1]) == ("failed", f"{smi}: Permission denied")


HEALTHY = emulated()


def altered(path, value):
    """Return PCI, kernel and nvidia-smi of the emulated machine with one value changed."""
    fact = copy.deepcopy(HEALTHY)
    place = fact
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return fact["pci"], fact["kernel"], fact["smi"]


@pytest.mark.parametrize(
    ("path", "value", "quarrel"),
    [
        (
            ("smi", "driver_version"),
            "580.126.16",
            "the loaded driver is 580.178.04, nvidia-smi says 580.126.16",
        ),
        (
            ("kernel", "userspace_version"),
            "580.180.01",
            "the loaded driver is 580.178.04, the installed libraries are 580.180.01",
        ),
        (
            ("kernel", "installed_module", "version"),
            "580.180.01",
            "the loaded driver is 580.178.04, the module installed for this kernel is 580.180.01",
        ),
        (
            ("kernel", "installed_module", "flavor"),
            "open",
            "the loaded modules are proprietary, the module installed for this kernel is open",
        ),
        (
            ("kernel", "libraries", 0, "version"),
            "580.95.05",
            "the installed libraries are of several versions: 580.178.04, 580.95.05",
        ),
        (
            ("smi", "gpus", 1, "link", "width"),
            8,
            "the GPU at 0000:d8:00.0 has 16 PCIe lanes, nvidia-smi says 8",
        ),
        (
            ("smi",),
            dict(HEALTHY["smi"], gpus=HEALTHY["smi"]["gpus"][:1], attached_gpus=1),
            "the GPU at 0000:d8:00.0 is bound to the nvidia driver, but nvidia-smi does not show it",
        ),
        (
            ("pci",),
            HEALTHY["pci"][:1],
            "nvidia-smi shows a GPU at 0000:d8:00.0 that is not on the PCI bus",
        ),
    ],
)
def test_layers_that_disagree_are_both_kept_and_the_quarrel_is_named(path, value, quarrel):
    assert gpu.disagreements(*altered(path, value)) == [quarrel]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kernel", "driver_version"), None),
        (("kernel", "userspace_version"), None),
        (("kernel", "installed_module"), None),
        (("smi", "driver_version"), None),
        (("smi", "gpus", 0, "link", "width"), None),
        (("pci", 0, "link", "width"), None),
        (("smi", "gpus", 0, "link", "max_width"), 8),  # a slot of eight lanes: sysfs tells what the card could
        (("smi",), None),
        (("smi", "gpus"), HEALTHY["smi"]["gpus"][:1]),  # it counts two: the answer was cut off
    ],
)
def test_what_a_layer_does_not_say_is_no_quarrel(path, value):
    assert gpu.disagreements(*altered(path, value)) == []


def test_a_gpu_that_another_driver_holds_is_not_missed_by_nvidia_smi():
    pci, kernel, smi = altered(("smi", "gpus"), HEALTHY["smi"]["gpus"][:1])
    pci[1]["kernel_driver"] = "vfio-pci"
    assert gpu.disagreements(pci, kernel, smi) == []
