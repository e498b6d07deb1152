# -*- coding: utf-8 -*-
"""What is read of packages, apt's sources, kernels, filesystems and the clock; good, bad and missing."""

import fcntl
import os
import random
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _system as system
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

MACHINES = os.path.join(os.path.dirname(__file__), "..", "..", "fixtures", "host")
CUDA = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64"
PARSERS = {
    "stanzas": lambda text: list(system.stanzas(text)),
    "parse_dpkg_status": system.parse_dpkg_status,
    "parse_locks": lambda text: system.parse_locks(text, (8, 1, 131)),
    "parse_apt_conf": system.parse_apt_conf,
    "parse_source_list": lambda text: system.parse_source_list(text, "a.list"),
    "parse_deb822": lambda text: system.parse_deb822(text, "a.sources"),
    "parse_excludes": system.parse_excludes,
    "parse_version_locks": system.parse_version_locks,
    "parse_mounts": system.parse_mounts,
    "parse_cpu_list": system.parse_cpu_list,
    "kernel_order": system.kernel_order,
    "parse_virtualization": lambda text: system.parse_virtualization(text, text),
    "parse_container": system.parse_container,
}
FILES = {
    "stanzas": "var/lib/dpkg/status",
    "parse_dpkg_status": "var/lib/dpkg/status",
    "parse_apt_conf": "etc/apt/apt.conf.d/50unattended-upgrades",
    "parse_source_list": "etc/apt/sources.list",
    "parse_deb822": "etc/apt/sources.list.d/nvidia.sources",
    "parse_mounts": "proc/self/mounts",
    "parse_virtualization": "proc/cpuinfo",
}


def text_of(machine, path):
    with open(os.path.join(MACHINES, machine, path), encoding="utf-8") as file:
        return file.read()


@pytest.fixture(scope="module")
def v100():
    """A host on which an upgrade was cut off."""
    return system.collect(Host(os.path.join(MACHINES, "v100-ubuntu2204")), ["/", "/boot", "/tmp/x", "/opt/gpufleet"])


@pytest.fixture(scope="module")
def a100():
    """A host of the Enterprise Linux family, in a container."""
    return system.collect(Host(os.path.join(MACHINES, "a100-rocky9")), ["/"])


def test_packages_that_dpkg_left_half_done_are_named_with_their_state(v100):
    assert v100["packages"]["interrupted"] == [
        {"name": "nvidia-dkms-535", "version": "535.183.01-0ubuntu0.22.04.1", "state": "half-configured"},
        {"name": "linux-image-6.8.0-45-generic", "version": "6.8.0-45.45~22.04.1", "state": "half-installed"},
        {"name": "man-db", "version": "2.10.2-1", "state": "triggers-pending"},
    ]


def test_the_journal_is_what_dpkg_numbered_and_not_its_scratch_file(v100):
    assert v100["packages"]["journal"] == ["0003"]


def test_a_package_held_for_two_architectures_is_held_once(v100):
    assert v100["packages"]["held"] == ["libnvidia-compute-535"]
    assert v100["packages"]["held_by_roles"] == []


def test_what_a_role_noted_is_its_own_as_long_as_it_is_held(tmp_path):
    status = tmp_path / "var/lib/dpkg/status"
    ours = tmp_path / "var/lib/gpufleet/holds/nvidia_driver"
    for path in (status, ours):
        path.parent.mkdir(parents=True)
    status.write_text("Package: libcuda1\nStatus: hold ok installed\nVersion: 1\n")
    ours.write_text("libcuda1\nnvidia-smi\n")
    packages = system.packages(Host(str(tmp_path)))
    assert (packages["held"], packages["held_by_roles"]) == (["libcuda1"], ["libcuda1"])


def test_a_package_that_is_to_be_installed_again_counts_as_interrupted():
    broken, _held = system.parse_dpkg_status("Package: a\nStatus: install reinstreq installed\n")
    assert broken == [{"name": "a", "version": None, "state": "installed"}]


