# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA toolkits from packages: the packages are stand-ins, apt, dnf and update-alternatives are real.

On Debian 12, and on hosts that take themselves for Ubuntu 22.04 and Rocky Linux 9.
"""

import json

import pytest
from conftest import REPOSITORIES, Refused, build_el, docker
from test_nvidia_ubuntu import OS as UBUNTU

ENSURE = """
import json, sys
from ansible_collections.gpufleet.workstation.plugins.module_utils import _cuda
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._cuda_packages import Repository
from ansible_collections.gpufleet.workstation.plugins.module_utils._environment import Wanted as Wheels
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused
given, check_mode = json.load(sys.stdin)
wheels = Wheels(name=".", root="/opt/gpufleet/cuda", python="python3", packages=[], timeout=120)
given["toolkits"] = [_cuda.Toolkit(**toolkit) for toolkit in given["toolkits"]]
given["repository"] = Repository(timeout=120, **given["repository"])
wanted = _cuda.Wanted(wheels=wheels, root=wheels.root, link="/usr/local/cuda",
                      profile="/etc/profile.d/gpufleet-cuda.sh", run=False, **given)
try:
    print(json.dumps(_cuda.ensure(Host(), wanted, check_mode)))
except (Failed, Refused) as failure:
    print(json.dumps({"failed": str(failure)}))
"""
DEBIAN = {
    "version": "11.8",
    "packages": ["nvidia-cuda-toolkit"],
    "prefix": "/usr/lib/cuda",
    "nvcc": "/usr/bin/nvcc",
}
CUDNN, NCCL = "9.10.2.21-*", "2.32.3-*+cuda12.*"


class AptHost:
    """A host with apt, and a mirror of NVIDIA's repository in /srv/nvidia, signed with the first key."""

    cudnn, devel, nccl = "libcudnn9-cuda-12", "libcudnn9-dev-cuda-12", "libnccl2"
    entry = "/etc/apt/sources.list.d/gpufleet-cuda.sources"
    key = "/usr/share/keyrings/gpufleet-cuda.asc"
    driver_entry = "/etc/apt/sources.list.d/gpufleet-nvidia-driver.sources"
    login = "/etc/apt/auth.conf.d/gpufleet-cuda.conf"
    driver_login = "/etc/apt/auth.conf.d/gpufleet-nvidia-driver.conf"
    refused_key = "lists cannot be refreshed"
    folder = "/debian12/x86_64"

    def __init__(self, machine, release=""):
        self.machine = machine()
        self.sh = self.machine.sh
        self.sh("ln -s /repositories/nvidia /srv/nvidia")
        if release:
            self.sh("rm /etc/os-release")
            self.machine.write("/etc/os-release", release)
            self.folder = "/ubuntu2204/x86_64"
        self.url = "file:/srv/nvidia" + self.folder

    def keys(self, name="first"):
        """Return a key and its fingerprint."""
        folder = REPOSITORIES / "keys"
        return (folder / f"{name}.asc").read_text(), (folder / f"{name}.fingerprint").read_text().strip()

    def rotate(self):
        """Have the repository signed with the second key."""
        self.sh("rm /srv/nvidia; ln -s /repositories/rotated/nvidia /srv/nvidia")

    def versions(self, *names):
        """Return the versions of packages."""
        return self.sh("dpkg-query -W -f '${Version}\\n' " + " ".join(names)).split()

    def installed(self):
        """Return what is installed, and the keys that are trusted beside files."""
        return set(self.sh("dpkg-query -W -f '${db:Status-Abbrev}${Package}=${Version}\\n' | grep ^.i").split("\n"))

    def install(self, name, version=""):
        """Install a package by hand."""
        self.sh(f"apt-get -qq -y --allow-downgrades install {name}{'=' + version if version else ''}")

    def upgrade(self):
        """Return what an upgrade of the host would bring."""
        return "\n".join(line for line in self.sh("apt-get -s dist-upgrade").splitlines() if line.startswith("Inst"))

    def forget_lists(self):
        """Take the network away."""
        self.sh("rm -rf /var/lib/apt/lists; mv /srv/nvidia /srv/gone")

    def name(self, url):
        """Have somebody else name a repository."""
        self.machine.write("/etc/apt/sources.list.d/theirs.list",
                           f"deb [signed-by=/repositories/keys/first.asc] {url} /\n")  # fmt: skip

    def ours(self):
        """Return our own files."""
        return self.sh("find /etc /usr/share/keyrings -name 'gpufleet-cuda*' -not -path '*/profile.d/*'").split()

    def healthy(self):
        """Hold the package manager to being healthy."""
        self.machine.assert_healthy()


