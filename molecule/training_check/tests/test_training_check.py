"""What a user can rely on once a host was checked, and that the check can fail."""

import json

testinfra_hosts = ["ansible://workstations"]

BY_HAND = (
    "/opt/gpufleet/envs/pytorch/current/bin/python /opt/gpufleet/bin/training_check.py --device cpu --dataset digits"
)


def result(host, words, rc):
    run = host.run(f"{BY_HAND} --json /tmp/result.json {words}")
    assert run.rc == rc, run.stdout + run.stderr
    return json.loads(host.file("/tmp/result.json").content_string)


def test_a_person_can_rerun_it_by_hand(host):
    outcome = result(host, "", 0)
    assert outcome["result"] == "passed"
    assert outcome["accuracy"] >= outcome["minimum_accuracy"] > 0.5
    assert len(outcome["loss_per_epoch"]) == 10
    assert outcome["loss_per_epoch"][-1] < outcome["loss_per_epoch"][0] / 2
    assert outcome["device"] == "cpu"
    assert "digits" in outcome["data"]


def test_the_same_seed_gives_the_same_curve(host):
    first, second = (result(host, "--epochs 2 --minimum-accuracy 0", 0)["loss_per_epoch"] for _ in range(2))
    assert first == second


def test_a_network_that_learns_nothing_fails(host):
    outcome = result(host, "--learning-rate 0 --epochs 1", 1)
    assert outcome["result"] == "failed"
    assert "accuracy" in outcome["reason"]