def test_what_dpkg_noted_when_it_was_killed_counts_more_than_its_status_file(tmp_path):
    # As dpkg 1.21 left it when its postinst was killed with it: the status file knew nothing of the package yet.
    (tmp_path / "var/lib/dpkg/updates").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text("Package: b\nStatus: install ok unpacked\nVersion: 1\n")
    paragraph = "Package: {}\nStatus: install ok {}\nVersion: 1.0\n"
    for number, (name, state) in enumerate([("a", "half-installed"), ("b", "installed"), ("a", "half-configured")]):
        (tmp_path / f"var/lib/dpkg/updates/000{number}").write_text(paragraph.format(name, state))
    packages = system.packages(Host(str(tmp_path)))
    assert packages["interrupted"] == [{"name": "a", "version": "1.0", "state": "half-configured"}]
    assert packages["journal"] == ["0000", "0001", "0002"]


@pytest.mark.parametrize("state", ["installed", "config-files", "not-installed", "nonsense"])
def test_a_state_in_which_dpkg_may_rest_is_none(state):
    assert system.parse_dpkg_status(f"Package: a\nStatus: install ok {state}\nVersion: 1\n") == ([], [])


def test_comments_and_files_that_apt_does_not_read_blacklist_nothing(v100):
    assert v100["packages"]["blacklisted"] == ["nvidia-.*", "cuda-.*"]
    assert v100["packages"]["unattended_upgrades"] is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ('Unattended-Upgrade { Package-Blacklist { "a"; "b"; }; };', ["a", "b"]),
        ('UNATTENDED-UPGRADE::package-blacklist:: "a";', ["a"]),
        ('Unattended-Upgrade::Package-Blacklist {"a";};\n#clear Unattended-Upgrade::Package-Blacklist;', []),
        ('Unattended-Upgrade::Package-Blacklist {"a";};\n#clear Unattended-Upgrade;\n'
         'Unattended-Upgrade::Package-Blacklist {"b";};', ["b"]),
        ('Unattended-Upgrade::Package-Blacklist {"a"', []),
        ('Unattended-Upgrade::Package-Blacklist {"a";};\n#clear APT::NeverAutoRemove;', ["a"]),
        ('Unattended-Upgrade::Package-Whitelist {"a";};', []),
        ('}}} "a"; ; {', []),
    ],
)  # fmt: skip
def test_the_blacklist_is_read_in_every_form_that_apt_has(text, expected):
    assert system.apt_list(system.parse_apt_conf(text), "unattended-upgrade::package-blacklist") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ('APT::Periodic::Unattended-Upgrade "1";', True),
        ('APT { Periodic { Unattended-Upgrade "7d"; }; };', True),
        ('APT::Periodic::Unattended-Upgrade "1";\nAPT::Periodic::Unattended-Upgrade "0";', False),
        ('APT::Periodic::Unattended-Upgrade "1";\nAPT::Periodic::Enable "0";', False),
    ],
)
def test_the_last_word_says_whether_a_host_upgrades_itself(tmp_path, text, expected):
    for path, content in (("etc/apt/apt.conf.d/20auto", text), ("var/lib/dpkg/status", "Package: a\n")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(content)
    assert system.packages(Host(str(tmp_path)))["unattended_upgrades"] is expected


def test_sources_of_both_forms_are_read_in_apts_order(v100):
    read = [
        (source["file"][len("/etc/apt/sources") :], source["line"], source["type"], source["suite"])
        for source in v100["apt_sources"]
    ]
    assert read == [
        (".list", 2, "deb", "jammy"),
        (".list", 3, "deb-src", "jammy"),
        (".list", 4, "deb", "jammy"),
        (".list.d/cuda-ubuntu2204.list", 1, "deb", "/"),
        (".list.d/nvidia.sources", None, "deb", "/"),
    ]


def test_a_sources_options_and_its_comment_are_told_from_its_components(v100):
    base, _src, wide = v100["apt_sources"][:3]
    assert (base["components"], base["architectures"], base["signed_by"]) == (["main", "restricted"], [], None)
    assert (wide["components"], wide["architectures"]) == (["restricted", "universe"], ["amd64", "i386"])


def test_a_password_in_a_source_is_not_among_the_facts(v100):
    assert v100["apt_sources"][3]["uri"] == CUDA + "/"
    assert "hunter2" not in repr(v100)
    assert system.without_password("https://ann:hun@ter2@mirror/debian") == "https://mirror/debian"
    assert system.without_password("https://mirror/debian@lab") == "https://mirror/debian@lab"


def test_a_key_in_the_file_itself_is_a_key(v100):
    assert v100["apt_sources"][4]["signed_by"] == "a key in the file itself"
    assert v100["apt_sources"][3]["signed_by"] == "/usr/share/keyrings/cuda-archive-keyring.gpg"


@pytest.mark.parametrize("word", ["no", "NO", "false", "off", "0", "without", "disable"])
def test_a_source_that_is_switched_off_is_none(word):
    text = f"Types: deb\nURIs: http://a.example.org\nSuites: s\nEnabled: {word}\n"
    assert system.parse_deb822(text, "a") == []


@pytest.mark.parametrize("word", ["yes", "maybe", ""])
def test_a_source_with_another_word_is_on_as_apt_takes_it(word):
    assert len(system.parse_deb822(f"Types: deb\nURIs: http://a.example.org\nSuites: s\nEnabled: {word}\n", "a")) == 1


def test_a_paragraph_makes_a_source_of_each_type_uri_and_suite():
    text = "Types: deb deb-src\nURIs: http://a.example.org http://b.example.org\nSuites: x\n y\n"
    text += "Components: main\n# c\n more\n"
    read = system.parse_deb822(text, "a")
    assert len(read) == 8
    assert read[-1]["components"] == ["main", "more"]


@pytest.mark.parametrize(
    "line",
    ["", "# deb http://a s", "deb", "deb http://a.example.org", "rpm http://a s c", "deb [arch=amd64 http://a s"],
)
def test_a_line_that_is_no_source_is_skipped(line):
    assert system.parse_source_list(line, "a") == []


def test_what_dnf_leaves_out_is_read_from_every_section_and_over_lines(a100):
    assert a100["packages"]["excluded"] == ["cuda-drivers", "kernel*", "nvidia-driver", "python3.12"]
    assert a100["packages"]["version_locked"] == ["kernel-0:5.14.0-503.2.1.el9_5.*", "nvidia-driver"]
    assert (a100["packages"]["manager"], a100["packages"]["unattended_upgrades"]) == ("rpm", None)


def test_the_newest_kernel_is_told_by_its_numbers_and_not_by_its_letters(v100, a100):
    assert v100["kernel"]["newest_installed"] == "6.8.0-45-generic"
    assert a100["kernel"]["newest_installed"] == "5.14.0-503.2.1.el9_5.x86_64"


def test_a_kernel_whose_image_is_gone_is_not_installed(v100):
    assert "5.15.0-100-generic" not in [kernel["release"] for kernel in v100["kernel"]["installed"]]


def test_headers_are_there_if_the_link_leads_to_them_below_the_root(v100):
    headers = {kernel["release"]: kernel["headers"] for kernel in v100["kernel"]["installed"]}
    assert headers == {"6.8.0-9-generic": False, "6.8.0-40-generic": True, "6.8.0-45-generic": False}
    assert v100["kernel"]["headers"] is True


def test_of_two_flavours_of_one_version_the_running_one_is_the_newest(tmp_path):
    for name in ("6.1.0-28-amd64", "6.1.0-28-cloud-amd64"):
        (tmp_path / "lib/modules" / name).mkdir(parents=True)
        (tmp_path / "lib/modules" / name / "vmlinuz").touch()
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0-28-amd64\n")
    assert system.kernel(Host(str(tmp_path)))["newest_installed"] == "6.1.0-28-amd64"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.8.0-9-generic", "6.8.0-45-generic"),
        ("5.15.0-1064-azure", "6.5.0-15-generic"),
        ("5.14.0-503.el9.x86_64", "5.14.0-503.2.1.el9_5.x86_64"),
        ("4.18.0-553.8.1.el8_10.x86_64", "4.18.0-553.16.1.el8_10.x86_64"),
        ("6.1.0-9-amd64", "6.10.0-1-amd64"),
        ("nonsense", "3.10.0-1160.el7.x86_64"),
    ],
)
def test_kernels_are_ordered_as_their_makers_number_them(older, newer):
    assert system.kernel_order(older) < system.kernel_order(newer)