class DnfHost(AptHost):
    """A host with dnf, and such a mirror."""

    devel, nccl = "libcudnn9-devel-cuda-12", "libnccl"
    entry = "/etc/yum.repos.d/gpufleet-cuda.repo"
    key = "/etc/pki/rpm-gpg/RPM-GPG-KEY-gpufleet-cuda"
    driver_entry = "/etc/yum.repos.d/gpufleet-nvidia-driver.repo"
    login, driver_login = entry, driver_entry
    refused_key = "packages cannot be downloaded: .*GPG"
    folder = "/rhel9/x86_64"

    def __init__(self, machine):
        build_el()
        self.machine = machine(image="el")
        self.sh = self.machine.sh
        self.url = "file:///srv/nvidia" + self.folder

    def keys(self, name="first"):
        files = {"first": ("key.asc", "fingerprint"), "second": ("second.asc", "second.fingerprint")}[name]
        return tuple(self.sh(f"cat /srv/nvidia/{file}") for file in files)

    def rotate(self):
        self.sh("mv /srv/nvidia/rhel9 /srv/old; mv /srv/rotated/rhel9 /srv/nvidia/")

    def versions(self, *names):
        return self.sh("rpm -q --qf '%{VERSION}-%{RELEASE}\\n' " + " ".join(names)).split()

    def installed(self):
        return set(self.sh("rpm -qa").split())

    def install(self, name, version=""):
        one = f"{name}-{version}" if version else name
        self.sh(f"dnf -q -y --setopt=obsoletes=0 --enablerepo=gpufleet-cuda install {one}")

    def upgrade(self):
        said = self.sh("dnf --assumeno upgrade 2>&1 || true")
        return "" if "Nothing to do" in said or "There are no enabled repositories" in said else said

    def forget_lists(self):
        self.sh("rm -rf /var/cache/dnf; mv /srv/nvidia /srv/gone")

    def name(self, url):
        self.machine.write("/etc/yum.repos.d/theirs.repo", f"[theirs]\nname=x\ngpgcheck=0\nbaseurl={url}\n")

    def ours(self):
        return self.sh("find /etc -name '*gpufleet-cuda*' -not -path '*/profile.d/*'").split()

    def healthy(self):
        assert self.sh("rpm -Va --nofiles 2>&1") == ""


def toolkit(version, *libraries):
    packages = [f"cuda-toolkit-{version.replace('.', '-')}", *libraries]
    return {"version": version, "packages": packages, "prefix": f"/usr/local/cuda-{version}"}


def cuda(host, *toolkits, check_mode=False, key="first", repository=None, **wanted):
    """Do what the module cuda_toolkit does, and return its result."""
    text, fingerprint = host.keys(key) if repository is None else ("", "")
    given = {
        "toolkits": toolkits,
        "default": toolkits[0]["version"] if toolkits else "",
        "architectures": ["7.0"],
        "repository": {"url": host.url, "key": text, "fingerprint": fingerprint} if repository is None else repository,
        **wanted,
    }
    said = docker("exec", "-i", "-e", "PYTHONPATH=/root/python", host.machine.name, "python3", "-c", ENSURE,
                  input=json.dumps([given, check_mode]))  # fmt: skip
    result = json.loads(said)
    if "failed" in result:
        raise Refused(result["failed"])
    return result


def default(host):
    return host.sh("readlink -f /usr/local/cuda")


