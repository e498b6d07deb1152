# -*- coding: utf-8 -*-
"""The Java that is found is the one that a program can keep."""

import os

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _java
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host


@pytest.fixture
def jvm(tmp_path):
    """Return a maker of Javas below /usr/lib/jvm; one without a release file says its version when it is started."""

    def make(name, version, release=True):
        home = tmp_path / "usr" / "lib" / "jvm" / name
        (home / "bin").mkdir(parents=True)
        java = home / "bin" / "java"
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n", encoding="utf-8")
        java.chmod(0o755)
        if release:
            (home / "release").write_text(f'IMPLEMENTOR="Debian"\nJAVA_VERSION="{version}"\n', encoding="utf-8")
        return home

    make.host = Host(str(tmp_path))
    return make


def link(home, name):
    os.symlink(home.name, str(home.parent / name))


@pytest.mark.parametrize(
    ("version", "major"), [("1.8.0_412", "8"), ("11.0.29", "11"), ("17", "17"), ("21.0.9+10", "21"), ("what", "")]
)
def test_the_major_version(version, major):
    assert _java.major(version) == major


def test_the_first_of_the_wanted_versions_is_taken(jvm):
    for major in (11, 17, 21, 25):
        jvm(f"java-{major}-openjdk-amd64", f"{major}.0.1")
    assert _java.choose(jvm.host, ["21", "17"])["home"] == "/usr/lib/jvm/java-21-openjdk-amd64"
    assert _java.choose(jvm.host, ["17"])["home"] == "/usr/lib/jvm/java-17-openjdk-amd64"


def test_a_debian_package_counts_once_and_default_java_never(jvm):
    home = jvm("java-17-openjdk-amd64", "17.0.15")
    for name in ("java-1.17.0-openjdk-amd64", "default-java"):
        link(home, name)
    assert [one.home for one in _java.find(jvm.host)] == ["/usr/lib/jvm/java-17-openjdk-amd64"]


def test_on_enterprise_linux_the_path_survives_an_update(jvm):
    home = jvm("java-21-openjdk-21.0.9.0.10-1.el9.x86_64", "21.0.9")
    for name in ("java-21-openjdk", "jre-21-openjdk", "java-21", "jre-21", "jre", "java"):
        link(home, name)
    assert _java.choose(jvm.host, ["21"])["home"] == "/usr/lib/jvm/jre-21"


def test_a_java_without_a_release_file_is_asked(jvm):
    jvm("java-8-openjdk-amd64", "1.8.0_412", release=False)
    assert _java.choose(jvm.host, ["8"])["version"] == "1.8.0_412"


def test_what_cannot_be_started_is_no_java(jvm):
    home = jvm("java-17-openjdk-amd64", "17.0.15")
    (home / "bin" / "java").chmod(0o644)
    assert _java.choose(jvm.host, ["17"])["problem"].startswith("there is no Java below /usr/lib/jvm")


def test_what_there_is_instead_is_named(jvm):
    jvm("java-11-openjdk-amd64", "11.0.29")
    assert _java.choose(jvm.host, ["21", "17"])["problem"] == (
        "there is Java 11.0.29 (/usr/lib/jvm/java-11-openjdk-amd64)"
    )


def test_a_folder_that_is_named_must_hold_a_java_of_the_right_version(jvm):
    jvm("java-25-openjdk-amd64", "25.0.1")
    assert _java.choose(jvm.host, ["25"], home="/usr/lib/jvm/java-25-openjdk-amd64")["major"] == "25"
    told = _java.choose(jvm.host, ["21"], home="/usr/lib/jvm/java-25-openjdk-amd64")
    assert (told["home"], told["problem"]) == (None, "/usr/lib/jvm/java-25-openjdk-amd64 is Java 25.0.1")
    assert _java.choose(jvm.host, ["21"], home="/opt/gone")["problem"] == "there is no Java at /opt/gone"
