"""What a user can rely on once a host was checked, and that the check can fail."""

import json

testinfra_hosts = ["ansible://workstations"]

BY_HAND = (
    "/opt/gpufleet/envs/pytorch/current/bin/python /opt/gpufleet/bin/training_check.py"
    " --device cpu --dataset digits --threads 1"
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


def test_a_loss_that_is_no_number_fails(host):
    outcome = result(host, "--learning-rate 1e30 --epochs 1", 1)
    assert "loss of epoch 1 is" in outcome["reason"]


def test_gpus_that_torch_does_not_see_fail_the_host(host):
    outcome = result(host, "--device auto --expected-gpus 2 --epochs 1", 1)
    assert "sees 0 of 2 GPUs" in outcome["reason"]


def test_the_network_is_the_classic_one(host):
    # (3*9+1)*32 + (32*9+1)*64 + (64*8*8+1)*128 + (128+1)*10
    assert result(host, "--epochs 1 --minimum-accuracy 0", 0)["parameters"] == 545098


def test_an_archive_in_the_published_layout_is_trained_on(host):
    code = """
import hashlib, io, numpy, pickle, tarfile
chance = numpy.random.RandomState(0)
with tarfile.open("/tmp/cifar.tar.gz", "w:gz") as tar:
    for name in ["data_batch_1", "test_batch"]:
        labels = chance.randint(0, 10, 200)
        data = numpy.repeat((labels * 25)[:, None], 3072, axis=1).astype("uint8")
        content = pickle.dumps({b"data": data, b"labels": labels.tolist()}, protocol=2)
        member = tarfile.TarInfo("cifar-10-batches-py/" + name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
print("sha256:" + hashlib.sha256(open("/tmp/cifar.tar.gz", "rb").read()).hexdigest())
"""
    checksum = host.check_output("/opt/gpufleet/envs/pytorch/current/bin/python -c %s", code)
    words = f"--dataset cifar10 --data /tmp/cifar.tar.gz --checksum {checksum} --epochs 2 --minimum-accuracy 0"
    outcome = result(host, words, 0)
    assert outcome["data"] == "CIFAR-10 from /tmp/cifar.tar.gz"
    assert (outcome["train_images"], outcome["test_images"]) == (200, 200)