def test_a_path_that_is_no_mount_point_is_held_by_the_one_above_it(v100):
    held = {entry["path"]: (entry["mountpoint"], entry["fstype"], entry["noexec"]) for entry in v100["filesystems"]}
    assert held["/"] == ("/", "ext4", False)
    assert held["/opt/gpufleet"] == ("/", "ext4", False)
    assert held["/boot"] == ("/boot", "ext4", False)


def test_a_folder_that_is_not_there_yet_is_measured_where_it_will_be(tmp_path):
    (tmp_path / "opt").mkdir()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mounts").write_text("/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /opt xfs ro,noexec 0 0\n")
    (entry,) = system.filesystems(Host(str(tmp_path)), ["/opt/gpufleet/envs"], 5)
    told = os.statvfs(str(tmp_path))
    assert (entry["mountpoint"], entry["read_only"], entry["noexec"]) == ("/opt", True, True)
    (above,) = system.filesystems(Host(str(tmp_path)), ["/opt"], 5)
    assert (entry["exists"], above["exists"]) == (False, True)
    assert entry["size_bytes"] == told.f_blocks * told.f_frsize
    assert abs(entry["free_bytes"] - told.f_bavail * told.f_frsize) < 2**30


def test_a_link_is_followed_to_the_filesystem_it_leads_to(tmp_path):
    (tmp_path / "data" / "var").mkdir(parents=True)
    (tmp_path / "var").symlink_to("data/var")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mounts").write_text("/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /data xfs rw 0 0\n")
    (entry,) = system.filesystems(Host(str(tmp_path)), ["/var/lib"], 5)
    assert entry["mountpoint"] == "/data"


