"""RETURN is a contract: what mig_layout documents is what it returns, on GPUs that are a file."""

import sys
from pathlib import Path

import yaml
from ansible_collections.gpufleet.workstation.plugins.modules import mig_layout

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "plugins" / "module_utils")]
from returns import mismatches
from test_mig import Lab


def test_what_it_returns_is_what_is_documented(tmp_path):
    documented = {"type": "dict", "contains": yaml.safe_load(mig_layout.RETURN)}
    lab = Lab(tmp_path)
    lab.state(stuck=True)
    for layout in ({"0": ["7g.40gb"]}, {"1": []}):
        returned = lab.cut(layout)
        for common in ("changed", "diff"):
            del returned[common]
        assert list(mismatches(documented, returned, "mig_layout")) == []