@pytest.fixture(params=["debian", "ubuntu", "el"])
def bare(request, machine):
    """Return a host of each kind, without CUDA."""
    if request.param == "el":
        return DnfHost(machine)
    return AptHost(machine, UBUNTU if request.param == "ubuntu" else "")


@pytest.fixture
def host(bare):
    """Return a host of each kind with CUDA 12.9 from the repository."""
    cuda(bare, toolkit("12.9"))
    return bare


@pytest.fixture
def debian(machine):
    """Return a Debian without CUDA."""
    return AptHost(machine)


def test_the_first_run_installs_and_the_second_needs_no_network(bare):
    before = bare.installed()
    foretold = cuda(bare, toolkit("12.9"), check_mode=True)
    assert foretold["missing"] == ["cuda-toolkit-12-9"] and bare.installed() == before and bare.ours() == []
    first = cuda(bare, toolkit("12.9"))
    assert first["toolkits"][0]["release"] == "12.9.86" and first["toolkits"][0]["architectures"] == ["7.0"]
    assert default(bare) == "/usr/local/cuda-12.9"
    assert "/usr/local/cuda/bin" in bare.sh("bash -lc 'echo $PATH'")
    wish = {"url": bare.url, "key": bare.keys()[0], "fingerprint": bare.keys()[1]}
    bare.forget_lists()
    second = cuda(bare, toolkit("12.9"), repository=wish)
    assert (second["changed"], second["reason"]) == (False, "")
    assert cuda(bare, toolkit("12.9"), repository=wish, check_mode=True)["changed"] is False
    bare.healthy()


def test_a_newer_toolkit_that_comes_later_does_not_become_the_default_by_itself(host):
    result = cuda(host, toolkit("12.8"), toolkit("12.9"))
    assert default(host) == "/usr/local/cuda-12.8" and result["default"] == "12.8"
    host.sh("update-alternatives --auto cuda")
    assert default(host) == "/usr/local/cuda-12.9"
    assert cuda(host, toolkit("12.8"), toolkit("12.9"))["changed"]
    assert default(host) == "/usr/local/cuda-12.8"
    host.forget_lists()
    assert cuda(host, state="previous", repository={})["default"] == "12.9"
    assert default(host) == "/usr/local/cuda-12.9"
    assert cuda(host, state="previous", repository={})["default"] == "12.8"


def test_a_toolkit_that_does_not_know_the_gpu_is_not_taken_into_use(host):
    with pytest.raises(Refused, match=r"CUDA 13.0.88 does not compile for sm_70"):
        cuda(host, toolkit("13.0"), toolkit("12.9"))
    assert default(host) == "/usr/local/cuda-12.9"
    assert cuda(host, toolkit("12.9"))["changed"] is False


def test_packages_move_no_default_while_their_toolkit_is_not_proven(bare):
    bare.sh("mkdir -p /usr/local/cuda-12.1; ln -s cuda-12.1/ /usr/local/cuda")  # as an installer leaves it
    with pytest.raises(Refused, match=r"CUDA 13.0.88 does not compile for sm_70"):
        cuda(bare, toolkit("13.0"))
    assert bare.sh("readlink /usr/local/cuda") == "cuda-12.1/"
    bare.sh("update-alternatives --install /usr/local/cuda cuda /usr/local/cuda-12.1 121; "
            "update-alternatives --set cuda /usr/local/cuda-12.1; update-alternatives --auto cuda; "
            "update-alternatives --remove cuda /usr/local/cuda-13.0")  # fmt: skip
    with pytest.raises(Refused, match=r"CUDA 12.9.86 does not compile for sm_120"):
        cuda(bare, toolkit("12.9"), architectures=["12.0"])
    assert default(bare) == "/usr/local/cuda-12.1"
    assert cuda(bare, toolkit("12.9"))["changed"] and default(bare) == "/usr/local/cuda-12.9"


