# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real environments, built by uv from wheels that the tests make; no network."""

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from base64 import urlsafe_b64encode

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _environment as env
from ansible_collections.gpufleet.workstation.plugins.module_utils import _versioned as versioned
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._lock import Target, platform, resolve
from through_ansible import SEARCH_PATH, needs_ansible, play_tasks

UV = shutil.which("uv", path=SEARCH_PATH)

pytestmark = [
    pytest.mark.skipif(UV is None, reason="there is no uv to build with"),
    pytest.mark.skipif(sys.version_info < (3, 8), reason="this uv makes no environments for Python before 3.8"),
]


def make_wheel(folder, name, version, source="", requires=(), tag="py3-none-any"):
    """Write a wheel with one module into a folder."""
    stem = f"{name}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        name + ".py": source,
        stem + ".dist-info/METADATA": metadata + "".join(f"Requires-Dist: {one}\n" for one in requires),
        stem + ".dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = stem + ".dist-info/RECORD"
    lines = []
    for path, text in files.items():
        digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(text)}\n")
    files[record] = "".join(lines) + record + ",,\n"
    with zipfile.ZipFile(str(folder / f"{stem}-{tag}.whl"), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.fixture
def wheels(tmp_path):
    """Return a folder of wheels: alpha needs beta, broken does not import, other is for another Python."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "alpha", "1.0", "import beta", requires=["beta"])
    make_wheel(folder, "alpha", "2.0", "import beta", requires=["beta"])
    make_wheel(folder, "beta", "1.0")
    make_wheel(
        folder,
        "broken",
        "1.0",
        "raise ImportError('libgone.so: cannot open shared object file\\n\\n1. see\\n2. there')",
    )
    make_wheel(folder, "other", "1.0", tag="cp27-cp27m-win32")
    return folder


@pytest.fixture
def want(tmp_path, wheels):
    """Return a maker of what a task asks for: alpha 1.0, unless told otherwise."""

    def make(**changes):
        given = {
            "name": "lab",
            "root": str(tmp_path / "opt" / "envs"),
            "python": sys.executable,
            "packages": ["alpha==1.0"],
            "use_index": False,
            "find_links": str(wheels),
            "uv": UV,
            "cache_dir": str(tmp_path / "cache"),
            "imports": ["alpha"],
            "timeout": 120,
        }
        given.update(changes)
        return env.Wanted(**given)

    return make


def ensure(wanted, **more):
    return env.ensure(Host(), wanted, **more)


def listed(result):
    return ["{name}=={version}".format(**package) for package in result["packages"]]


def used(wanted):
    """Return the version of alpha that users of the link get."""
    code = "from importlib.metadata import version; print(version('alpha'))"
    python = os.path.join(wanted.folder, "current", "bin", "python")
    return subprocess.check_output([python, "-c", code], universal_newlines=True).strip()


def test_a_new_environment_is_in_use_and_a_second_run_changes_nothing(want):
    first = ensure(want())
    assert first["changed"] and first["reason"] == "there is no environment in use yet"
    assert listed(first) == ["alpha==1.0", "beta==1.0"]
    assert os.path.realpath(first["current"]) == first["path"]
    assert first["python_version"] == "{}.{}.{}".format(*sys.version_info[:3])
    second = ensure(want())
    assert (second["changed"], second["reason"], second["removed"]) == (False, "", [])
    assert second["path"] == first["path"] and second["packages"] == first["packages"]
    assert second["diff"]["before"] == second["diff"]["after"]


def test_a_run_without_work_needs_neither_uv_nor_the_wheels_nor_a_second(want, wheels):
    ensure(want())
    shutil.rmtree(str(wheels))
    again = ensure(want(uv="/no/uv"))
    assert not again["changed"]
    assert again["seconds"] < 0.5


def test_a_user_who_is_not_root_can_enter_it_whatever_roots_umask_is(want):
    before = os.umask(0o077)
    try:
        path = ensure(want())["path"]
    finally:
        os.umask(before)
    for folder, _folders, files in os.walk(path):
        assert os.stat(folder).st_mode & 0o005 == 0o005, folder
        for name in files:
            assert os.stat(os.path.join(folder, name)).st_mode & 0o004 or name == ".lock", name


def test_a_user_can_read_what_the_cache_had_for_root_alone(want):
    for path in (os.path.join(env.site_packages(ensure(want())["path"]), name) for name in ("alpha.py", "beta.py")):
        os.chmod(path, 0o600)  # the cache's too: it is the same file
    library = env.site_packages(ensure(want(packages=["alpha==2.0"]))["path"])
    assert all(os.stat(os.path.join(library, name)).st_mode & 0o044 for name in ("alpha.py", "beta.py"))


def test_other_pins_make_another_environment_and_the_previous_one_stays(want):
    first = ensure(want())
    second = ensure(want(packages=["alpha==2.0"]))
    assert second["diff"]["before"] == "alpha==1.0\nbeta==1.0\n"
    assert second["diff"]["after"] == "alpha==2.0\nbeta==1.0\n"
    assert os.path.isdir(first["path"]) and used(want()) == "2.0"


def test_going_back_takes_the_kept_environment_without_a_download(want, wheels):
    first = ensure(want())
    ensure(want(packages=["alpha==2.0"]))
    shutil.rmtree(str(wheels))
    back = ensure(want(uv="/no/uv"))
    assert back["changed"] and back["path"] == first["path"]
    assert used(want()) == "1.0"


def test_one_earlier_environment_is_kept_and_no_more(want):
    first = ensure(want())
    second = ensure(want(packages=["alpha==2.0"]))
    third = ensure(want(packages=["beta==1.0"], imports=["beta"]))
    assert third["removed"] == [first["path"]]
    assert os.path.isdir(second["path"]) and not os.path.exists(first["path"])
    fewer = ensure(want(packages=["beta==1.0"], imports=["beta"], keep=0))
    assert fewer["changed"] and fewer["removed"] == [second["path"]]


def test_an_environment_that_somebody_trains_in_is_removed_only_when_he_is_done(want):
    first = ensure(want())
    python = os.path.join(first["path"], "bin", "python")
    training = subprocess.Popen([python, "-c", "input()"], env={"PATH": os.path.dirname(python)}, stdin=subprocess.PIPE)
    try:
        ensure(want(packages=["alpha==2.0"]))
        last = want(packages=["beta==1.0"], imports=["beta"])
        assert ensure(last)["removed"] == [] and os.path.isdir(first["path"])
        assert not ensure(last, check_mode=True)["changed"] and not ensure(last)["changed"]
    finally:
        training.communicate(b"\n")
    assert ensure(last)["removed"] == [first["path"]]


def test_a_program_that_runs_while_the_link_changes_stays_in_its_environment(want):
    first = ensure(want())
    code = "input(); import sys, importlib.metadata as m, alpha; "
    code += "print(m.version('alpha'), alpha.__file__, sys.prefix, sum('site-packages' in p for p in sys.path))"
    python = os.path.join(first["current"], "bin", "python")
    training = subprocess.Popen([python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ensure(want(packages=["alpha==2.0"]))
    said = training.communicate(b"\n")[0].decode().split()
    assert said == ["1.0", os.path.join(env.site_packages(first["path"]), "alpha.py"), first["path"], "1"]
    assert not ensure(want(packages=["alpha==2.0"]))["changed"]


def test_an_environment_in_use_that_lost_its_marker_stays_until_the_new_one_is_proven(want):
    path = ensure(want())["path"]
    os.unlink(os.path.join(path, versioned.MARKER))
    with pytest.raises(env.Refused, match=r"does not offer alpha==9\.9"):
        ensure(want(packages=["alpha==9.9"]))
    assert used(want()) == "1.0"
    mended = ensure(want())
    assert mended["reason"] == path + " is unfinished or gone" and mended["removed"] == [path]


def test_what_was_altered_by_hand_is_rebuilt_as_it_was_and_shown(want, wheels):
    path = ensure(want())["path"]
    library = env.site_packages(path)
    shutil.rmtree(os.path.join(library, "beta-1.0.dist-info"))
    os.mkdir(os.path.join(library, "six-1.17.0.dist-info"))
    make_wheel(wheels, "beta", "1.1")  # a new release in the meantime does not slip in
    mended = ensure(want())
    assert mended["reason"] == path + " was altered: beta 1.0 is gone, six 1.17.0 was added"
    assert mended["path"] == path + "-2"
    assert mended["diff"]["before"] == "alpha==1.0\nsix==1.17.0\n"
    assert listed(mended) == ["alpha==1.0", "beta==1.0"]
    assert not ensure(want())["changed"]


def test_after_an_upgrade_of_the_system_what_the_new_python_needs_is_resolved_anew(want):
    path = ensure(want())["path"]
    alone = versioned.read(os.path.join(path, env.LOCKED)).partition("beta==")[0]
    with open(os.path.join(path, env.LOCKED), "w", encoding="utf-8") as file:
        file.write(alone)  # what an older Python, for which alpha did not need beta, would have got
    noted = dict(versioned.read_marker(path), python_version="3.7.3", interpreter="/usr/bin/python3.7")
    versioned.write_marker(path, dict(noted, locked=versioned.digest(alone)))
    assert listed(ensure(want())) == ["alpha==1.0", "beta==1.0"]


def test_a_module_that_does_not_import_keeps_the_previous_environment(want):
    ensure(want())
    with pytest.raises(env.Refused, match=r"broken cannot be imported \(ImportError: libgone.so.* 2. there\).*still"):
        ensure(want(packages=["broken==1.0"], imports=["broken"]))
    assert used(want()) == "1.0"
    assert len(versioned.builds(want().folder)) == 1


def test_a_check_that_fails_says_its_own_sentence_and_keeps_the_previous_environment(want):
    ensure(want())
    check = {"code": "import sys; sys.exit('this host has ' + sys.argv[1])", "args": ["a Tesla V100"]}
    with pytest.raises(env.Refused, match=r"not taken into use: this host has a Tesla V100; .*still leads to"):
        ensure(want(packages=["alpha==2.0"], checks=[check]))
    assert used(want()) == "1.0"


def test_a_filesystem_that_hangs_elsewhere_is_not_waited_for(want, monkeypatch):
    monkeypatch.setattr(os, "sync", lambda: pytest.fail("all filesystems were waited for"))
    assert ensure(want())["changed"]


def test_what_does_not_reach_the_disk_is_not_taken_into_use(want, tmp_path, monkeypatch):
    ensure(want())
    (tmp_path / "sync").write_text("#!/bin/sh\necho \"sync: error syncing '$2': Input/output error\" >&2; exit 1\n")
    (tmp_path / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(env.Refused, match=r"did not reach the disk: sync: .* Input/output error; .* still leads to"):
        ensure(want(packages=["alpha==2.0"]))
    assert used(want()) == "1.0"


def test_a_check_that_the_processor_cannot_run_says_so(want):
    killed = "import os, sys, signal; print('I cpu_feature_guard', file=sys.stderr); sys.stderr.flush(); "
    killed += "os.kill(os.getpid(), signal.SIGILL)"
    with pytest.raises(env.Refused, match="a check was ended by SIGILL: I cpu_feature_guard"):
        ensure(want(checks=[{"code": killed}]))


def test_an_environment_does_not_lie_in_the_cache_though_roots_uv_is_told_so(want, tmp_path, monkeypatch):
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").write_text('link-mode = "symlink"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    library = env.site_packages(ensure(want())["path"])
    assert not os.path.islink(os.path.join(library, "alpha.py"))


def test_what_a_check_printed_is_returned_also_by_later_runs(want):
    checks = [{"code": "print('sm_70 sm_80')", "args": []}]
    assert ensure(want(checks=checks))["checks"] == ["sm_70 sm_80"]
    assert ensure(want(checks=checks))["checks"] == ["sm_70 sm_80"]


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("alpha==9.9", "the wheelhouse .* does not offer alpha==9.9; correct the pin or fill it"),
        ("nowhere==1.0", "the wheelhouse .* does not offer nowhere; correct the pin or fill it"),
        ("other==1.0", "other==1.0 has no wheel for Python "),
    ],
)
def test_what_cannot_be_had_ends_in_a_sentence(want, package, sentence):
    ensure(want())
    with pytest.raises(env.Refused) as refusal:
        ensure(want(packages=[package]))
    assert re.match(sentence, str(refusal.value))
    assert "still leads to" in str(refusal.value)
    assert used(want()) == "1.0"


def test_an_index_that_does_not_answer_ends_in_a_sentence_without_its_password(want, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(env.Refused) as refusal:
        ensure(want(use_index=True, find_links=None, index_url="http://me:canary@127.0.0.1:9/simple"))
    assert str(refusal.value).startswith("the package index could not be reached")
    assert "127.0.0.1:9" in str(refusal.value) and "canary" not in str(refusal.value)


def test_a_damaged_wheel_ends_in_a_sentence(want, wheels):
    wheel = wheels / "alpha-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:200])
    with pytest.raises(env.Refused, match=r"the download of alpha.* is damaged"):
        ensure(want())
    assert versioned.current(want().folder) is None


def test_a_wheel_that_was_replaced_since_it_was_locked_is_refused(want, wheels, tmp_path):
    path = ensure(want())["path"]
    os.mkdir(os.path.join(env.site_packages(path), "six-1.17.0.dist-info"))
    make_wheel(wheels, "beta", "1.0", "print('another file under the same name')")
    with pytest.raises(env.Refused, match=r"does not have the checksum"):
        ensure(want(cache_dir=str(tmp_path / "empty")))


def test_a_python_that_only_root_can_reach_is_refused(want, monkeypatch):
    ensure(want())
    python = os.path.realpath(sys.executable)
    monkeypatch.setattr(env, "closed", lambda path: "/root" if path == python else "")
    with pytest.raises(env.Refused, match=r"users may not enter /root; name another .* still leads to"):
        ensure(want(packages=["alpha==2.0"]))
    monkeypatch.setattr(env, "closed", lambda path: "/root")  # an environment of root's own
    assert ensure(want(packages=["alpha==2.0"]))["changed"]


def test_a_python_that_is_not_there_ends_in_a_sentence(want):
    with pytest.raises(env.Refused, match=r"this host has no usable Python /no/python"):
        ensure(want(python="/no/python"))


def test_an_installation_that_takes_too_long_is_ended(want):
    ensure(want())
    checks = [{"code": "import time; time.sleep(60)", "args": []}]
    began = time.time()
    with pytest.raises(env.Refused, match=r"did not finish within 3 seconds.*still leads to"):
        ensure(want(checks=checks, timeout=3))
    assert time.time() - began < 20


def test_too_little_space_stops_before_anything_is_built(want):
    with pytest.raises(env.Refused, match=r"are needed; free some space"):
        ensure(want(minimum_free_bytes=10**18))
    assert versioned.builds(want().folder) == []


def test_a_full_disk_ends_in_a_sentence_and_keeps_the_previous_environment(want, wheels, tmp_path):
    disk = tmp_path / "opt"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.call(mounted, stderr=subprocess.DEVNULL) != 0:
        pytest.skip("a small disk can only be mounted by root")
    try:
        ensure(want())
        make_wheel(wheels, "alpha", "3.0", f"x = {os.urandom(2000000)!r}")
        with pytest.raises(env.Refused, match=r"the disk became full; free some space on .*still leads to"):
            ensure(want(packages=["alpha==3.0"]))
        assert used(want()) == "1.0"
        assert len(versioned.builds(want().folder)) == 1
    finally:
        subprocess.call(["umount", "--lazy", str(disk)])


def test_check_mode_foretells_and_touches_nothing(want):
    foretold = ensure(want(uv="/no/uv"), check_mode=True)
    assert foretold["changed"] and listed(foretold) == ["alpha==1.0"]
    assert not os.path.exists(want().root)
    real = ensure(want())
    assert foretold["path"] == real["path"]
    assert not ensure(want(uv="/no/uv"), check_mode=True)["changed"]
    update = ensure(want(packages=["alpha==2.0"], keep=0), check_mode=True)
    assert update["removed"] == [real["path"]]
    assert update["diff"]["after"] == "alpha==2.0\nbeta==1.0\n"
    assert used(want()) == "1.0"


def test_check_mode_does_not_miss_the_certificates_that_an_earlier_role_would_have_installed(want):
    assert ensure(want(ca_file="/not/there/yet.pem"), check_mode=True)["changed"]
    with pytest.raises(env.Refused, match=r"there is no CA bundle at /not/there/yet\.pem"):
        ensure(want(ca_file="/not/there/yet.pem"))


def test_a_killed_run_leaves_the_previous_environment_and_the_next_run_finishes_the_work(want, tmp_path):
    ensure(want())
    flag = tmp_path / "flag"
    code = "import os, sys, time\nif not os.path.exists(sys.argv[1]): open(sys.argv[1], 'w').close(); time.sleep(2)"
    wanted = want(packages=["alpha==2.0"], checks=[{"code": code, "args": [str(flag)]}])
    program = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv[2]); "
        "from ansible_collections.gpufleet.workstation.plugins.module_utils import _environment as env, _host; "
        "env.ensure(_host.Host(), env.Wanted(**json.loads(sys.argv[1])))"
    )
    run = subprocess.Popen([sys.executable, "-c", program, json.dumps(wanted._asdict()), json.dumps(sys.path)])
    while not flag.exists():
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    run.kill()
    run.wait()
    (rest,) = versioned.unfinished(wanted.folder)
    assert used(want()) == "1.0"
    finished = ensure(wanted)  # waits for the check that outlived the killed run
    assert finished["changed"] and finished["removed"] == [os.path.join(wanted.folder, rest)]
    assert used(want()) == "2.0"
    assert not os.path.exists(os.path.join(wanted.folder, ".tmp"))
    assert not ensure(wanted)["changed"]


@pytest.fixture
def page(wheels):
    """Return the URL, with a login, of a page with links to the wheels."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(wheels))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:canary@127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_login_is_on_no_command_line_also_where_a_page_has_the_wheels(want, page):
    class Watched(Host):
        said = ""

        def run(self, argv, *more, **others):
            self.said += " ".join(argv)
            return super().run(argv, *more, **others)

    host = Watched()
    env.ensure(host, want(find_links=page))
    assert "pip install" in host.said and "canary" not in host.said
    assert not ensure(want(find_links=page.replace("canary", "changed")))["changed"]


@needs_ansible
@pytest.mark.parametrize(
    "changes", [{}, {"packages": ["alpha==9.9"]}, {"keep": "no number"}], ids=["good", "failed", "wrong"]
)
def test_no_login_is_shown_by_ansible_or_written_to_the_disk(want, page, tmp_path, changes):
    wanted = want(
        index_url="https://me:canary@mirror.invalid/simple",
        extra_index_urls=["https://canary@mirror.invalid/x"],
        find_links=page,
    )
    options = {name: value for name, value in wanted._asdict().items() if value is not None}
    options.update(changes)
    task = {"gpufleet.workstation.python_environment": "{{ options }}"}
    said = play_tasks(tmp_path, [{"name": "Build", **task}], "-vvv", "--diff", options=options).stdout
    assert ("changed=1" if not changes else "failed=1") in said, said
    assert "canary" not in said
    for folder, _folders, files in os.walk(str(tmp_path / "opt")):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                assert b"canary" not in file.read(), name


# what somebody altered


def beta_of(result):
    return os.path.join(env.site_packages(result["path"]), "beta.py")


def edit(result, text, copied=False):
    """Change beta in an environment as an editor does that writes in place, or as one that writes a copy."""
    if copied:
        os.unlink(beta_of(result))
    with open(beta_of(result), "w", encoding="utf-8") as file:
        file.write(text)


def is_edited(result):
    with open(beta_of(result), encoding="utf-8") as file:
        return "edited" in file.read()


def test_a_changed_file_is_repaired_although_uvs_cache_has_the_changed_bytes_too(want):
    first = ensure(want())
    assert os.lstat(beta_of(first)).st_nlink > 1
    edit(first, "raise SystemExit('edited')")
    assert ensure(want(), check_mode=True)["reason"].endswith("was altered: beta.py was changed")
    second = ensure(want())
    assert second["changed"] and second["drift"] == ["beta.py was changed"] and second["path"] != first["path"]
    assert used(want()) == "1.0" and not is_edited(second)
    again = ensure(want())
    assert (again["changed"], again["drift"]) == (False, [])


def test_a_changed_copy_is_repaired(want):
    edit(ensure(want()), "edited", copied=True)
    second = ensure(want())
    assert second["drift"] == ["beta.py was changed"] and not is_edited(second)
    assert not ensure(want())["changed"]


def test_bytes_that_were_changed_in_the_cache_do_not_get_into_another_environment(want):
    edit(ensure(want()), "raise SystemExit('edited')")
    assert not is_edited(ensure(want(name="other")))


def test_what_was_altered_is_only_reported_where_that_is_wanted(want):
    first = ensure(want())
    edit(first, "edited = True")
    for mode in (True, False):
        result = ensure(want(on_drift="report"), check_mode=mode)
        assert (result["changed"], result["drift"]) == (False, ["beta.py was changed"])
        assert result["path"] == first["path"]
    update = ensure(want(on_drift="report", packages=["alpha==2.0"]))
    assert update["changed"] and update["drift"] == []


def test_packages_that_contradict_each_other_are_not_taken_into_use(want, wheels):
    lock = locked(want)
    wheel = wheels / "alpha-1.0-py3-none-any.whl"
    before = hashlib.sha256(wheel.read_bytes()).hexdigest()
    make_wheel(wheels, "alpha", "1.0", "import beta", requires=["beta>=5"])
    lock = lock.replace(before, hashlib.sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(env.Refused, match=r"the packages contradict each other: .*beta"):
        ensure(want(lock=lock))
    assert not os.path.lexists(os.path.join(want().folder, "current"))


# going back


def test_going_back_needs_neither_uv_nor_the_wheels_and_can_be_undone(want, wheels):
    one = ensure(want())
    ensure(want(packages=["alpha==2.0"]))
    shutil.rmtree(str(wheels))
    back = {"name": "lab", "root": want().root, "python": "python3", "packages": [], "state": "previous"}
    foretold = ensure(env.Wanted(**back), check_mode=True)
    assert foretold["changed"] and foretold["path"] == one["path"] and used(want()) == "2.0"
    gone_back = ensure(env.Wanted(**back))
    assert (gone_back["path"], gone_back["removed"]) == (one["path"], [])
    assert gone_back["diff"] == foretold["diff"]
    assert gone_back["diff"]["before"] == "alpha==2.0\nbeta==1.0\n"
    assert used(want()) == "1.0"
    ensure(env.Wanted(**back))
    assert used(want()) == "2.0"


def test_where_there_is_nothing_to_go_back_to_the_environment_in_use_stays(want):
    with pytest.raises(env.Refused, match=r"there are no environments in .*nothing to go back to"):
        ensure(want(state="previous"))
    assert not os.path.exists(want().root)
    ensure(want())
    with pytest.raises(env.Refused, match=r"there is no environment in .* to go back to, beside"):
        ensure(want(state="previous"))
    assert used(want()) == "1.0"


@pytest.mark.parametrize("occupied", [False, True], ids=["left", "trained in"])
def test_what_somebody_altered_does_not_cost_the_environment_to_go_back_to(want, occupied):
    ensure(want())
    later = want(packages=["alpha==2.0"])
    altered = ensure(later)["path"]
    shutil.rmtree(os.path.join(env.site_packages(altered), "beta-1.0.dist-info"))
    python = os.path.join(altered, "bin", "python") if occupied else sys.executable
    training = subprocess.Popen([python, "-c", "input()"], env={"PATH": os.path.dirname(python)}, stdin=subprocess.PIPE)
    try:
        foretold = ensure(later, check_mode=True)["removed"]
        assert ensure(later)["removed"] == foretold == ([] if occupied else [altered])
        assert not ensure(later)["changed"]
    finally:
        training.communicate(b"\n")
    assert ensure(later)["removed"] == ([altered] if occupied else [])
    assert ensure(want(state="previous"))["changed"] and used(want()) == "1.0"


def test_what_somebody_altered_is_not_gone_back_to(want):
    one = ensure(want())
    ensure(want(packages=["alpha==2.0"]))
    shutil.rmtree(os.path.join(env.site_packages(one["path"]), "beta-1.0.dist-info"))
    with pytest.raises(env.Refused, match=r"to go back to.*was altered: beta 1\.0 is gone"):
        ensure(want(state="previous"))
    assert used(want()) == "2.0"


# locks


def locked(want, **changes):
    return resolve(Host(), want(**changes), Target("{}.{}".format(*sys.version_info[:2]), "2.28"))


def test_a_lock_names_everything_with_hashes(want):
    lines = locked(want).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["alpha==1.0 \\", "beta==1.0 \\"]
    assert sum("--hash=sha256:" in line for line in lines) == 2


def test_a_locked_environment_has_what_the_lock_says_though_newer_is_there(want, wheels):
    lock = locked(want)
    make_wheel(wheels, "beta", "9.0")
    assert listed(ensure(want(lock=lock))) == ["alpha==1.0", "beta==1.0"]
    assert not ensure(want(lock=lock))["changed"]
    assert listed(ensure(want(name="free"))) == ["alpha==1.0", "beta==9.0"]


def test_a_file_that_is_not_the_locked_one_is_refused(want, wheels, tmp_path):
    lock = locked(want)
    make_wheel(wheels, "beta", "1.0", "print('somebody else made this')")
    with pytest.raises(env.Refused, match="checksum"):
        ensure(want(lock=lock, cache_dir=str(tmp_path / "another host")))


def test_a_pin_that_the_lock_does_not_have_is_named_before_anything_is_built(want):
    with pytest.raises(env.Refused, match=r"the lock does not have alpha==2\.0 \(the lock has 1\.0\)"):
        ensure(want(lock=locked(want), packages=["alpha==2.0"]))
    assert not os.path.exists(want().folder)


def test_constraints_bind_what_others_bring_along(want, wheels):
    make_wheel(wheels, "beta", "0.5")
    lock = resolve(Host(), want(), Target("3.12", "2.28"), ["beta<1"])
    assert "beta==0.5" in lock


def test_constraints_bind_an_environment_that_is_resolved_on_the_host(want, wheels):
    make_wheel(wheels, "beta", "0.5")
    assert listed(ensure(want(constraints=["beta<1"]))) == ["alpha==1.0", "beta==0.5"]
    assert listed(ensure(want())) == ["alpha==1.0", "beta==1.0"]


def test_what_cannot_be_locked_ends_in_a_sentence(want):
    with pytest.raises(env.Refused, match="alpha"):
        locked(want, packages=["alpha==7.0"])
    with pytest.raises(env.Refused, match=r"no program /nowhere/uv here.*pip install uv"):
        locked(want, uv="/nowhere/uv")


@pytest.mark.parametrize(
    ("glibc", "name"), [("2.17", "2_17"), ("2.27", "2_28"), ("2.28", "2_28"), ("2.36", "2_36"), ("2.43", "2_40")]
)
def test_every_glibc_has_a_platform_to_resolve_for(glibc, name):
    assert platform(glibc) == "x86_64-manylinux_" + name
