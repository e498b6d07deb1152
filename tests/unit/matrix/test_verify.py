"""The data against what was read from the package index, and that every kind of difference is noticed."""

import copy
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "matrix"))
import verify

TRUTH = json.loads(verify.RECORDED.read_text(encoding="utf-8"))


def test_the_data_says_what_the_index_said():
    assert list(verify.differences(verify.load(), TRUTH)) == []
    assert len(TRUTH["torch"]) >= 20
    assert len(TRUTH["tensorflow"]) >= 20


def release(data, subject, version):
    return next(row for row in data[subject]["releases"] if row["version"] == version)


@pytest.mark.parametrize(
    ("subject", "version", "change", "words"),
    [
        ("pytorch", "2.10.0", {"variants": {"cu128": ["7.5", "8.0"]}}, "the wheel 7.0, 7.5"),
        ("pytorch", "2.15.0", {"pypi": "cu130"}, "the wheel is cu132"),
        ("pytorch", "2.15.0", {"python": ["3.10"]}, "the index 3.11"),
        ("pytorch", "2.15.0", {"glibc": "2.17"}, "the wheel's tag 2.28"),
        ("pytorch", "2.10.0", {"cudnn": "9.19.0.56"}, "the wheel ==9.10.2.21"),
        ("pytorch", "2.10.0", {"torchvision": "0.29.2"}, "torchvision 0.29.2 wants torch"),
        ("pytorch", "2.10.0", {"torchvision": "9.9"}, "the index has no torchvision 9.9"),
        ("pytorch", "2.10.0", {"version": "2.10.9"}, "the index has no Linux wheel of it"),
        ("tensorflow", "2.21.0", {"architectures": ["sm_75"]}, "sm_70"),
        ("tensorflow", "2.19.1", {"cudnn": "==9.11"}, "the extra and-cuda ==9.3.0.75"),
        ("tensorflow", "2.19.1", {"libraries": "system"}, "the extra and-cuda asks ==9.3.0.75"),
        ("tensorflow", "2.19.1", {"cuda": "13.0"}, "the wheel 12.5"),
    ],
)
def test_a_row_that_says_otherwise_is_named(subject, version, change, words):
    data = copy.deepcopy(verify.load())
    release(data, subject, version).update(change)
    found = list(verify.differences(data, TRUTH))
    assert found
    assert all(change.get("version", version) in line for line in found)
    assert any(words in line for line in found)


@pytest.mark.parametrize(
    ("subject", "table", "change", "words"),
    [
        ("cuda", "cudnn", {"version": "9.99"}, "no nvidia-cudnn-cu13 of that version"),
        ("cuda", "nccl", {"version": "9.99"}, "no nvidia-nccl-cu13 of that version"),
        ("cuda", "toolkits", {"pypi": False}, "the index the opposite"),
        ("bigdata", "spark", {"version": "4.9.0"}, "no pyspark of that version"),
        ("python", "science", {"python": "3.6"}, "for Python 3.6"),
    ],
)
def test_a_version_that_the_index_does_not_have_is_named(subject, table, change, words):
    data = copy.deepcopy(verify.load())
    data[subject][table][0].update(change)
    assert any(words in line for line in verify.differences(data, TRUTH))


def test_a_release_that_the_data_lacks_becomes_a_row_to_paste():
    data = copy.deepcopy(verify.load())
    data["pytorch"]["releases"] = [row for row in data["pytorch"]["releases"] if row["version"] != "2.15.0"]
    data["tensorflow"]["releases"] = [row for row in data["tensorflow"]["releases"] if row["version"] != "2.21.0"]
    rows = dict(verify.drafts(data, TRUTH))
    assert rows["pytorch.yml"]["version"] == "2.15.0"
    assert rows["pytorch.yml"]["torchvision"] == "0.29.2"
    kept = release(verify.load(), "pytorch", "2.15.0")
    assert {name: rows["pytorch.yml"][name] for name in ("python", "glibc", "pypi", "cudnn", "torchaudio")} == {
        name: kept[name] for name in ("python", "glibc", "pypi", "cudnn", "torchaudio")
    }
    assert rows["pytorch.yml"]["variants"]["cu132"] == kept["variants"]["cu132"]
    assert rows["tensorflow.yml"]["architectures"] == release(verify.load(), "tensorflow", "2.21.0")["architectures"]


@pytest.mark.parametrize(
    ("known", "served", "missing"),
    [
        (["2.15.0", "2.14.1"], ["2.13.0", "2.14.1", "2.15.0"], []),
        (["2.15.0", "2.14.1"], ["2.14.2", "2.15.1", "2.16.0"], ["2.14.2", "2.15.1", "2.16.0"]),
        (["2.15.0"], ["1.13.1", "2.9.1"], []),
    ],
)
def test_only_what_is_newer_is_missing(known, served, missing):
    assert verify.missing(known, served) == missing