def test_a_folder_in_the_place_of_the_link_is_refused_before_a_package_comes(bare):
    bare.sh("mkdir /usr/local/cuda")
    before = bare.installed()
    with pytest.raises(Refused, match=r"/usr/local/cuda is not a link"):
        cuda(bare, toolkit("12.9"))
    assert bare.installed() == before and bare.ours() == []


def test_the_planned_cudnn_and_nccl_come_and_not_the_newest(host):
    names = [f"{host.cudnn}={CUDNN}", f"{host.devel}={CUDNN}", f"{host.nccl}={NCCL}"]
    cuda(host, toolkit("12.9", *names))
    assert host.versions(host.cudnn, host.devel, host.nccl) == ["9.10.2.21-1", "9.10.2.21-1", "2.32.3-1+cuda12.9"]
    assert cuda(host, toolkit("12.9", *names))["changed"] is False
    host.install(host.nccl, "2.27.3-1+cuda12.9")
    assert host.upgrade() == ""
    for other in ("", "2.32.3-1+cuda13.0"):  # older, and newer
        if other:
            host.install(host.nccl, other)
        again = cuda(host, toolkit("12.9", *names))
        assert again["reason"].startswith(f"packages are missing: {host.nccl}=2.32.3-*")
        assert host.versions(host.nccl) == ["2.32.3-1+cuda12.9"]
        assert host.sh("find /opt/gpufleet/cuda/.packages -name '*.deb' -o -name '*.rpm' 2>/dev/null || true") == ""


def test_another_key_than_the_one_named_is_not_trusted_and_nothing_is_left(bare):
    (first, trusted), (second, other) = bare.keys(), bare.keys("second")
    before = bare.installed()
    with pytest.raises(Refused, match=rf"the repository's key is {other}, and {trusted} is trusted"):
        cuda(bare, toolkit("12.9"), repository={"url": bare.url, "key": second, "fingerprint": trusted})
    with pytest.raises(Refused, match=bare.refused_key):
        cuda(bare, toolkit("12.9"), repository={"url": bare.url, "key": second, "fingerprint": other})
    assert bare.ours() == [] and bare.installed() == before
    assert cuda(bare, toolkit("12.9"), repository={"url": bare.url, "key": first, "fingerprint": trusted})["changed"]


def test_a_repository_that_another_file_names_is_used_as_it_is(bare):
    bare.name(bare.url)
    assert cuda(bare, toolkit("12.9"))["changed"]
    assert bare.ours() == []
    bare.healthy()


def test_a_package_that_fails_leaves_the_host_as_it_was(bare):
    before = bare.installed()
    bare.machine.write("/etc/gpufleet-fail-cuda", "")
    with pytest.raises(Refused, match=r"could not be installed: .*cuda-toolkit-12-9-config-common.*; all is as before"):
        cuda(bare, toolkit("12.9", f"{bare.nccl}={NCCL}"))
    assert bare.installed() == before and bare.ours() == []
    bare.sh("rm /etc/gpufleet-fail-cuda")
    cuda(bare, toolkit("12.9"))
    bare.install(bare.nccl, "2.27.3-1+cuda12.9")
    before = bare.installed()
    bare.machine.write("/etc/gpufleet-fail-cuda", "")
    with pytest.raises(Refused, match=r"all is as before"):  # which NCCL is, though dpkg or rpm had replaced it
        cuda(bare, toolkit("12.9", f"{bare.nccl}={NCCL}"), toolkit("12.8"))
    assert bare.installed() == before and default(bare) == "/usr/local/cuda-12.9"
    assert host_is_as_wanted(bare)


def host_is_as_wanted(host):
    host.healthy()
    return cuda(host, toolkit("12.9"))["changed"] is False


def test_what_would_remove_another_package_is_refused(host):
    host.install("site-nvcc")
    before = host.installed()
    with pytest.raises(Refused, match=r"would remove site-nvcc for cuda-toolkit-13-0; nothing was changed"):
        cuda(host, toolkit("13.0"), toolkit("12.9"), architectures=["8.0"])
    assert host.installed() == before
    with pytest.raises(Refused, match="no package source of this host has cuda-toolkit-12-6"):
        cuda(host, toolkit("12.6"))
    host.healthy()


