# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Toolkits built by the real uv from stand-ins for NVIDIA's wheels: the same folders, and an nvcc that pretends."""

import hashlib
import json
import os
import shutil
import stat
import sys
import zipfile
from base64 import urlsafe_b64encode

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _cuda as cuda
from ansible_collections.gpufleet.workstation.plugins.module_utils import _versioned as versioned
from ansible_collections.gpufleet.workstation.plugins.module_utils._environment import Wanted as Wheels
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import CUDA_APT
from through_ansible import SEARCH_PATH, needs_ansible, play_tasks

UV = shutil.which("uv", path=SEARCH_PATH)

pytestmark = [
    pytest.mark.skipif(UV is None, reason="there is no uv to build with"),
    pytest.mark.skipif(sys.version_info < (3, 8), reason="this uv makes no environments for Python before 3.8"),
]

# Compiles for the architectures named in the file "knows" beside it, as far as a header goes.
NVCC = """#!{python}
import os, struct, sys
if "--version" in sys.argv:
    print("Cuda compilation tools, release {version}, V{version}.88")
    sys.exit()
arch = [word[6:] for word in sys.argv if word.startswith("-arch=")][0]
if arch not in {knows!r}:
    sys.exit("nvcc fatal   : Unsupported gpu architecture '%s'" % arch)
header = bytearray(64)
header[:4], header[8] = b"\\x7fELF", 8
struct.pack_into("<H", header, 18, 190)
struct.pack_into("<I", header, 48, int(arch[3:]) << 8)
open(sys.argv[sys.argv.index("-o") + 1], "wb").write(header)
"""


def make_wheel(folder, name, version, files, requires=()):
    """Write a wheel; files that begin with #! are programs."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        **files,
        stem + ".dist-info/METADATA": metadata + "".join(f"Requires-Dist: {one}\n" for one in requires),
        stem + ".dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, text in files.items():
        digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(text)}\n")
    files[stem + ".dist-info/RECORD"] = "".join(lines) + stem + ".dist-info/RECORD,,\n"
    with zipfile.ZipFile(str(folder / (stem + "-py3-none-any.whl")), "w") as wheel:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (stat.S_IFREG | (0o755 if text.startswith("#!") else 0o644)) << 16
            wheel.writestr(entry, text)


@pytest.fixture
def wheels(tmp_path):
    """Return a folder with the wheels of CUDA 13.0 (for sm_80) and 12.9 (for sm_70 and sm_80)."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version, part, knows in (("13.0", "cu13", ["sm_80"]), ("12.9", "cuda_nvcc", ["sm_70", "sm_80"])):
        text = NVCC.format(python=sys.executable, version=version, knows=knows)
        nvcc = {f"nvidia/{part}/bin/nvcc": text, f"nvidia/{part}/__init__.py": "", "nvidia/__init__.py": ""}
        make_wheel(folder, "stand-in-nvcc", version, nvcc)
        make_wheel(folder, "stand-in-toolkit", version, {}, [f"stand-in-nvcc=={version}"])
    library = {"nvidia/cudnn/lib/libcudnn.so.9": "library", "nvidia/cudnn/include/cudnn.h": "header"}
    make_wheel(folder, "stand-in-cudnn", "9.10", library)
    return folder


NEW = cuda.Toolkit("13.0", ["stand-in-toolkit==13.0", "stand-in-cudnn==9.10"])
OLD = cuda.Toolkit("12.9", ["stand-in-toolkit==12.9"])


@pytest.fixture
def want(tmp_path, wheels):
    """Return a maker of what a task asks for: CUDA 13.0 for 8.0, unless told otherwise."""

    def make(*toolkits, **changes):
        fetched = {
            "python": sys.executable,
            "use_index": False,
            "find_links": str(wheels),
            "uv": UV,
            "cache_dir": str(tmp_path / "cache"),
            "timeout": 120,
        }
        given = {
            "toolkits": toolkits or (NEW,),
            "default": (toolkits or (NEW,))[0].version,
            "root": str(tmp_path / "opt" / "cuda"),
            "link": None,
            "profile": str(tmp_path / "profile.d" / "cuda.sh"),
            "architectures": ["8.0"],
            "run": False,
        }
        given.update(changes)
        own = Wheels(name=".", root=given["root"], packages=[], **fetched)
        return cuda.Wanted(wheels=own, **given)

    return make


