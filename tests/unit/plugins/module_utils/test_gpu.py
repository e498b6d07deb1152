# -*- coding: utf-8 -*-
"""What is read of GPUs from sysfs, /proc and nvidia-smi; good, bad and missing."""

import os
import random
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _gpu as gpu
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

EMULATION = os.path.join(os.path.dirname(__file__), "..", "..", "..", "emulation")
FIXTURES = os.path.join(os.path.dirname(__file__), "..", "..", "fixtures", "gpu")
MODELS = [
    {"vendor_id": "10de", "device_id": "1db6", "kind": "gpu", "key": "v100_pcie_32", "name": "Tesla V100 PCIe 32GB"},
    {"vendor_id": "10de", "device_id": "1af1", "kind": "nvswitch", "name": "NVSwitch"},
]
MODELS[0].update(architecture="volta", compute_capability="7.0")


def smi_xml(name="v100"):
    with open(os.path.join(EMULATION, name, "bin", "nvidia-smi.xml"), encoding="utf-8") as file:
        return file.read()


def fixture(name):
    with open(os.path.join(FIXTURES, name), encoding="utf-8") as file:
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


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("0000:3b:00.0", "0000:3b:00.0"),
        ("3B:00.0", "0000:3b:00.0"),
        ("00010000:07:00.0", "10000:07:00.0"),
        ("GPU 0", "gpu 0"),
        ("", ""),
        (None, ""),
    ],
)
def test_an_address_is_written_as_the_kernel_writes_it(written, normal):
    assert gpu.normal_address(written) == normal


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250.00 W", 250.0),
        ("16.0 GT/s PCIe", 16.0),
        ("32768 MiB", 32768.0),
        ("N/A", None),
        ("[Unknown Error]", None),
        ("", None),
        (None, None),
        ("9" * 40, None),
        ("Unknown", None),
    ],
)
def test_a_number_is_read_or_unknown(text, number):
    assert gpu.first_number(text) == number


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
    assert gpu.parse_driver_version(text) == (version, flavor)


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


def test_nvidia_smi_tells_of_a_v100():
    smi, gaps = gpu.parse_smi(smi_xml())
    assert gaps == []
    assert (smi["driver_version"], smi["cuda_version"], smi["attached_gpus"]) == ("580.178.04", "13.0", 2)
    first = smi["gpus"][0]
    assert first["address"] == "0000:3b:00.0"
    assert first["memory_total_bytes"] == 32 * 2**30
    assert first["retired_pages_pending"] is False
    assert first["row_remap_pending"] is None  # Volta has no row remapping
    assert first["mig_mode"] is None
    assert first["ecc_mode"] is True
    assert first["processes"] == 0


def test_nvidia_smi_tells_of_an_a100():
    smi, gaps = gpu.parse_smi(smi_xml("a100"))
    assert gaps == []
    first = smi["gpus"][0]
    assert first["retired_pages_pending"] is None  # Ampere remaps rows instead
    assert (first["row_remap_pending"], first["row_remap_failure"], first["mig_mode"]) == (False, False, False)


@pytest.mark.parametrize(
    ("name", "driver", "cuda", "draw", "limit", "retired", "remapped", "processes"),
    [
        ("v8-driver-375.xml", "375.66", None, 42.17, 300.0, True, None, 1),
        ("v12-driver-535.xml", "535.261.03", "12.2", 61.3, 400.0, None, True, 0),
        ("v13-driver-580.xml", "580.178.04", "13.0", 71.5, 700.0, None, False, None),
    ],
)
def test_every_schema_gives_the_same_facts(name, driver, cuda, draw, limit, retired, remapped, processes):
    smi, gaps = gpu.parse_smi(fixture(name))
    (device,) = smi["gpus"]
    assert gaps == []
    assert (smi["driver_version"], smi["cuda_version"], smi["attached_gpus"]) == (driver, cuda, 1)
    assert (device["power_draw_watts"], device["power_limit_watts"]) == (draw, limit)
    assert (device["retired_pages_pending"], device["row_remap_pending"]) == (retired, remapped)
    assert device["processes"] == processes


def test_a_lost_gpu_is_named_and_its_complaint_is_no_value():
    smi, gaps = gpu.parse_smi(fixture("v13-driver-580-lost.xml"))
    healthy, lost = smi["gpus"]
    assert gaps == ["nvidia-smi says of the GPU at 0000:a1:00.0: GPU is lost"]
    assert healthy["uuid"] and healthy["memory_total_bytes"]
    assert {name for name, value in lost.items() if value is not None} == {"address"}


@pytest.mark.parametrize(
    "words", ["N/A", "[N/A]", "[Unknown Error]", "Unknown Error", "ERR!", "[Not Supported]", "[GPU requires reset]", ""]
)
def test_what_stands_in_place_of_a_value_is_never_a_value(words):
    fields = "uuid", "serial", "product_name", "compute_mode", "persistence_mode", "vbios_version", "processes"
    body = "".join(f"<{field}>{words}</{field}>" for field in fields if words or field != "processes")
    smi, _gaps = gpu.parse_smi('<nvidia_smi_log><gpu id="0000:07:00.0">' + body + "</gpu></nvidia_smi_log>")
    assert {name for name, value in smi["gpus"][0].items() if value is not None} == {"address"}


def test_a_warning_around_the_xml_is_quoted_and_costs_no_gpu():
    before = "Unable to determine the device handle for GPU0000:A1:00.0: Unknown Error\n"
    after = "\nWARNING: infoROM is corrupted at gpu 0000:3B:00.0\n"
    smi, gaps = gpu.parse_smi(before + smi_xml() + after)
    assert len(smi["gpus"]) == 2
    assert gaps == ["nvidia-smi says: " + before.strip() + " " + after.strip()]


