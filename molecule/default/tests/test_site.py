"""What a user can rely on after the whole site ran over a V100 host and an A100 host."""

import json

import pytest

testinfra_hosts = ["ansible://workstations"]

PYTHON = "/opt/gpufleet/envs/pytorch/current/bin/python"


def test_every_host_can_train_again_without_ansible(host):
    run = host.run(f"{PYTHON} /opt/gpufleet/training_check run --device cpu --dataset digits --threads 1 --epochs 1")
    assert run.rc == 0, run.stdout + run.stderr
    (trained,) = json.loads(run.stdout)["devices"]
    assert trained["outcome"]["result"]["plain"]["accuracy"] > 0.5


def test_the_result_is_kept_on_the_host(host):
    kept = json.loads(host.file("/opt/gpufleet/training.json").content_string)
    assert kept["result"] == kept["pytorch"]["result"] == "passed"
    assert kept["pytorch"]["accuracy"] >= kept["pytorch"]["minimum_accuracy"] >= 0.9


def test_the_two_groups_have_different_releases(host):
    marker = json.loads(host.file("/opt/gpufleet/envs/pytorch/current/.gpufleet.json").content_string)
    assert marker
    version = host.check_output("%s -W ignore -c 'import torch; print(torch.__version__)'", PYTHON)
    assert version.startswith("2.10.0" if "v100" in host.backend.get_hostname() else "2.15.0")


@pytest.mark.parametrize("folder", ["/opt/gpufleet", "/var/cache/gpufleet"])
def test_only_root_can_change_what_was_installed(host, folder):
    place = host.file(folder)
    assert place.user == "root"
    assert place.mode & 0o022 == 0


def test_no_unfinished_environment_is_left(host):
    for entry in host.check_output("find /opt/gpufleet/envs/pytorch -mindepth 1 -maxdepth 1 -type d").splitlines():
        assert host.file(f"{entry}/.gpufleet.json").exists, entry