class Unpackaged(Host):
    """This machine, whatever repositories it has."""

    def path(self, path):
        return path if not path.startswith("/etc/") else "/nonexistent"


class PackagedHost(Host):
    """A Debian whose dpkg and update-alternatives are played, and no other package manager is; all else is real."""

    def __init__(self, tmp_path, installed=()):
        Host.__init__(self)
        self.installed, self.calls, self.link = dict(installed), [], tmp_path / "alternatives" / "cuda"

    def path(self, path):
        return path if not path.startswith("/etc/apt") else "/nonexistent"

    def read_text(self, path, *more, **others):
        if path == "/etc/os-release":
            return 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm'
        return Host.read_text(self, path, *more, **others)

    def run(self, argv, timeout, env=None, pass_fds=()):
        if argv[0] in ("dpkg-query", "rpm"):
            rows = [f"{name} {version} installed\n" for name, version in self.installed.items() if name in argv]
            return Result(1 if len(rows) < len(argv) - 3 else 0, "".join(rows), "", None)
        if argv[0] == "update-alternatives":
            self.calls.append(argv[1:])
            return Result(0, "", "", None)
        assert argv[0] not in ("apt-get", "dpkg", "dnf"), argv
        return Host.run(self, argv, timeout, env=env, pass_fds=pass_fds)


def ensure(wanted, host=None, **more):
    return cuda.ensure(host or Unpackaged(), wanted, **more)


def tree(root):
    return sorted(
        os.path.relpath(os.path.join(top, name), str(root)) for top, _, names in os.walk(str(root)) for name in names
    )


def test_a_toolkit_is_one_prefix_and_a_second_run_changes_nothing(want, tmp_path):
    first = ensure(want())
    assert first["changed"] and first["reason"].startswith("there is no CUDA 13.0 yet")
    prefix = tmp_path / "opt" / "cuda" / "13.0" / "current"
    assert (prefix / "bin" / "nvcc").exists() and (prefix / "include" / "cudnn.h").exists()
    assert os.readlink(str(prefix / "lib64")) == "lib"
    assert os.readlink(str(prefix / "lib" / "libcudnn.so")) == "libcudnn.so.9"
    assert first["toolkits"] == [
        {
            "version": "13.0",
            "path": str(prefix),
            "release": "13.0.88",
            "compiler": "nvcc",
            "architectures": ["8.0"],
            "ran": 0,
        }
    ]
    assert "--hash=sha256:" in (prefix / "gpufleet.lock").read_text()
    shutil.rmtree(str(tmp_path / "wheels"))  # no source, no compiler, no network
    second = ensure(want(), PackagedHost(tmp_path))
    assert (second["changed"], second["reason"], second["diff"]["before"]) == (False, "", second["diff"]["after"])


def test_other_users_can_read_it_although_root_hides_its_files(want, tmp_path):
    before = os.umask(0o077)
    try:
        ensure(want())
    finally:
        os.umask(before)
    nvcc = tmp_path / "opt" / "cuda" / "13.0" / "current" / "bin" / "nvcc"
    for path in [nvcc.resolve(), *nvcc.resolve().parents]:
        if path == tmp_path:
            break
        assert path.stat().st_mode & 0o005 == 0o005, path
    assert (tmp_path / "profile.d" / "cuda.sh").stat().st_mode & 0o004