def test_a_mirror_that_has_debian_too_goes_on_upgrading_it(debian):
    """Both are folders here; to apt that is one origin, as two addresses of one host are."""
    site = "deb [signed-by=/repositories/keys/first.asc] file:/repositories/debian "
    debian.machine.write("/etc/apt/sources.list.d/site.list", site + "bookworm main non-free\n")
    cuda(debian, toolkit("12.9", f"{debian.nccl}={NCCL}"))
    for name, version in (("libnvidia-ml1", "535.247.01-1~deb12u1"), (debian.nccl, "2.27.3-1+cuda12.9")):
        debian.install(name, version)
    debian.machine.write("/etc/apt/sources.list.d/updates.list", site + "bookworm-updates non-free\n")
    debian.sh("apt-get -qq update")
    assert "Inst libnvidia-ml1 [535.247.01-1~deb12u1] (535.261.03-1" in debian.upgrade()
    assert debian.nccl not in debian.upgrade()


def test_debians_own_toolkit_brings_its_component(debian):
    result = cuda(debian, DEBIAN, repository={"non_free": True})
    assert result["toolkits"][0]["release"] == "11.8.89" and default(debian) == "/usr/lib/cuda"
    assert "non-free" in debian.sh("cat /etc/apt/sources.list.d/gpufleet-cuda.sources")
    assert cuda(debian, DEBIAN, repository={"non_free": True})["changed"] is False
    debian.healthy()


def test_a_source_of_others_that_does_not_answer_stops_neither_debians_toolkit_nor_a_compiler(debian):
    debian.machine.write(
        "/etc/apt/sources.list.d/others.list", "deb [trusted=yes] http://127.0.0.1:9/others bookworm x\n"
    )
    assert cuda(debian, DEBIAN, repository={"non_free": True})["changed"]
    debian.machine.write("/etc/apt/sources.list.d/site.list", "deb [trusted=yes] file:/gone bookworm main\n")
    with pytest.raises(Refused, match=r"lists cannot be refreshed, .*file:/gone"):
        cuda(debian, {**DEBIAN, "packages": [*DEBIAN["packages"], "gcc"]}, repository={"non_free": True})


def test_a_repository_of_others_that_does_not_answer_stops_no_toolkit_with_dnf(machine):
    host = DnfHost(machine)
    dead = "[others]\nname=x\ngpgcheck=0\nskip_if_unavailable=0\nretries=1\nbaseurl=http://127.0.0.1:9/\n"
    host.machine.write("/etc/yum.repos.d/others.repo", dead)
    assert cuda(host, toolkit("12.9"))["changed"]
    host.sh("mv /srv/nvidia/rhel9 /srv/old")
    with pytest.raises(Refused, match=r"dnf makecache failed: .*gpufleet-cuda"):
        cuda(host, toolkit("12.8"), toolkit("12.9"))


def test_a_compiler_for_wheels_comes_with_dnf_from_what_the_host_has(machine):
    host = DnfHost(machine)
    host.name(host.url)
    one = {**toolkit("12.9"), "packages": ["cuda-toolkit-12-9", "gcc-c++"]}
    assert cuda(host, one, repository={})["changed"]
    assert host.versions("gcc-c++") == ["1-1.el9"] and host.ours() == []


def test_a_repository_that_another_file_names_and_does_not_enable_is_used_and_stays_so(machine):
    host = DnfHost(machine)
    other = "[other]\nname=x\nbaseurl=file:/gone\nenabled=0\n"
    theirs = f"{other}[theirs]\nname=x\nenabled=0\ngpgcheck=0\nbaseurl={host.url}\n"
    host.machine.write("/etc/yum.repos.d/theirs.repo", theirs)
    assert cuda(host, toolkit("12.9"))["changed"]
    assert host.ours() == [] and host.sh("cat /etc/yum.repos.d/theirs.repo") == theirs.strip()


