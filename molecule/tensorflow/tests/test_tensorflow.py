"""What a user can rely on once a host has its TensorFlow, and one of them the PyTorch of old work."""

import json

import pytest

testinfra_hosts = ["ansible://workstations"]

ENVS = "/opt/gpufleet/envs"
PYTHON = f"{ENVS}/tensorflow/current/bin/python"
TRAIN = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy, tensorflow as tf
tf.keras.utils.set_random_seed(0) if hasattr(tf.keras.utils, "set_random_seed") else tf.random.set_seed(0)
x = numpy.random.RandomState(0).rand(256, 8, 8, 1).astype("float32")
y = (x.mean(axis=(1, 2, 3)) > 0.5).astype("int32")
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
layers = tf.keras.layers
model = tf.keras.Sequential([layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(2)])
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
losses = model.fit(data, epochs=5, verbose=0).history["loss"]
print(json.dumps({"first": float(losses[0]), "last": float(losses[-1]), "version": tf.__version__}))
"""
VERSIONS = """
import importlib.metadata, json
print(json.dumps({one.metadata["Name"].lower(): one.version for one in importlib.metadata.distributions()}))
"""
OLD_WORK = """
import sys, numpy, torch, torchvision
print(torch.__version__, float(torch.from_numpy(numpy.ones(3)).sum()), sys.version_info[:2])
"""


def is_v100(host):
    return "v100" in host.backend.get_hostname()


def versions(host, environment):
    return json.loads(host.check_output("%s/%s/current/bin/python -c %s", ENVS, environment, VERSIONS))


def test_a_small_network_learns_from_tf_data(host):
    told = json.loads(host.check_output("%s -W ignore -c %s", PYTHON, TRAIN).splitlines()[-1])
    assert told["last"] < told["first"]
    assert told["version"] == ("2.21.0" if is_v100(host) else "2.8.4")


def test_a_v100_has_the_cuda_libraries_and_the_last_cudnn_with_its_kernels(host):
    found = versions(host, "tensorflow")
    if is_v100(host):
        assert found["nvidia-cudnn-cu12"] == "9.10.2.21"
        assert "nvidia-nccl-cu12" in found and "tensorflow-cpu" not in found
    else:
        assert "tensorflow-cpu" in found
        assert [name for name in found if name.startswith("nvidia")] == []


def test_the_build_says_that_it_carries_the_v100(host):
    told = json.loads(host.file(f"{ENVS}/tensorflow/current/.gpufleet.json").content_string)["checks"]
    assert ("sm_70" in told[0]) if is_v100(host) else ("no GPU code" in told[0])


def test_the_libraries_of_the_wheels_can_be_loaded(host):
    if not is_v100(host):
        pytest.skip("a build for the processor has none")
    code = "import ctypes, glob, sys; print(len([ctypes.CDLL(p) for p in sorted(glob.glob(sys.prefix + sys.argv[1]))]))"
    pattern = "/lib/python3*/site-packages/nvidia/c[uo][db][na]*/lib/libc*.so.*"
    assert int(host.check_output("%s -c %s %s", PYTHON, code, pattern)) >= 2


def test_the_companions_work_with_it(host):
    host.check_output("%s -c 'import tensorflow, numpy, pandas, matplotlib, sklearn'", PYTHON)


@pytest.mark.parametrize("environment", ["tensorflow", "pytorch"])
def test_nothing_in_an_environment_contradicts_itself(host, environment):
    if environment == "pytorch" and is_v100(host):
        pytest.skip("PyTorch is not wanted on this host")
    uv = host.check_output("ls /opt/gpufleet/uv/*/bin/uv")
    assert host.run("%s pip check --python %s/%s/current/bin/python", uv, ENVS, environment).rc == 0


def test_the_pytorch_of_old_work_computes_beside_its_numpy(host):
    if is_v100(host):
        pytest.skip("PyTorch is not wanted on this host")
    assert host.check_output("%s/pytorch/current/bin/python -c %s", ENVS, OLD_WORK) == "1.13.1+cu117 3.0 (3, 9)"


def test_the_systems_own_python_was_left_alone(host):
    assert host.run("python3 -c 'import tensorflow'").rc != 0