def test_two_stand_side_by_side_and_the_default_is_the_one_in_the_profile(want, tmp_path):
    result = ensure(want(NEW, OLD))
    assert [toolkit["version"] for toolkit in result["toolkits"]] == ["12.9", "13.0"]
    profile = (tmp_path / "profile.d" / "cuda.sh").read_text()
    assert "/13.0/current/bin:$PATH" in profile and "LD_LIBRARY_PATH=" not in profile
    other = ensure(want(NEW, OLD, default="12.9"))
    assert other["changed"] and other["default"] == "12.9"
    assert "/12.9/current/bin:$PATH" in (tmp_path / "profile.d" / "cuda.sh").read_text()


def test_what_cannot_compile_for_the_gpu_is_not_taken_into_use(want, tmp_path):
    ensure(want(OLD))
    before = tree(tmp_path / "opt")
    with pytest.raises(
        versioned.Refused, match=r"does not compile for sm_70.*Unsupported gpu architecture 'sm_70'; nothing"
    ):
        ensure(want(NEW, architectures=["7.0"]))
    assert tree(tmp_path / "opt") == before
    assert not ensure(want(OLD))["changed"]


def test_a_build_that_fails_leaves_the_previous_one_in_use(want, tmp_path):
    ensure(want(OLD))
    gone = cuda.Toolkit("12.9", ["stand-in-toolkit==12.8"])
    with pytest.raises(versioned.Refused, match=r"current still leads to [0-9a-f]{12}"):
        ensure(want(gone))
    assert not ensure(want(OLD))["changed"]


def test_more_architectures_are_proven_without_a_new_build(want):
    first = ensure(want(OLD))
    again = ensure(want(OLD, architectures=["7.0", "8.0"]))
    assert again["changed"] and again["reason"] == "CUDA 12.9 is not proven yet"
    assert again["toolkits"][0]["architectures"] == ["7.0", "8.0"] and not again["removed"]
    assert first["toolkits"][0]["path"] == again["toolkits"][0]["path"]
    assert not ensure(want(OLD, architectures=["7.0", "8.0"]))["changed"]


def test_it_is_run_once_there_is_a_driver_also_where_it_was_proven_before_that(want, monkeypatch, tmp_path):
    monkeypatch.setattr("ansible_collections.gpufleet.workstation.plugins.module_utils._cuda_proof._run", lambda *_: 2)
    host = PackagedHost(tmp_path, {"nvidia-cuda-toolkit": "11.8.89-5"})
    before = ensure(want(packaged(tmp_path), NEW), host)
    again = ensure(want(packaged(tmp_path), NEW, run=True), host)
    assert [toolkit["ran"] for toolkit in before["toolkits"] + again["toolkits"]] == [0, 0, 2, 2]
    assert again["reason"] == "CUDA 11.8 is not proven yet; CUDA 13.0 is not proven yet" and not again["removed"]
    assert not ensure(want(packaged(tmp_path), NEW, run=True), host)["changed"]
    assert not ensure(want(packaged(tmp_path), NEW), host)["changed"]


def test_an_altered_toolkit_is_built_anew_from_the_same_list(want, tmp_path):
    ensure(want())
    os.unlink(str(tmp_path / "opt" / "cuda" / "13.0" / "current" / "bin" / "nvcc"))
    again = ensure(want())
    assert "was altered: bin/nvcc is gone" in again["reason"] and len(again["removed"]) == 0
    assert (tmp_path / "opt" / "cuda" / "13.0" / "current" / "bin" / "nvcc").exists()


def test_a_changed_program_is_fetched_anew_and_not_from_the_cache_that_shares_it(want, tmp_path):
    ensure(want())
    nvcc = tmp_path / "opt" / "cuda" / "13.0" / "current" / "bin" / "nvcc"
    text = nvcc.read_text()
    nvcc.write_text(text + "# altered\n")
    again = ensure(want())
    assert "was altered: bin/nvcc was changed" in again["reason"]
    assert nvcc.read_text() == text


