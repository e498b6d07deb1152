"""What a user can rely on once a host was checked, and that the check can fail: with PyTorch and with TensorFlow."""

import json
import re

import pytest

testinfra_hosts = ["ansible://workstations"]


@pytest.fixture
def framework(host):
    return "pytorch" if "pytorch" in host.backend.get_hostname() else "tensorflow"


@pytest.fixture
def python(framework):
    return f"/opt/gpufleet/envs/{framework}/current/bin/python"


@pytest.fixture
def kept(host):
    return json.loads(host.file("/opt/gpufleet/training.json").content_string)


@pytest.fixture
def check(host, framework):
    """Return a function that runs the module again, with other arguments, and gives what it says."""

    def run(**arguments):
        whole = {
            "program": "/opt/gpufleet/training_check",
            "environments": {framework: f"/opt/gpufleet/envs/{framework}/current"},
            "dataset": "digits",
            "device": "cpu",
            "threads": 1,
            "epochs": 1,
            "benchmark": False,
            "fast": False,
            "minimum_accuracy": 0.1,
            **arguments,
        }
        told = host.ansible("gpufleet.workstation.training_check", json.dumps(whole), check=False)
        assert "ansible_facts" in told, told
        return told["ansible_facts"]["training"]

    return run


def codes(training):
    return [one["code"] for one in training["findings"] if one["severity"] == "fail"]


def test_the_host_trained_on_real_images_and_reached_the_accuracy(kept, framework):
    assert kept["result"] == "passed", kept["reason"]
    told = kept[framework]
    assert told["accuracy"] >= told["minimum_accuracy"] == 0.9
    assert (told["data"]["name"], told["data"]["train_images"]) == ("digits", 1438)
    (device,) = told["devices"]
    assert device["trained_on"] == "cpu"
    assert len(device["plain"]["loss_per_epoch"]) == 10
    assert device["plain"]["loss_per_epoch"][-1] < device["plain"]["loss_per_epoch"][0] / 2
    # (3*9+1)*32 + (32*9+1)*64 + (64*8*8+1)*128 + (128+1)*10
    assert device["plain"]["parameters"] == 545098
    assert device["memory_gb_per_second"] > 0.1 and device["matmul_tflops"]["fp32"] > 0.001


def test_the_fast_loop_is_faster_and_learns_as_much(kept, framework):
    (device,) = kept[framework]["devices"]
    assert device["fast"]["images_per_second"] > device["plain"]["images_per_second"]
    assert device["fast"]["accuracy"] >= device["plain"]["accuracy"] - 0.035


def test_two_that_exchange_gradients_hold_the_same_network(kept, framework):
    joint = kept[framework]["together"]
    assert (joint["count"], joint["result"]) == (2, "passed")
    assert joint["accuracy"] >= 0.9
    assert joint["backend"] == ("gloo" if framework == "pytorch" else "CollectiveAllReduce")


def test_the_same_seed_gives_the_same_curve(check, framework):
    first, second = (check(epochs=2)[framework]["devices"][0]["plain"]["loss_per_epoch"] for _ in range(2))
    assert len(first) == 2
    assert first == second


def test_a_network_that_learns_nothing_fails(check):
    training = check(learning_rate=0, minimum_accuracy=0.9)
    assert (training["result"], codes(training)) == ("failed", ["training.inaccurate"])


def test_a_loss_that_is_no_number_fails(check, framework):
    training = check(learning_rate=1e30)
    if framework == "pytorch":
        assert "training.not_finite" in codes(training)
        assert "the loss of epoch 1 on the CPU is" in training["reason"]
    else:  # TensorFlow's rectifier makes 0 of what is no number: the loss stays one, and the accuracy tells
        assert codes(training) == ["training.inaccurate"]


def test_a_gpu_that_was_expected_and_is_not_there_fails_before_training(check, framework):
    training = check(device="auto", expected_gpus=2)
    # TensorFlow's is a build for CPUs, PyTorch's one for CUDA.
    assert codes(training) == ["gpu.driver_missing" if framework == "pytorch" else "gpu.cpu_only"]
    assert "2 GPU(s)" in training["reason"]
    assert training[framework]["devices"] == []


def test_an_environment_that_is_not_there_fails(check):
    assert codes(check(environments={"tensorflow": "/opt/nothing"})) == ["environment.missing"]


def test_a_numpy_of_another_abi_has_its_sentence(host, check, framework, python):
    """A stand-in, outside of /tmp, where programs may not run: a framework that says what a real one says then."""
    module = {"pytorch": "torch", "tensorflow": "tensorflow"}[framework]
    said = "raise ImportError('numpy.core.multiarray failed to import')"
    host.check_output(f"mkdir -p /opt/abi/bin /opt/abi/path/{module}")
    host.check_output(f'echo "{said}" >/opt/abi/path/{module}/__init__.py')
    host.check_output(f"printf '#!/bin/sh\\nPYTHONPATH=/opt/abi/path exec {python} \"$@\"\\n' >/opt/abi/bin/python")
    host.check_output("chmod 755 /opt/abi/bin/python")
    training = check(environments={framework: "/opt/abi"})
    assert codes(training) == ["numpy.abi"]
    assert "was built for another NumPy than the installed 2.4.6" in training["reason"]


def test_a_host_that_is_given_no_time_fails_and_nothing_goes_on(host, check):
    training = check(epochs=100000, timeout=75)
    assert codes(training) == ["training.hung"]
    # A busy machine may not come to the first epoch in its share of the time.
    assert re.search(r"while it was (in epoch|compiling the step)", training["reason"]), training["reason"]
    assert training["seconds"] < 75 + 5
    assert not host.run("pgrep -f training_check.worker").stdout.strip()


def test_an_archive_in_the_published_layout_is_trained_on_and_one_that_was_cut_is_named(host, check, framework, python):
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
    checksum = host.check_output(f"{python} -c %s", code)
    whole = {"dataset": "cifar10", "checksum": checksum, "minimum_accuracy": 0}
    told = check(data="/tmp/cifar.tar.gz", **whole)[framework]["data"]
    assert (told["words"], told["train_images"], told["test_images"]) == ("CIFAR-10 from /tmp/cifar.tar.gz", 200, 200)
    host.check_output("head -c 1000 /tmp/cifar.tar.gz >/tmp/cut.tar.gz")
    training = check(data="/tmp/cut.tar.gz", **whole)
    assert codes(training) == ["data.wrong"]
    assert "/tmp/cut.tar.gz is not the archive that was asked for" in training["reason"]


def test_a_person_can_measure_by_hand(host, framework, python):
    run = host.run(
        f"{python} /opt/gpufleet/training_check run --framework {framework} --device cpu --threads 1 "
        "--dataset digits --epochs 1 --no-fast"
    )
    assert run.rc == 0, run.stderr
    assert json.loads(run.stdout)["devices"][0]["outcome"]["result"]["plain"]["accuracy"] > 0.1
