"""Names of variables that are nearly ours."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._variables import known_names, misspelt


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("pytorch_verison", "pytorch_version"),
        ("training_check_epoch", "training_check_epochs"),
        ("workstation_sorces", "workstation_sources"),
        ("preflight_expected_gpu", "preflight_expected_gpus"),
        ("stack_pytorch_versions", "stack_pytorch_version"),
    ],
)
def test_a_misspelt_name_is_found_with_the_one_that_was_meant(written, meant):
    assert misspelt([written]) == {written: meant}


def test_every_name_of_ours_is_left_alone():
    assert misspelt(known_names()) == {}


@pytest.mark.parametrize(
    "name", ["python_team_contact", "workstation_room", "ansible_user", "facts", "spark_master", ""]
)
def test_a_sites_own_names_are_left_alone(name):
    assert misspelt([name]) == {}
