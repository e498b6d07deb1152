# -*- coding: utf-8 -*-
"""What dnf is asked for on Enterprise Linux 8 to 10."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver_dnf as dnf


@pytest.mark.parametrize(
    ("release", "flavor", "stream"),
    [
        ("8", "proprietary", "580-dkms"),
        ("9", "open", "580-open"),
        ("10", "open", None),
        ("7", "proprietary", None),
    ],
)
def test_releases_8_and_9_have_streams(release, flavor, stream):
    assert dnf.stream(release, "580", flavor) == stream


def test_where_no_stream_chooses_the_branch_its_number_does():
    assert dnf.install_names("580", "", "proprietary") == ["cuda-drivers-580.*"]
    assert dnf.install_names("580", "", "open") == ["nvidia-open-580.*"]
    assert dnf.install_names("580", "580.126.16", "open") == ["nvidia-open-580.126.16"]


def test_a_stream_counts_when_it_is_enabled():
    assert dnf.enabled_stream("[nvidia-driver]\nname=nvidia-driver\nstream=580-dkms\nstate=enabled\n") == "580-dkms"
    assert dnf.enabled_stream("[nvidia-driver]\nstream=\nstate=\n") is None
    assert dnf.enabled_stream("") is None


def test_the_installed_driver_is_told_by_what_carries_its_modules():
    assert dnf.installed_driver({"kmod-nvidia-open-dkms": "580.126.16-1.el9", "bash": "5-1"}) == ("580.126.16", "open")
    assert dnf.installed_driver({"nvidia-driver-cuda": "580.126.16-1.el9"}) is None