def test_check_mode_says_it_and_changes_nothing(want, tmp_path):
    result = ensure(want(NEW, OLD), check_mode=True)
    assert result["changed"] and not (tmp_path / "opt").exists()
    assert result["diff"]["before"] == ""
    assert "CUDA 13.0 at" in result["diff"]["after"] and "  stand-in-toolkit==13.0\n" in result["diff"]["after"]
    ensure(want(NEW, OLD))
    assert not ensure(want(NEW, OLD), check_mode=True)["changed"]


def test_going_back_returns_to_the_toolkits_and_the_default_before(want, tmp_path):
    ensure(want(OLD))
    ensure(want(NEW, OLD, default="13.0"))
    seen = ensure(want(state="previous"), check_mode=True)
    assert seen["changed"] and seen["default"] == "12.9"
    assert "/13.0/" in (tmp_path / "profile.d" / "cuda.sh").read_text()
    back = ensure(want(state="previous"))
    assert back["changed"] and back["default"] == "12.9" and back["removed"] == []
    assert "/12.9/" in (tmp_path / "profile.d" / "cuda.sh").read_text()
    forth = ensure(want(state="previous"))
    assert forth["default"] == "13.0"


def test_a_run_that_is_cut_off_while_it_takes_toolkits_into_use_can_be_gone_back_from(want, tmp_path):
    ensure(want(OLD))
    current = tmp_path / "opt" / "cuda" / "12.9" / "current"
    before = os.readlink(str(current))
    (tmp_path / "file").write_text("")
    other = OLD._replace(pins=[*OLD.pins, "stand-in-cudnn==9.10"])
    with pytest.raises(versioned.Refused, match=r"file: (File exists|Not a directory)"):
        ensure(want(other, profile=str(tmp_path / "file" / "cuda.sh")))
    assert os.readlink(str(current)) != before
    assert ensure(want(state="previous"))["default"] == "12.9" and os.readlink(str(current)) == before
    assert ensure(want(other))["removed"] == [] and not ensure(want(other))["changed"]


def test_going_back_needs_something_to_go_back_to(want, tmp_path):
    with pytest.raises(versioned.Refused, match="notes no earlier toolkits"):
        ensure(want(state="previous"))
    ensure(want(OLD))
    with pytest.raises(versioned.Refused, match="notes no earlier toolkits"):
        ensure(want(state="previous"))
    ensure(want(NEW))
    os.unlink(str(tmp_path / "opt" / "cuda" / "12.9" / "current" / "bin" / "nvcc"))
    with pytest.raises(versioned.Refused, match=r"CUDA 12.9 cannot go back .* bin/nvcc is gone"):
        ensure(want(state="previous"))


def test_what_is_no_longer_named_goes_with_the_change_after_the_next(want, tmp_path):
    ensure(want(OLD))
    assert ensure(want(NEW))["removed"] == []
    result = ensure(want(NEW._replace(pins=["stand-in-toolkit==13.0"])))
    assert len(result["removed"]) == 1 and not (tmp_path / "opt" / "cuda" / "12.9").exists()


def test_the_rest_of_an_interrupted_run_is_removed(want, tmp_path):
    rest = tmp_path / "opt" / "cuda" / "13.0" / "0123456789ab" / "bin"
    rest.mkdir(parents=True)
    ensure(want())
    assert not rest.exists()


def packaged(tmp_path, **more):
    """Return a toolkit that packages brought."""
    prefix = tmp_path / "usr" / "lib" / "cuda"
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    nvcc = prefix / "bin" / "nvcc"
    nvcc.write_text(NVCC.format(python=sys.executable, version="11.8", knows=["sm_70", "sm_80"]))
    nvcc.chmod(0o755)
    return cuda.Toolkit("11.8", prefix=str(prefix), packages=["nvidia-cuda-toolkit"], **more)