def test_a_filesystem_that_does_not_answer_is_given_up_and_named(monkeypatch):
    # It stands for a network filesystem whose server is gone; there is none to be had in a test.
    monkeypatch.setattr(os, "statvfs", lambda path: time.sleep(3))
    host, begin = Host("/"), time.time()
    (entry,) = system.filesystems(host, ["/"], 0.2)
    assert time.time() - begin < 2
    assert (entry["exists"], entry["size_bytes"], entry["free_bytes"]) == (None, None, None)
    assert host.gaps == ["/: its filesystem did not answer in 0.2 s"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", "/"), ("/data", "/data"), ("/database", "/"), ("/data/x", "/data"), ("/data2", "/"), ("/over", "/over")],
)
def test_a_mount_point_holds_what_is_below_it_and_not_what_begins_like_it(path, expected):
    mounts = system.parse_mounts("a / ext4 rw\nb /data xfs rw\nc /over xfs rw\nd /over tmpfs rw\n")
    held = system.mount_of(mounts, path)
    assert held["mountpoint"] == expected
    assert expected != "/over" or held["fstype"] == "tmpfs"


def test_white_space_in_a_mount_point_is_read():
    (mount,) = system.parse_mounts("storage:/x /my\\040data nfs4 ro,hard 0 0\n")
    assert mount == {"mountpoint": "/my data", "fstype": "nfs4", "options": ["ro", "hard"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-3", 4), ("0", 1), ("0-15,32-47", 32), ("", None), ("3-1", None), ("0-99999", None), ("x", None), ("0-", None)],
)
def test_processors_online_are_counted(text, expected):
    assert system.parse_cpu_list(text) == expected


def test_cores_of_two_sockets_are_not_taken_for_one(v100):
    assert v100["processors"] == {
        "model": "Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz",
        "sockets": 2,
        "cores": 2,
        "logical": 4,
    }


@pytest.mark.parametrize(
    ("cpuinfo", "dmi", "expected"),
    [
        ("flags\t: fpu hypervisor", "QEMU Standard PC", (True, "kvm")),
        ("flags\t: fpu hypervisor", "Amazon EC2 p3.8xlarge", (True, "nitro")),
        ("flags\t: fpu hypervisor", "Somebody Else", (True, None)),
        ("flags\t: fpu vme", "Amazon EC2 p3.metal", (False, None)),
        ("Features\t: fp asimd", "QEMU", (None, None)),
        ("", "", (None, None)),
    ],
)
def test_a_virtual_machine_is_known_by_its_processor(cpuinfo, dmi, expected):
    assert system.parse_virtualization(cpuinfo, dmi) == expected


def test_a_container_is_known_by_what_its_first_process_was_told(v100, a100):
    assert (v100["container"], a100["container"]) == (None, "podman")


def test_the_note_about_a_reboot_is_read_with_those_who_left_it(v100, a100):
    assert v100["reboot_required_by"] == ["linux-base", "linux-image-6.8.0-45-generic"]
    assert (v100["reboot_required"], a100["reboot_required"]) == (True, False)


def test_the_process_that_holds_dpkgs_lock_is_found(tmp_path):
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    lock = tmp_path / "var/lib/dpkg/lock-frontend"
    lock.touch()
    (tmp_path / "proc").mkdir()
    entry = lock.stat()
    place = f"{os.major(entry.st_dev):02x}:{os.minor(entry.st_dev):02x}:{entry.st_ino}"
    (tmp_path / "proc/locks").write_text(
        f"1: FLOCK  ADVISORY  WRITE 11 {place}1 0 EOF\n2: POSIX  ADVISORY  READ 12 {place} 0 EOF\n"
        f"3: POSIX  ADVISORY  WRITE 4711 {place} 0 EOF\n3: -> POSIX  ADVISORY  WRITE 13 {place} 0 EOF\n"
    )
    host = Host(str(tmp_path))
    assert system.packages(host)["lock_pid"] == 4711
    (tmp_path / "proc/locks").write_text("")
    assert system.packages(host)["lock_pid"] is None


def test_a_real_lock_of_this_machine_is_seen(tmp_path):
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "proc").symlink_to("/proc")
    with open(tmp_path / "var/lib/dpkg/lock", "w", encoding="utf-8") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        assert system.packages(Host(str(tmp_path)))["lock_pid"] == os.getpid()


