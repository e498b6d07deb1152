"""What a user can rely on once a host was checked, and that the check can fail."""

import json

testinfra_hosts = ["ansible://workstations"]

ENVIRONMENT = "/opt/gpufleet/envs/pytorch/current"
PYTHON = f"{ENVIRONMENT}/bin/python"
BY_HAND = f"{PYTHON} /opt/gpufleet/training_check run --device cpu --threads 1 --no-benchmark"


def kept(host):
    return json.loads(host.file("/opt/gpufleet/training.json").content_string)


def measured(host, words):
    run = host.run(f"{BY_HAND} {words}")
    assert run.rc == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


def checked(host, arguments=""):
    """Run the module again, with other arguments, and return what it says."""
    whole = (
        f"program=/opt/gpufleet/training_check environments={{'pytorch':'{ENVIRONMENT}'}} dataset=digits device=cpu "
        f"threads=1 epochs=1 benchmark=false fast=false minimum_accuracy=0.1 {arguments}"
    )
    told = host.ansible("gpufleet.workstation.training_check", whole, check=False)
    return told["ansible_facts"]["training"]


def codes(training):
    return [one["code"] for one in training["findings"] if one["severity"] == "fail"]


def test_the_result_is_kept_on_the_host(host):
    outcome = kept(host)
    assert outcome["result"] == "passed", outcome["reason"]
    told = outcome["pytorch"]
    assert told["accuracy"] >= told["minimum_accuracy"] == 0.9
    assert told["data"]["name"] == "digits"
    (device,) = told["devices"]
    assert device["trained_on"] == "cpu"
    assert len(device["plain"]["loss_per_epoch"]) == 10
    assert device["plain"]["loss_per_epoch"][-1] < device["plain"]["loss_per_epoch"][0] / 2
    # (3*9+1)*32 + (32*9+1)*64 + (64*8*8+1)*128 + (128+1)*10
    assert device["plain"]["parameters"] == 545098
    assert device["memory_gb_per_second"] > 0.1 and device["matmul_tflops"]["fp32"] > 0.001


def test_the_fast_loop_is_faster_and_learns_as_much(host):
    (device,) = kept(host)["pytorch"]["devices"]
    assert device["fast"]["images_per_second"] > device["plain"]["images_per_second"]
    assert device["fast"]["accuracy"] >= device["plain"]["accuracy"] - 0.03


def test_two_processes_that_exchange_gradients_hold_the_same_network(host):
    joint = kept(host)["pytorch"]["together"]
    assert (joint["count"], joint["backend"], joint["result"]) == (2, "gloo", "passed")
    assert joint["accuracy"] >= 0.9


def test_the_same_seed_gives_the_same_curve(host):
    first, second = (measured(host, "--dataset digits --epochs 2 --no-fast")["devices"][0] for _ in range(2))
    curve = first["outcome"]["result"]["plain"]["loss_per_epoch"]
    assert len(curve) == 2
    assert curve == second["outcome"]["result"]["plain"]["loss_per_epoch"]


def test_a_network_that_learns_nothing_fails(host):
    training = checked(host, "learning_rate=0 minimum_accuracy=0.9")
    assert (training["result"], codes(training)) == ("failed", ["training.inaccurate"])


def test_a_loss_that_is_no_number_fails(host):
    training = checked(host, "learning_rate=1e30")
    assert "training.not_finite" in codes(training)
    assert "the loss of epoch 1 on the CPU is" in training["reason"]


def test_a_gpu_that_was_expected_and_is_not_there_fails_before_training(host):
    training = checked(host, "device=auto expected_gpus=2")
    assert codes(training) == ["gpu.driver_missing"]
    assert "2 GPU(s) are expected and no NVIDIA driver answers" in training["reason"]
    assert training["pytorch"]["devices"] == []


def test_an_environment_that_is_not_there_fails(host):
    training = checked(host, "environments={'tensorflow':'/opt/nothing'}")
    assert codes(training) == ["environment.missing"]


def test_a_host_that_is_given_no_time_fails_and_is_left_clean(host):
    training = checked(host, "epochs=100000 timeout=60")
    assert training["result"] == "failed"
    assert codes(training) == ["training.hung"]
    assert "in epoch" in training["reason"]
    assert not host.run("pgrep -f training_check").stdout.strip()


def test_an_archive_in_the_published_layout_is_trained_on_and_one_that_was_cut_is_named(host):
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
    checksum = host.check_output(f"{PYTHON} -c %s", code)
    training = checked(host, f"dataset=cifar10 data=/tmp/cifar.tar.gz checksum={checksum} minimum_accuracy=0")
    told = training["pytorch"]["data"]
    assert (told["words"], told["train_images"], told["test_images"]) == ("CIFAR-10 from /tmp/cifar.tar.gz", 200, 200)
    host.check_output("head -c 1000 /tmp/cifar.tar.gz >/tmp/cut.tar.gz")
    training = checked(host, f"dataset=cifar10 data=/tmp/cut.tar.gz checksum={checksum}")
    assert codes(training) == ["data.wrong"]
    assert "/tmp/cut.tar.gz is not the archive that was asked for" in training["reason"]
