"""The program's sides of the frameworks, with stand-ins for those: what is asked of a GPU, and when."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles" / "training_check" / "files"))
from training_check import with_tensorflow, with_torch, worker


class Device:
    """A context such as tf.device gives."""

    def __init__(self, *_words):
        pass

    __enter__ = __exit__ = __init__


@pytest.fixture
def tensorflow(monkeypatch):
    """Stand in for TensorFlow on a host with one GPU; its state says what it was asked."""
    state = SimpleNamespace(visible=["GPU"], logical=["GPU"], claimed=None)

    def identity(array):
        state.claimed = list(state.visible)  # the first tensor makes a context on every GPU that is visible
        return SimpleNamespace(numpy=lambda: array)

    config = SimpleNamespace(
        set_visible_devices=lambda devices, _kind: setattr(state, "visible", devices),
        list_logical_devices=lambda _kind: state.logical,
    )
    module = SimpleNamespace(config=config, device=Device, identity=identity, constant=lambda array: array)
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    return state


def test_an_array_goes_through_tensorflow_without_the_gpus(tensorflow):
    """Or a GPU that is busy or broken would be told of as a NumPy that is, and all of its memory be taken."""
    assert with_tensorflow.round_trip("array") == "array"
    assert tensorflow.claimed == []


def test_a_gpu_that_tensorflow_lists_and_ignores_is_no_device_to_train_on(tensorflow):
    assert with_tensorflow.prepare({"kind": "gpu"}) == "/GPU:0"
    assert with_tensorflow.prepare({"kind": "cpu"}) == "/CPU:0"
    tensorflow.logical = []
    with pytest.raises(RuntimeError, match="uses no GPU"):
        with_tensorflow.prepare({"kind": "gpu"})


def test_a_tensorflow_without_deterministic_kernels_says_so(monkeypatch):
    """Or good twins, whose sums are added in another order each time, were called corrupt."""
    experimental = SimpleNamespace(enable_tensor_float_32_execution=lambda _wanted: None)
    config = SimpleNamespace(experimental=experimental)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert with_tensorflow.exact() is False
    experimental.enable_op_determinism = lambda: None
    assert with_tensorflow.exact() is True


def test_one_gpu_that_does_not_answer_leaves_the_others_listed(monkeypatch):
    def properties(index):
        if index == 1:
            raise RuntimeError("CUDA error: unknown error")
        return SimpleNamespace(name="V100", major=7, minor=0, total_memory=1, multi_processor_count=80)

    cuda = SimpleNamespace(device_count=lambda: 2, get_device_properties=properties)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=SimpleNamespace(cuda="12.8"), cuda=cuda))
    for name, answer in (("versions", {}), ("architectures", []), ("round_trip", None)):
        monkeypatch.setattr(with_torch, name, lambda *_array, answer=answer: answer)
    notes = worker.Notes("/dev/null")
    monkeypatch.setattr(notes, "write", lambda: None)
    worker.probe({"framework": "pytorch"}, notes)
    told = notes.told["result"]
    assert [gpu["name"] for gpu in told["gpus"]] == ["V100"]
    assert told["gpus_error"] == "RuntimeError: CUDA error: unknown error"
