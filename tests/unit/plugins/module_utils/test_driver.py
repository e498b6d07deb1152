# -*- coding: utf-8 -*-
"""Which packages, files and words nvidia_driver decides on."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver as driver
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed, Package

DEBIAN12 = driver.System("debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)")
UBUNTU = driver.System("ubuntu", "22.04", "jammy", "Ubuntu 22.04.5 LTS")


def packages(**versions):
    return {
        name.replace("_", "-"): Package(name.replace("_", "-"), version, "installed", False)
        for name, version in versions.items()
    }


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n', "debian", "12"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n', "ubuntu", "22.04"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', "el", "9"),
        ("ID=linuxmint\nID_LIKE=ubuntu\nVERSION_ID='21'\n", "ubuntu", "21"),
    ],
)
def test_a_system_is_known_by_its_os_release(text, name, version):
    system = driver.parse_os_release(text)
    assert (system.name, system.version) == (name, version)


@pytest.mark.parametrize("text", ["", "ID=arch\n", 'ID=raspbian\nID_LIKE=debian\nVERSION_ID="12"\n', "rubbish"])
def test_a_system_whose_packages_are_not_known_is_refused(text):
    with pytest.raises(Failed, match="known for Debian, Ubuntu and Enterprise Linux"):
        driver.parse_os_release(text)


def test_debians_main_driver_has_no_number_in_its_name_and_the_others_have():
    offered = {"nvidia-kernel-dkms": ("535.261.03-1", []), "nvidia-tesla-470-kernel-dkms": ("470.256.02-1~deb12u1", [])}
    assert driver.debian_stem("535", {}, offered) == ""
    assert driver.debian_stem("470", {}, offered) == "-tesla-470"
    with pytest.raises(Failed, match=r"no driver of branch 580 for this release: it has 470\.256\.02, 535\.261\.03"):
        driver.debian_stem("580", {}, offered)


def test_what_is_installed_decides_before_what_could_be():
    there = packages(nvidia_tesla_535_kernel_dkms="535.216.03-3~deb12u1")
    offered = {"nvidia-kernel-dkms": ("535.261.03-1", [])}
    assert driver.debian_stem("535", there, offered) == "-tesla-535"


def test_a_host_that_computes_gets_no_x():
    choice = driver.debian_packages("", "proprietary", headless=True, persistence=True)
    assert choice.kernel == ["nvidia-kernel-dkms"]
    assert "nvidia-driver" not in choice.user and "libcuda1" in choice.user and "nvidia-persistenced" in choice.user
    assert driver.debian_packages("", "proprietary", headless=False, persistence=False).user == ["nvidia-driver"]


def test_only_debians_main_driver_has_open_modules():
    assert driver.debian_packages("", "open", True, False).kernel == ["nvidia-open-kernel-dkms"]
    with pytest.raises(Failed, match="nvidia-tesla-470 has no open kernel modules"):
        driver.debian_packages("-tesla-470", "open", True, False)


def test_ubuntus_prebuilt_modules_come_for_each_kernel_and_for_those_to_come():
    kernels = ["5.15.0-118-generic", "5.15.0-119-generic"]
    choice = driver.ubuntu_packages("580", "open", True, kernels, prebuilt=True)
    assert choice.kernel == [
        "linux-modules-nvidia-580-server-open-5.15.0-118-generic",
        "linux-modules-nvidia-580-server-open-5.15.0-119-generic",
        "linux-modules-nvidia-580-server-open-generic",
    ]
    assert driver.ubuntu_packages("580", "proprietary", True, kernels, False).kernel == ["nvidia-dkms-580-server"]


@pytest.mark.parametrize(
    ("release", "images", "metas"),
    [
        ("6.8.0-60-generic", ["linux-image-generic-hwe-22.04"], ["generic-hwe-22.04"]),
        ("6.8.0-60-generic", ["linux-image-virtual-hwe-22.04"], ["generic-hwe-22.04"]),
        ("5.15.0-119-generic", ["linux-image-generic", "linux-image-5.15.0-119-generic"], ["generic"]),
        ("5.15.0-119-generic", ["linux-image-unsigned-5.15.0-119-generic"], ["generic"]),
        ("6.5.0-1020-aws", ["linux-image-aws-lts-22.04"], ["aws-lts-22.04"]),
        ("6.1.0-1020-oem", ["linux-image-oem-22.04c"], ["oem-22.04c"]),
    ],
)
def test_modules_for_kernels_to_come_are_for_those_that_the_host_gets(release, images, metas):
    names = driver.prebuilt_names("535", "proprietary", [release], images)
    assert names[1:] == [f"linux-modules-nvidia-535-server-{meta}" for meta in metas]


def test_what_brings_modules_for_kernels_to_come_is_not_held():
    name = "linux-modules-nvidia-535-server-open-"
    assert driver.to_hold([name + "generic-hwe-22.04", name + "6.8.0-60-generic"]) == [name + "6.8.0-60-generic"]


@pytest.mark.parametrize(
    ("branch", "version", "flavor", "names"),
    [
        ("580", "", "proprietary", ["cuda-drivers-580"]),
        ("580", "580.126.16", "open", ["nvidia-open-580"]),
        ("590", "", "open", ["nvidia-driver-pinning-590", "nvidia-open"]),
        ("595", "595.91.07", "proprietary", ["nvidia-driver-pinning-595.91.07", "cuda-drivers"]),
    ],
)
def test_nvidias_names_carry_the_branch_until_580(branch, version, flavor, names):
    assert driver.nvidia_packages(branch, version, flavor).user == names


@pytest.mark.parametrize(
    ("name", "flavor"),
    [
        ("nvidia-kernel-dkms", "proprietary"),
        ("nvidia-open-kernel-dkms", "open"),
        ("nvidia-kernel-open-dkms", "open"),
        ("nvidia-tesla-470-kernel-dkms", "proprietary"),
        ("nvidia-tesla-kernel-dkms", "proprietary"),
        ("nvidia-legacy-390xx-kernel-dkms", "proprietary"),
        ("nvidia-dkms-580-server", "proprietary"),
        ("nvidia-dkms-580-server-open", "open"),
        ("nvidia-dkms-550", "proprietary"),
        ("nvidia-dkms", "proprietary"),
        ("nvidia-dkms-open", "open"),
        ("linux-modules-nvidia-580-server-open-generic", "open"),
        ("linux-modules-nvidia-535-5.15.0-119-generic", "proprietary"),
        ("nvidia-smi", None),
        ("dkms", None),
        ("nvidia-kernel-support", None),
        ("linux-modules-5.15.0-119-generic", None),
    ],
)
def test_the_packages_that_carry_kernel_modules_and_their_flavour(name, flavor):
    assert driver.flavor_of(name) == flavor


@pytest.mark.parametrize("name", ["libcuda1", "libnvidia-ml1", "nvidia-smi", "cuda-drivers-550", "firmware-nvidia-gsp"])
def test_the_drivers_packages_are_held(name):
    assert driver.family([name]) == [name]


@pytest.mark.parametrize(
    "name",
    ["nvidia-cuda-toolkit", "nvidia-cuda-dev", "nvidia-container-toolkit", "libnvidia-container1", "cuda-toolkit-12-9"],
)
def test_toolkits_are_not_the_drivers(name):
    assert driver.family([name]) == []


def test_the_version_of_prebuilt_modules_is_that_of_the_programs_beside_them():
    there = packages(
        **{
            "linux_modules_nvidia_580_server_5.15.0_119_generic": "5.15.0-119.129+1",
            "nvidia_utils_580_server": "580.173.02-0ubuntu0.22.04.1",
        }
    )
    assert driver.installed_driver(there)[:2] == ("580.173.02", "proprietary")


def test_no_driver_is_none():
    assert driver.installed_driver(packages(nvidia_smi="535.261.03-1")) is None


def test_another_driver_goes_as_a_whole_and_what_serves_both_stays():
    there = packages(
        nvidia_kernel_dkms="535.261.03-1",
        nvidia_smi="535.261.03-1",
        nvidia_persistenced="535.171.04-1~deb12u1",
        nvidia_tesla_470_kernel_dkms="470.256.02-1~deb12u1",
    )
    assert driver.leftovers(there, ["nvidia-tesla-470-kernel-dkms"], "470", "proprietary") == [
        "nvidia-kernel-dkms",
        "nvidia-smi",
    ]


def test_the_other_flavour_of_the_same_version_goes_alone():
    there = packages(nvidia_kernel_dkms="535.261.03-1", nvidia_smi="535.261.03-1")
    assert driver.leftovers(there, ["nvidia-open-kernel-dkms"], "535", "open") == ["nvidia-kernel-dkms"]


def test_headers_come_for_each_kernel_and_for_those_to_come():
    names = ["linux-image-6.1.0-50-cloud-amd64", "linux-image-cloud-amd64", "linux-image-amd64-dbg"]
    assert driver.headers(DEBIAN12, names, ["6.1.0-50-cloud-amd64"], "x86_64") == (
        ["linux-headers-6.1.0-50-cloud-amd64"],
        ["linux-headers-cloud-amd64"],
    )
    assert driver.headers(DEBIAN12, [], [], "x86_64") == ([], ["linux-headers-amd64"])
    assert driver.headers(UBUNTU, ["linux-image-generic-hwe-22.04"], [], "x86_64")[1] == [
        "linux-headers-generic-hwe-22.04"
    ]


@pytest.mark.parametrize(
    ("config", "package"),
    [
        ('CONFIG_CC_VERSION_TEXT="x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0"\n', "gcc-12"),
        ('CONFIG_CC_IS_GCC=y\nCONFIG_CC_VERSION_TEXT="gcc (Debian 10.2.1-6) 10.2.1 20210110"\n', "gcc-10"),
        ('CONFIG_CC_VERSION_TEXT="clang version 18"\n', None),
        ("", None),
    ],
)
def test_modules_are_built_with_the_compiler_of_the_kernel(config, package):
    assert driver.compiler(config) == package


def source(uri, suite, components, signed_by=None):
    row = {"type": "deb", "uri": uri, "suite": suite, "components": components, "signed_by": signed_by}
    return {**row, "file": "/etc/apt/sources.list"}


def test_debians_missing_components_are_added_where_its_main_is_and_with_the_same_key():
    text = driver.non_free_sources(
        DEBIAN12,
        [
            source("http://user:secret@mirror/debian/", "bookworm", ["main"], "/usr/share/keyrings/a.gpg"),
            source("http://mirror/security", "bookworm-security", ["main", "contrib", "non-free", "non-free-firmware"]),
            source("http://mirror/debian", "bookworm-backports", ["main"]),
            source("http://other/tool", "stable", ["main"]),
        ],
    )
    assert text.split("\n", 1)[1] == (
        "Types: deb\nURIs: http://user:secret@mirror/debian\nSuites: bookworm\n"
        "Components: contrib non-free non-free-firmware\nSigned-By: /usr/share/keyrings/a.gpg\n"
    )


def test_nothing_is_added_where_nothing_is_missing_and_an_apt_without_debian_is_refused():
    everything = ["main", "contrib", "non-free", "non-free-firmware"]
    assert driver.non_free_sources(DEBIAN12, [source("http://mirror/debian", "bookworm", everything)]) == ""
    with pytest.raises(Failed, match="no source for bookworm with the component main"):
        driver.non_free_sources(DEBIAN12, [])


def test_a_daemon_that_turns_persistence_off_is_told_otherwise_and_debians_is_left_alone():
    ubuntu = "[Service]\nExecStart=/usr/bin/nvidia-persistenced --user nvpd --no-persistence-mode --verbose\n"
    assert "\nExecStart=\nExecStart=/usr/bin/nvidia-persistenced --user nvpd --verbose\n" in driver.persistence_conf(
        ubuntu
    )
    assert driver.persistence_conf("[Service]\nExecStart=/usr/bin/nvidia-persistenced --user nvpd\n") == ""


def test_an_error_further_up_in_a_build_that_ran_side_by_side_is_shown_with_the_end():
    text = "cc a\na.c:1: error: unknown type\n" + "cc " + "x" * 900 + "\n" + "cc\n" * 30 + "make: *** Error 2\n"
    lines = driver.log_tail(text).splitlines()
    assert lines[0] == "a.c:1: error: unknown type" and lines[-1] == "make: *** Error 2"
    assert len(lines) <= 15 and max(map(len, lines)) <= 240
    assert driver.log_tail("") == ""


@pytest.mark.parametrize(
    ("enforced", "prebuilt", "enrolled", "refused"),
    [
        (False, False, None, False),
        (True, True, None, False),
        (True, False, True, False),
        (True, False, False, True),
        (True, False, None, True),
    ],
)
def test_secure_boot_is_refused_before_a_module_is_built_that_nobody_would_load(enforced, prebuilt, enrolled, refused):
    verdict = driver.secure_boot_verdict(enforced, prebuilt, enrolled)
    assert bool(verdict) is refused
    assert verdict is None or all(word in verdict for word in ("prebuilt", "mokutil --import", "turn Secure Boot off"))


def test_a_loaded_driver_of_another_version_or_flavour_is_a_mismatch():
    assert driver.mismatch("470.1.2", "proprietary", "535.3.4", "proprietary") == (
        "driver 470.1.2 is loaded and 535.3.4 is installed"
    )
    assert "open ones are installed" in driver.mismatch("535.3.4", "proprietary", "535.3.4", "open")
    assert driver.mismatch("535.3.4", "open", "535.3.4", "open") is None
    assert driver.mismatch(None, None, "535.3.4", "open") is None


def test_programs_on_the_gpu_are_named_and_many_of_them_counted():
    many = [{"pid": pid, "name": "python3"} for pid in range(1, 11)]
    assert driver.processes_words(many[:2]) == "python3 (1), python3 (2)"
    assert driver.processes_words(many).endswith("python3 (8) and 2 more")


def test_a_pin_names_version_or_branch_and_takes_nothing_else_from_nvidia():
    text = driver.pin("https://user@developer.example.org/cuda", "580", "")
    assert 'Package: *\nPin: origin "developer.example.org"\nPin-Priority: 100\n' in text
    assert "Pin: version 580.*\nPin-Priority: 1001\n" in text
    assert "Pin: version 580.126.16*" in driver.pin("", "580", "580.126.16")
    assert driver.pin("", "535", "") == ""


@pytest.mark.parametrize(
    ("branch", "cuda"), [("470", "11"), ("525", "12"), ("575", "12"), ("580", "13"), ("595", "13")]
)
def test_dcgm_is_for_the_cuda_that_the_branch_brings(branch, cuda):
    assert driver.dcgm_package(branch) == f"datacenter-gpu-manager-4-cuda{cuda}"
