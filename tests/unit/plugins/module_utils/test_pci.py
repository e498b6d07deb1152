# -*- coding: utf-8 -*-
"""PCI addresses and numbers as sysfs and the tools write them."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _pci as pci


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
    assert pci.normal_address(written) == normal


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
    assert pci.first_number(text) == number