@pytest.mark.parametrize("bare", ["debian", "el"], indirect=True)
def test_a_rotated_key_takes_the_place_of_the_old_one_once(host):
    old, new = host.keys()[0].strip(), host.keys("second")[0].strip()
    with pytest.raises(Refused, match=r"cannot be refreshed|is not signed with the key that was given"):
        cuda(host, toolkit("12.9"), key="second")  # it is not the repository's yet
    assert host.sh(f"cat {host.key}") == old
    host.rotate()
    wish = {"url": host.url, "key": new, "fingerprint": host.keys("second")[1]}
    foretold = cuda(host, toolkit("12.9"), repository=wish, check_mode=True)
    assert foretold["reason"] == f"{host.key} is another one now" and host.sh(f"cat {host.key}") == old
    changed = cuda(host, toolkit("12.9"), repository=wish)
    assert changed["reason"] == foretold["reason"] and host.sh(f"cat {host.key}") == new
    assert cuda(host, toolkit("12.9"), repository=wish)["changed"] is False
    assert cuda(host, toolkit("12.8"), toolkit("12.9"), repository=wish)["changed"]
    host.healthy()
    if isinstance(host, DnfHost):  # rpm trusts beside files, and the old key no more
        assert host.sh("rpm -qa gpg-pubkey | cut -d- -f3") == wish["fingerprint"][-8:].lower()


@pytest.mark.parametrize("bare", ["debian", "el"], indirect=True)
def test_a_key_that_was_given_more_time_comes_with_the_next_package(host):
    text, fingerprint = host.keys()[0].strip() + "\n", host.keys()[1]
    host.machine.write("/srv/key.asc", text)
    wish = {"url": host.url, "key": "file:///srv/key.asc", "fingerprint": fingerprint}
    assert cuda(host, toolkit("12.9"), repository=wish)["changed"] is False
    host.machine.write(host.key, text.replace("BLOCK-----\n\n", "BLOCK-----\nComment: until yesterday\n\n", 1))
    assert cuda(host, toolkit("12.9"), repository=wish)["changed"] is False  # that asks nobody
    assert cuda(host, toolkit("12.8"), toolkit("12.9"), repository=wish)["changed"]
    assert host.sh(f"cat {host.key}") == text.strip()


@pytest.mark.parametrize("bare", ["debian", "el"], indirect=True)
def test_ours_goes_when_another_file_came_to_name_the_repository(host):
    host.name(host.url)
    foretold = cuda(host, toolkit("12.9"), check_mode=True)
    assert f"{host.entry} is not needed any more" in foretold["reason"] and host.entry in host.ours()
    assert cuda(host, toolkit("12.9"))["reason"] == foretold["reason"]
    assert host.ours() == []
    assert cuda(host, toolkit("12.9"))["changed"] is False
    assert cuda(host, toolkit("12.8"), toolkit("12.9"))["changed"]
    host.healthy()


def driver(host, **wanted):
    """Do what the module nvidia_driver does, from the same repository."""
    key, fingerprint = host.keys()
    wish = {"repository_url": host.url, "repository_key": key, "repository_fingerprint": fingerprint}
    return host.machine.driver(**{"source": "nvidia", "branch": "580", **wish, **wanted})


@pytest.mark.parametrize("bare", ["debian", "el"], indirect=True)
@pytest.mark.parametrize("first", ["cuda", "driver"])
def test_driver_and_cuda_share_a_repository_whichever_comes_first(bare, first):
    for one in ("cuda", "driver") if first == "cuda" else ("driver", "cuda"):
        if one == "cuda":
            cuda(bare, toolkit("12.9"))
        else:
            assert driver(bare)["version"] == "580.178.04"
    assert bare.ours() == [] and bare.url in bare.sh(f"cat {bare.driver_entry}")
    assert cuda(bare, toolkit("12.9"))["changed"] is False and driver(bare)["changed"] is False
    cuda(bare, toolkit("12.8"), toolkit("12.9"))
    bare.healthy()
    driver(bare, state="absent")
    assert cuda(bare, toolkit("12.8"), toolkit("12.9"))["changed"] is False
    assert cuda(bare, toolkit("12.9", f"{bare.nccl}={NCCL}"))["changed"]
    assert bare.entry in bare.ours()