def test_a_source_that_may_not_be_read_is_a_gap(tmp_path):
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list.d/a.list").mkdir()
    host = Host(str(tmp_path))
    assert system.apt_sources(host) == []
    assert host.gaps == ["/etc/apt/sources.list.d/a.list: Is a directory"]


def test_a_host_that_says_nothing_is_unknown_and_no_traceback(tmp_path):
    fact = system.collect(Host(str(tmp_path)), ["/"])
    assert (fact["packages"]["manager"], fact["kernel"]["release"], fact["kernel"]["headers"]) == (None, None, None)
    assert fact["processors"] == {"model": None, "sockets": None, "cores": None, "logical": None}
    assert (fact["clock_synchronized"], fact["container"], fact["virtual_machine"]) == (None, None, None)
    assert fact["filesystems"][0]["mountpoint"] is None


def test_this_machine_says_whether_its_clock_is_kept():
    assert system.clock_synchronized() in (True, False, None)
    assert abs(system.collect(Host("/"), [])["epoch_seconds"] - time.time()) < 5


RUBBISH = ["", "\n", "a;", "#clear;", ";;{;}", "a b",
           "\0" * 65536, "\n" * 65536, "[" * 65536, '"' * 9999, "{" * 65536, "/*" * 9999, " \n" * 30000,
           "deb " * 20000, "deb [" * 9999, "a:" * 30000, "0-" * 30000, ",9" * 30000, "Status: a b c\n" * 9999,
           "\\777" * 9999 + " / x rw", "1" * 65536, "container=" * 9999, "\ud800", "name=" * 9999,
           "exclude=" + " ," * 30000, "deb " + "[]" * 30000, "\n" + " " * 65536 + "x", "6." * 30000]  # fmt: skip


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_no_rubbish_makes_a_parser_raise_or_wait(name):
    begin = time.process_time()  # not the clock's: other tests run beside this one
    for text in RUBBISH:
        PARSERS[name](text)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_change_to_a_real_file_makes_its_parser_raise(name):
    chance = random.Random(3)
    good = text_of("v100-ubuntu2204", FILES[name])
    for _ in range(400):
        damaged = list(good)
        for _change in range(chance.randint(1, 25)):
            place = chance.randrange(len(damaged))
            damaged[place] = chance.choice([damaged[place], "\n", "\n\n", " ", ":", '"', "{", "}", "[", "\0", "é", ""])
        PARSERS[name]("".join(damaged)[: chance.randint(0, len(good))])


def test_a_big_status_file_is_read_in_a_moment():
    text = "\n\n".join(
        f"Package: p{number}\nStatus: install ok installed\nVersion: 1\nDescription: x\n " + "y" * 1500
        for number in range(4000)
    )
    begin = time.process_time()
    assert system.parse_dpkg_status(text) == ([], [])
    assert time.process_time() - begin < 2