def test_missing_packages_are_named_in_check_mode_and_nothing_is_changed(want, tmp_path):
    result = ensure(want(packaged(tmp_path), NEW), PackagedHost(tmp_path), check_mode=True)
    assert result["changed"] and result["missing"] == ["nvidia-cuda-toolkit"]
    assert not (tmp_path / "opt" / "cuda" / "13.0").exists()
    assert "package nvidia-cuda-toolkit" in result["diff"]["after"]


def test_a_packaged_toolkit_is_proven_once_and_again_after_an_upgrade(want, tmp_path):
    toolkit, host = packaged(tmp_path), PackagedHost(tmp_path, {"nvidia-cuda-toolkit": "11.8.89-5"})
    first = ensure(want(toolkit), host)
    assert first["toolkits"][0]["release"] == "11.8.88" and first["toolkits"][0]["path"] == toolkit.prefix
    assert not ensure(want(toolkit), host)["changed"]
    host.installed["nvidia-cuda-toolkit"] = "11.8.90-1"
    assert ensure(want(toolkit), host)["reason"] == "CUDA 11.8 is not proven yet"
    assert not ensure(want(toolkit), host)["changed"]


class OfRoot(PackagedHost):
    """Such a host whose root had a toolkit from NVIDIA's repository."""

    def __init__(self, tmp_path):
        PackagedHost.__init__(self, tmp_path, {"g++": "4:12.2.0-3"})
        self.entry = tmp_path / "gpufleet-cuda.sources"
        self.entry.write_text("Types: deb\n")

    def path(self, path):
        return str(self.entry) if path == CUDA_APT.entry else PackagedHost.path(self, path)

    def run(self, argv, timeout, env=None, pass_fds=()):
        healthy = argv == ["dpkg", "--audit"]
        return Result(0, "", "", None) if healthy else PackagedHost.run(self, argv, timeout, env, pass_fds)


@pytest.mark.parametrize("packages", [[], ["g++"]])
@pytest.mark.parametrize("user", [0, 1000])
def test_a_repository_goes_when_no_toolkit_needs_it_and_is_none_of_a_users_business(
    want, tmp_path, monkeypatch, user, packages
):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    host = OfRoot(tmp_path)
    wanted = want(NEW._replace(packages=packages))
    assert ensure(wanted, host)["reason"].startswith(f"{CUDA_APT.entry} is not needed" if user == 0 else "there is no")
    assert host.entry.exists() is (user != 0)
    assert not ensure(wanted, host)["changed"]


def test_a_packaged_toolkit_that_somebody_deleted_is_not_called_done(want, tmp_path):
    toolkit, host = packaged(tmp_path), PackagedHost(tmp_path, {"nvidia-cuda-toolkit": "11.8.89-5"})
    ensure(want(toolkit), host)
    os.unlink(os.path.join(toolkit.prefix, "bin", "nvcc"))
    assert ensure(want(toolkit), host, check_mode=True)["reason"] == "CUDA 11.8 is not proven yet"
    with pytest.raises(versioned.Refused, match=r"has neither nvcc nor NVRTC; .* install its packages again"):
        ensure(want(toolkit), host)


def test_going_back_needs_the_packages_and_not_only_their_folder(want, tmp_path):
    host = PackagedHost(tmp_path, {"nvidia-cuda-toolkit": "11.8.89-5"})
    ensure(want(packaged(tmp_path)), host)
    ensure(want(NEW), host)
    host.installed.clear()  # and cuDNN, copied below the prefix by hand, has kept the folder
    with pytest.raises(versioned.Refused, match=r"CUDA 11.8 cannot go back to .*: its packages were removed"):
        ensure(want(state="previous"), host)
    host.installed["nvidia-cuda-toolkit"] = "11.8.90-1"
    assert ensure(want(state="previous"), host)["default"] == "11.8"


@pytest.mark.parametrize(
    ("package", "enough"),
    [
        ("libcudnn9-cuda-12", True),
        ("libcudnn9-cuda-12=9.10.2.21-*", True),
        ("libcudnn9-cuda-12=9.28.0.42-*", False),
        ("libnccl2", False),
    ],
)
def test_a_version_behind_the_name_counts(package, enough):
    assert cuda.satisfied(package, {"libcudnn9-cuda-12": "9.10.2.21-1"}) is enough


