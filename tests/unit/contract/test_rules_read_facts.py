"""What the tests of preflight invent as facts is what the modules document: no rule reads a field that is not there."""

import importlib
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "plugin_utils"))
from returns import TYPES
from test_preflight import HEALTHY, TABLE, changed

# Of the other modules this is asked as soon as they have the fields that the rules read.
SUBJECTS = ["gpu", "memory", "nvme", "host"]


def undocumented(documented, value, where):
    """Yield each place in invented facts that RETURN does not know, or knows as something else."""
    if value is None:
        return
    if not isinstance(value, TYPES[documented["type"]]):
        yield f"{where}: documented {documented['type']}, invented {type(value).__name__}"
    elif isinstance(value, list):
        for element in value:
            yield from undocumented({**documented, "type": documented["elements"]}, element, f"{where}[]")
    elif isinstance(value, dict):
        for name in value:
            if name not in documented["contains"]:
                yield f"{where}.{name}: not documented"
            else:
                yield from undocumented(documented["contains"][name], value[name], f"{where}.{name}")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_invented_fact_is_one_that_the_module_returns(subject):
    module = importlib.import_module(f"ansible_collections.gpufleet.workstation.plugins.modules.{subject}_facts")
    documented = yaml.safe_load(module.RETURN)["ansible_facts"]["contains"][subject]
    assert list(undocumented(documented, HEALTHY[subject], subject)) == []
    for rule, path, bad, good, _words in TABLE:
        if path[0] == subject:
            for value in (bad, good):
                assert list(undocumented(documented, changed(path, value)[subject], rule)) == []
