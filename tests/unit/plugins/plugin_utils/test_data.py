"""The compatibility data keeps its form: every row has a source, ids and versions are text, nothing stands twice."""

import re

import pytest
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import SUBJECTS, gpu_models, load

VERSION = re.compile(r"\d+(\.\d+)*$")


def rows(subject):
    data = load(subject)
    tables = {
        "drivers": [data.get("branches")],
        "gpus": [data.get("gpus"), data.get("nvswitches"), list(data.get("architectures", {}).values())],
        "python": [list(data.get(name, {}).values()) for name in ("systems", "science", "science_numpy1")],
        "pytorch": [data.get("releases")],
    }[subject]
    return [row for table in tables for row in table]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_row_has_a_source(subject):
    assert rows(subject)
    for row in rows(subject):
        assert row["source"].strip(), row


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_data_says_of_what_day_it_is(subject):
    assert re.match(r"\d{4}-\d\d-\d\d$", load(subject)["as_of"])


def test_no_pci_id_stands_for_two_gpus():
    ids = [(row["vendor_id"], row["device_id"]) for row in gpu_models()]
    assert len(ids) == len(set(ids))
    assert all(re.match(r"[0-9a-f]{4}$", part) for pair in ids for part in pair)


def test_every_gpu_is_of_a_known_architecture():
    data = load("gpus")
    assert {row["architecture"] for row in data["gpus"]} <= set(data["architectures"])


def test_releases_and_branches_stand_newest_first():
    for order in (
        [row["version"] for row in load("pytorch")["releases"]],
        [row["branch"] for row in load("drivers")["branches"]],
    ):
        numbers = [tuple(map(int, version.split("."))) for version in order]
        assert numbers == sorted(numbers, reverse=True)
        assert len(numbers) == len(set(numbers))


def test_every_release_is_complete():
    floors = load("pytorch")["driver_floors"]
    for release in load("pytorch")["releases"]:
        assert release["pypi"] in release["variants"], release["version"]
        assert set(release["variants"]) <= set(floors), release["version"]
        assert release["torchaudio"] is None or VERSION.match(release["torchaudio"]), release["version"]
        for name in ("version", "glibc", "torchvision"):
            assert VERSION.match(release[name]), (release["version"], name)
        assert all(VERSION.match(python) for python in release["python"])
        assert all(VERSION.match(built) for variant in release["variants"].values() for built in variant)


def test_every_scientific_set_names_the_four_packages():
    data = load("python")
    for row in [*data["science"].values(), *data["science_numpy1"].values()]:
        assert set(row["packages"]) == {"numpy", "pandas", "matplotlib", "scikit-learn"}
        assert all(VERSION.match(version) for version in row["packages"].values())