def test_the_default_is_chosen_by_the_alternatives(want, tmp_path):
    host, link = PackagedHost(tmp_path), tmp_path / "usr-local-cuda"
    link.symlink_to("/usr/local/cuda-12.1")  # as an installer leaves it
    result = ensure(want(link=str(link)), host)
    place = result["toolkits"][0]["path"]
    assert host.calls == [["--install", str(link), "cuda", place, "130"], ["--set", "cuda", place]]
    assert f"{link}/bin:$PATH" in (tmp_path / "profile.d" / "cuda.sh").read_text()


def test_a_folder_in_the_place_of_the_link_is_left_alone(want, tmp_path):
    link = tmp_path / "usr-local-cuda"
    link.mkdir()
    with pytest.raises(versioned.Refused, match="is not a link"):
        ensure(want(link=str(link)), PackagedHost(tmp_path))
    assert not (tmp_path / "opt" / "cuda" / "13.0").exists()  # it was seen before anything was built
    with pytest.raises(versioned.Refused, match="is not a link"):
        ensure(want(packaged(tmp_path), link=str(link)), PackagedHost(tmp_path), check_mode=True)


@pytest.mark.parametrize(
    ("toolkits", "default", "words"),
    [
        ([NEW], "12.9", "CUDA 12.9 is not among the toolkits"),
        ([NEW, NEW], "13.0", "stands there twice"),
        ([cuda.Toolkit("13.0.3", ["a==1"])], "13.0.3", "no version such as 12.9"),
        ([cuda.Toolkit("13.0")], "13.0", "either pins of wheels or the prefix"),
        ([cuda.Toolkit("13.0", ["a>=1"])], "13.0", "not an exact pin"),
    ],
)
def test_what_cannot_be_meant_is_refused(want, toolkits, default, words):
    with pytest.raises(versioned.Refused, match=words):
        ensure(want(*toolkits, default=default))


def test_a_toolkit_without_a_compiler_is_refused(want):
    with pytest.raises(versioned.Refused, match="neither nvcc nor NVRTC"):
        ensure(want(cuda.Toolkit("12.6", ["stand-in-cudnn==9.10"])))


def test_a_state_that_cannot_be_read_is_written_anew(want, tmp_path):
    ensure(want())
    (tmp_path / "opt" / "cuda" / "state.json").write_text("{")
    assert ensure(want())["reason"] == "the toolkits in use are noted anew"
    assert json.loads((tmp_path / "opt" / "cuda" / "state.json").read_text())["now"]["default"] == "13.0"


@needs_ansible
@pytest.mark.parametrize("version", ["12.9", "9.9"], ids=["good", "failed"])
def test_ansible_runs_it_and_shows_no_login(want, tmp_path, version):
    wanted = want()
    options = {name: getattr(wanted.wheels, name) for name in ("python", "use_index", "find_links", "uv", "cache_dir")}
    options.update(
        root=wanted.root,
        profile=wanted.profile,
        architectures=["7.0"],
        toolkits=[{"version": "12.9", "pins": ["stand-in-toolkit==" + version]}],
        index_url="https://me:canary@mirror.invalid/simple",
        repository_url="https://me:canary@mirror.invalid/cuda",
    )
    said = play_tasks(tmp_path, [{"gpufleet.workstation.cuda_toolkit": options}], "-vvv", "--diff").stdout
    assert ("changed=1" if version == "12.9" else "failed=1") in said, said
    assert "canary" not in said
    assert "+CUDA 12.9 at" in said if version == "12.9" else "CUDA 12.9 was not taken into use" in said
    for top, _folders, names in os.walk(wanted.root):
        for name in names:
            with open(os.path.join(top, name), "rb") as file:
                assert b"canary" not in file.read(), name