@pytest.mark.parametrize(("status", "count"), [(14, 3), (0, 2)])
def test_an_nvidia_smi_that_fails_after_its_answer_is_believed_and_quoted(tmp_path, status, count):
    smi = answers(tmp_path / "nvidia-smi", smi_xml() + "WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n", status)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, smi, 20)
    assert len(fact["smi"]["gpus"]) == 2
    assert len(fact["gaps"]) == count  # there is no sysfs below this root either
    assert fact["gaps"][-1] == "nvidia-smi says: WARNING: infoROM is corrupted at gpu 0000:3B:00.0"
    assert (smi + ": ended with status 14" in fact["gaps"]) == (status == 14)


def test_a_text_that_is_cut_off_still_gives_the_gpus_that_are_whole():
    xml = smi_xml()
    smi, gaps = gpu.parse_smi(xml[: xml.rindex("<gpu id") + 200])
    assert [device["address"] for device in smi["gpus"]] == ["0000:3b:00.0"]
    assert "cut off" in gaps[0]
    assert gaps[1] == "nvidia-smi counts 2 GPUs and describes 1"


@pytest.mark.parametrize("xml", ["", "No devices were found\n", "Unable to determine the device handle", "<html/>"])
def test_an_answer_that_is_not_the_xml_is_a_gap(xml):
    smi, gaps = gpu.parse_smi(xml)
    assert smi is None and "not its XML" in gaps[0]


def test_entities_are_refused():
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><nvidia_smi_log><uuid>&b;</uuid></nvidia_smi_log>'
    smi, gaps = gpu.parse_smi(bomb)
    assert smi is None and "entities" in gaps[0]


def test_layers_that_disagree_are_both_kept_and_the_quarrel_is_named():
    smi, _gaps = gpu.parse_smi(smi_xml())
    quarrels = gpu.disagreements([], {"driver_version": "580.126.16"}, smi)
    assert quarrels[0] == "the loaded driver is 580.126.16, nvidia-smi says 580.178.04"
    assert len(quarrels) == 3


def test_a_hanging_nvidia_smi_leaves_the_other_layers(tmp_path):
    card(tmp_path, "0000:3b:00.0", vendor="0x10de", device="0x1db6", klass="0x030200")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\ntrap '' TERM\nsleep 60\n")
    smi.chmod(0o755)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, str(smi), 0.3)
    assert len(fact["pci"]) == 1
    assert fact["smi"] is None
    assert "timed out" in fact["gaps"][0]


@pytest.mark.parametrize(
    "said", ["Failed to initialize NVML: Driver/library version mismatch", "NVIDIA-SMI has failed because it couldn't"]
)
def test_a_failing_nvidia_smi_is_quoted(tmp_path, said):
    (tmp_path / "sys" / "bus" / "pci" / "devices").mkdir(parents=True)
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "' + said + '"\nexit 9\n')
    smi.chmod(0o755)
    assert said in gpu.collect(Host(str(tmp_path)), MODELS, str(smi), 20)["gaps"][0]


def test_a_host_without_gpu_and_driver_has_no_gaps(tmp_path):
    (tmp_path / "sys" / "bus" / "pci" / "devices").mkdir(parents=True)
    fact = gpu.collect(Host(str(tmp_path)), MODELS, "nvidia-smi-that-is-not-there", 1)
    assert (fact["gaps"], fact["pci"], fact["smi"]) == ([], [], None)


@pytest.mark.parametrize(
    ("variable", "on"), [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"", None), (b"\1", None)]
)
def test_secure_boot_is_on_off_or_unknown(variable, on):
    assert gpu.parse_secure_boot(variable) is on


def test_an_external_entity_is_never_fetched(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("<!ENTITY x 'leaked'>")
    xml = f'<!DOCTYPE nvidia_smi_log SYSTEM "file://{secret}">'
    smi, _gaps = gpu.parse_smi(xml + '<nvidia_smi_log><gpu id="1"><uuid>&x;</uuid></gpu></nvidia_smi_log>')
    assert "leaked" not in str(smi)


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: " + "Kernel Module " * 70000,
        "<nvidia_smi_log>" + "<gpu id='1'>" * 20000,
        "<nvidia_smi_log>" + "<a>" * 100000 + "</a>" * 100000 + "</nvidia_smi_log>",
        "<nvidia_smi_log>" * 50000,
        "<nvidia_smi_log>\udc80</nvidia_smi_log>",
        '<?xml version="1.0" encoding="nothing-known"?><nvidia_smi_log/>',
    ],
    ids=["driver", "gpus in gpus", "deep", "logs in logs", "surrogate", "encoding"],
)
def test_no_text_makes_the_parsers_slow(text):
    begin = time.time()
    gpu.parse_smi(text)
    gpu.parse_driver_version(text)
    gpu.parse_modules(text)
    assert time.time() - begin < 5


def test_no_bytes_make_the_parsers_raise():
    chance = random.Random(1)
    good = smi_xml("a100")
    for _ in range(400):
        text = list(good)
        for _change in range(chance.randint(1, 20)):
            place = chance.randrange(len(text))
            text[place : place + chance.randint(0, 40)] = chance.choice(
                ["", "<", "&", ">", "N/A", "\0", "\u20ac", "\udc80", "</gpu>", "<gpu>", "]]>", "<!--", "<!DOCTYPE "]
            )
        damaged = "".join(text)
        gpu.parse_smi(damaged)
        gpu.parse_driver_version(damaged)
        gpu.parse_modules(damaged)
        gpu.normal_address(damaged[:50])
