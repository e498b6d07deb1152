"""What goes wrong with an environment leaves the one in use, ends in one sentence, and is mended by the next run."""

import contextlib
import json
import os
import subprocess

import pytest

testinfra_hosts = ["ansible://workstations"]

LAB = "/opt/gpufleet/envs/lab"
SIX = f"{LAB}/current/lib/python3.11/site-packages/six.py"
MODULE = "gpufleet.workstation.python_environment"
CA = "/etc/ssl/certs/ca-certificates.crt"


def ensure(host, **changes):
    """Run the module on the host as the scenario's play did, unless told otherwise, and return what it said."""
    options = {"name": "lab", "packages": ["six==1.17.0"], "cache_dir": "/var/cache/gpufleet/uv", "ca_file": CA}
    check = changes.pop("check", False)
    options.update(changes)
    argv = ["ansible", host.backend.host, "-i", os.environ["MOLECULE_INVENTORY_FILE"], "-m", MODULE]
    argv += ["-a", json.dumps({name: value for name, value in options.items() if value is not None})]
    said = subprocess.run(
        [*argv, *(["--check"] if check else [])],
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    (play,) = json.JSONDecoder().raw_decode(said[said.index("{") :])[0]["plays"]
    (result,) = play["tasks"][0]["hosts"].values()
    return result


def used(host):
    return host.check_output(f"{LAB}/current/bin/python -c 'import six; print(six.__version__)'")


@contextlib.contextmanager
def without_network(host):
    name = host.backend.host
    subprocess.run(["docker", "network", "disconnect", "bridge", name], check=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "network", "connect", "bridge", name], check=True)


def test_a_tmp_that_runs_no_programs_was_no_obstacle(host):
    assert "noexec" in host.check_output("grep ' /tmp ' /proc/mounts")
    assert host.run("cp /bin/true /tmp/true && /tmp/true").rc != 0
    assert used(host) == "1.17.0"


def test_a_converged_host_needs_no_network(host):
    with without_network(host):
        result = ensure(host)
    assert (result["changed"], result["reason"], result["drift"]) == (False, "", [])
    assert result["seconds"] < 1


def test_going_back_needs_no_network_either(host):
    with without_network(host):
        assert ensure(host, state="previous")["changed"]
        assert used(host) == "1.16.0"
        assert ensure(host)["changed"]  # the later one is still there
        assert used(host) == "1.17.0"


@pytest.mark.parametrize(
    "edit", [f"printf '# edited\\n' >> {SIX}", f"sed -i '1i # edited' {SIX}"], ids=["in place", "as a copy"]
)
def test_a_file_that_was_edited_by_hand_is_named_and_repaired(host, edit):
    host.check_output(edit)
    reported = ensure(host, on_drift="report")
    assert (reported["changed"], reported["drift"]) == (False, ["six.py was changed"])
    assert ensure(host, check=True)["reason"].endswith("was altered: six.py was changed")
    assert ensure(host)["changed"]
    assert host.run(f"grep -c edited {SIX}").stdout.strip() == "0"
    assert not ensure(host)["changed"]


def test_a_package_that_was_installed_by_hand_is_named_and_goes(host):
    uv = host.check_output("ls /opt/gpufleet/uv/*/bin/uv")
    host.check_output(f"SSL_CERT_FILE={CA} {uv} pip install -q --python {LAB}/current/bin/python idna==3.10")
    assert ensure(host)["drift"] == ["idna 3.10 was added"]
    assert host.run(f"{LAB}/current/bin/python -c 'import idna'").rc != 0


def test_a_build_that_was_cut_off_is_cleared_away_by_the_next_run(host):
    host.check_output(f"cp -a {LAB}/$(readlink {LAB}/current) {LAB}/0123456789ab")
    host.check_output(f"rm {LAB}/0123456789ab/.gpufleet.json")
    assert ensure(host)["removed"] == [f"{LAB}/0123456789ab"]
    assert used(host) == "1.17.0"


def test_an_index_that_lost_a_pinned_wheel_is_named(host):
    host.check_output("mkdir -p /srv/index/simple/six")
    host.check_output("systemd-run --unit=index --working-directory=/srv/index python3 -m http.server 8998")
    answers = "import socket; socket.create_connection(('127.0.0.1', 8998))"
    host.check_output(f'until python3 -c "{answers}" 2>/dev/null; do sleep 0.2; done')
    result = ensure(
        host, packages=["six==1.15.0"], index_url="http://127.0.0.1:8998/simple/", cache_dir="/root/nothing"
    )
    assert result["failed"]
    assert "the package index does not offer six==1.15.0; correct the pin or the index URL" in result["msg"]
    assert f"{LAB}/current still leads to" in result["msg"]
    assert used(host) == "1.17.0"


def test_a_wheel_with_another_hash_is_refused(host):
    lock = "six==1.17.0 --hash=sha256:" + 64 * "0" + "\n"
    result = ensure(host, lock=lock, cache_dir="/root/nothing")
    assert result["failed"] and "checksum" in result["msg"]
    assert used(host) == "1.17.0"


def test_a_disk_that_is_too_small_is_said_before_anything_is_built(host):
    host.check_output("mkdir -p /mnt/tiny && mount -t tmpfs -o size=3m none /mnt/tiny")
    result = ensure(
        host, root="/mnt/tiny/envs", uv=host.check_output("ls /opt/gpufleet/uv/*/bin/uv"), minimum_free_bytes=10**9
    )
    assert result["failed"]
    assert "/mnt/tiny, which holds /mnt/tiny/envs, has 0.0 GB free and 1.0 GB are needed" in result["msg"]


def test_an_index_that_cannot_be_reached_leaves_the_environment_in_use(host):
    with without_network(host):
        result = ensure(host, packages=["six==1.15.0"], cache_dir="/root/nothing", timeout=60)
    assert result["failed"] and "could not be reached" in result["msg"]
    assert used(host) == "1.17.0"


def test_no_unfinished_environment_and_no_scratch_is_left(host):
    for entry in host.check_output(f"find {LAB} -mindepth 1 -maxdepth 1 -type d").splitlines():
        assert host.file(f"{entry}/.gpufleet.json").exists, entry
