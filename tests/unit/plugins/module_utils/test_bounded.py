# -*- coding: utf-8 -*-
"""No text makes a parser slow: what a host, a user or a broken tool wrote is read in time that grows with its length.

A regular expression that tries again from every place, or a product of lists, takes seconds for a text of this length;
one that does not, milliseconds. Counted is this process's own time, not the clock's: other tests run beside this one.
"""

import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import (
    _environment,
    _gpu_kernel,
    _gpu_smi,
    _memory,
    _nvme,
    _pci,
    _system,
    _training,
)

LENGTH = 20000
LIMIT_SECONDS = 0.4
SMI = "<nvidia_smi_log><gpu id='1'><fb_memory_usage><total>"
NAME = "<nvidia_smi_log><gpu id='1'><processes><process_info><process_name>"
# Each parser, and how texts begin in which it gets somewhere.
PARSERS = {
    "apt.conf": (_system.parse_apt_conf, ["a::b ", 'a "', "a {", "/*", "#clear "]),
    "apt sources": (lambda text: _system.parse_source_list(text, "a"), ["deb ", "deb [", "deb [arch=a ", "deb x "]),
    "apt sources, deb822": (
        lambda text: _system.parse_deb822(text, "a"),
        ["Types: ", "Types: deb\nURIs: x\nSuites: ", "Types: deb\nSigned-By:\n "],
    ),
    "container": (_system.parse_container, ["container="]),
    "cpu list": (_system.parse_cpu_list, ["0-1,"]),
    "cpulist": (_memory.parse_cpulist, ["0-1,"]),
    "cpuinfo": (lambda text: _system.parse_virtualization(text, text), ["flags", "flags : ", "model name"]),
    "dnf.conf": (_system.parse_excludes, ["exclude", "exclude="]),
    "dpkg status": (_system.parse_dpkg_status, ["Package: x\nStatus: ", "Status: a b c"]),
    "driver version": (_gpu_kernel.parse_driver_version, ["NVRM version: ", "NVRM version: x Kernel Module "]),
    "kernel log": (_gpu_kernel.parse_kernel_log, ["[    1.0] NVRM: Xid (PCI:0000:3b:00): 79, ", "3,1,1,-;NVRM: Xid ("]),
    "kernel release": (_system.kernel_order, ["6.1"]),
    "locks": (lambda text: _system.parse_locks(text, (8, 1, 131)), ["1: POSIX  ADVISORY  WRITE ", "1: "]),
    "meminfo": (_memory.parse_meminfo, ["MemTotal: 1", "Node 0 A"]),
    "modinfo": (_gpu_kernel.parse_modinfo, ["version: ", "signer: "]),
    "modules": (_gpu_kernel.parse_modules, ["nvidia "]),
    "mountinfo": (_nvme.parse_mounts, ["36 35 259:1 / /mnt rw ", "36 35 259:1 / / rw - "]),
    "mounts": (_system.parse_mounts, ["/dev/x /"]),
    "number of PCI": (_pci.first_number, ["16.0 GT/s", "1"]),
    "nvidia-smi": (_gpu_smi.parse_smi, [SMI, NAME, "<nvidia_smi_log><!DOCTYPE nvsmi"]),
    "nvidia-smi nvlink": (_gpu_smi.parse_nvlinks, ["GPU 0: x (UUID: GPU-1)\n\tLink 0: "]),
    "nvidia-smi topology": (_gpu_smi.parse_topology, ["\tGPU0\tGPU1\nGPU0\t X \t"]),
    "nvme list": (_nvme.parse_nvme_list, ['{"Devices":[', '{"Devices":[{"DevicePath":"']),
    "nvme smart-log": (_nvme.parse_nvme_smart_log, ['{"critical_warning":', '{"a":"']),
    "paragraphs": (lambda text: list(_system.stanzas(text)), ["A: b\n", "A: b\n c\n"]),
    "password in a text": (_environment.redact, ["http://", "http://a:b"]),
    "password in a URI": (_system.without_password, ["http://", "http://a:b"]),
    "PCI address": (_pci.normal_address, ["0000:3b:00.0"]),
    "quantity": (lambda text: _gpu_smi.quantity(text, "bytes"), ["1", "1,5 ", "32 MiB"]),
    "smartctl": (_nvme.parse_smartctl, ['{"nvme_smart_health_information_log":{"a":"']),
    "swaps": (_memory.parse_swaps, ["/dev/x partition 1 2 3", "/x file"]),
    "swaps with devices": (_nvme.parse_swaps, ["/dev/x partition 1 2 3"]),
    "training result": (_training.parse, ["{", '{"a":"']),
    "udev": (_nvme.parse_udev, ["E:ID_FS_TYPE="]),
    "uv's complaint": (
        lambda text: _environment.explain(text, _environment.Wanted("a", "/opt", "3.10", [])),
        ["Because "],
    ),
    "version locks": (_system.parse_version_locks, ["[[packages]]\n", "[[packages]]\nname"]),
    "zoneinfo": (lambda text: _memory.parse_zoneinfo(text, 1 << 34), ["  present 1"]),
}
UNITS = ["a", "9", " ", "\t", "\n", "\n ", "\0", "[", "[]", "(", "{", "a{", '"', "<a>", "<a/>", "&", ";", "://", "/*"]
UNITS += ["\\040", ",", ".", "-", "a=", "a: ", "a b ", "\x1b[", "9-", "Kernel Module ", "\nA: b", "\n\n", "a:b@"]
ENDS = ["!", '] x y\n"}]}</total></fb_memory_usage></gpu></nvidia_smi_log>']


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_no_text_makes_a_parser_slow(name):
    parse, beginnings = PARSERS[name]
    for beginning in beginnings:
        for unit in UNITS:
            for end in ENDS:
                text = beginning + unit * (LENGTH // len(unit)) + end
                before = time.process_time()
                parse(text)
                assert time.process_time() - before < LIMIT_SECONDS, (beginning, unit, end)


WORDS = "x " * 200000


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (_system.parse_apt_conf, "a{b 1;" * 100000),
        (lambda text: _system.parse_deb822(text, "a"), f"Types: {WORDS}\nURIs: {WORDS}\nSuites: {WORDS}"),
        (lambda text: list(_system.stanzas(text)), "A: b\n" + " c\n" * 250000),
    ],
    ids=["nested apt.conf", "product of types, URIs and suites", "a field of many lines"],
)
def test_a_mebibyte_of_the_worst_is_read_in_seconds(parse, text):
    before = time.process_time()
    parse(text)
    assert time.process_time() - before < 3