def test_what_else_is_in_cudas_file_stays_there(debian):
    nvidia = {"url": debian.url, "key": debian.keys()[0], "fingerprint": debian.keys()[1]}
    cuda(debian, DEBIAN, toolkit("12.9"), repository={"non_free": True, **nvidia})
    assert driver(debian)["version"] == "580.178.04"
    text = debian.sh(f"cat {debian.entry}")
    assert "non-free" in text and debian.url not in text and debian.ours() == [debian.entry]
    assert cuda(debian, DEBIAN, toolkit("12.9"), repository={"non_free": True, **nvidia})["changed"] is False
    assert driver(debian)["changed"] is False
    debian.healthy()


PLAIN = "p@ss:w%rd#x"
LOGIN = "lab%40site:p%40ss%3Aw%25rd%23x"


@pytest.mark.parametrize("bare", ["debian", "el"], indirect=True)
def test_a_login_of_a_mirror_is_for_root_alone_and_never_shown(bare):
    bare.machine.mirror(f"lab@site:{PLAIN}")
    key, fingerprint = bare.keys()
    plain = f"http://127.0.0.1:8000{bare.folder}"

    def wish(login):
        return {"url": plain.replace("//", f"//{login}@"), "key": key, "fingerprint": fingerprint}

    before = bare.installed()
    for login in ("lab%40site:wr0ng", "somebody"):
        with pytest.raises(Refused, match="401") as caught:
            cuda(bare, toolkit("12.9"), repository=wish(login))
        assert "wr0ng" not in str(caught.value) and "somebody" not in str(caught.value)
    assert bare.installed() == before and bare.ours() == []
    assert cuda(bare, toolkit("12.9"), repository=wish(LOGIN))["changed"]
    assert bare.sh(f"stat -c '%a %U' {bare.login}") == "600 root" and PLAIN in bare.sh(f"cat {bare.login}")
    assert bare.sh("grep -rl 'ss:w' /etc /var/lib/gpufleet /opt 2>/dev/null || true") == bare.login
    asked = bare.sh("wc -l < /root/mirror.log")
    assert cuda(bare, toolkit("12.9"), repository=wish(LOGIN))["changed"] is False
    assert bare.sh("wc -l < /root/mirror.log") == asked
    bare.sh(f"chmod 644 {bare.login}")
    mended = cuda(bare, toolkit("12.9"), repository=wish(LOGIN))
    assert mended["reason"] == f"{bare.login} is another one now" and PLAIN not in json.dumps(mended)
    assert bare.sh(f"stat -c %a {bare.login}") == "600"


@pytest.mark.parametrize("bare", ["debian", "el"], indirect=True)
def test_the_drivers_login_is_for_root_alone_too_and_goes_with_it(bare):
    bare.machine.mirror(f"lab@site:{PLAIN}")
    bare.url = f"http://{LOGIN}@127.0.0.1:8000{bare.folder}"
    cuda(bare, toolkit("12.9"))
    with pytest.raises(Refused, match="401") as caught:
        driver(bare, repository_url=bare.url.replace("w%25", "wr0ng"))
    assert "wr0ng" not in str(caught.value)
    made = driver(bare)
    assert made["version"] == "580.178.04" and "ss:w" not in json.dumps(made) and LOGIN not in json.dumps(made)
    assert bare.sh(f"stat -c %a {bare.driver_login}") == "600" and bare.ours() == []
    assert driver(bare)["changed"] is False and cuda(bare, toolkit("12.9"))["changed"] is False
    bare.sh(f"chmod 644 {bare.driver_login}")
    assert driver(bare)["reasons"] == [f"{bare.driver_login} is written"]
    driver(bare, state="absent")
    assert bare.sh("grep -rl 'ss:w' /etc /var/lib/gpufleet 2>/dev/null || true") == ""
