"""The page about preflight lists exactly the rules that there are."""

from pathlib import Path

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._preflight import LEVELS
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules import RULES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "preflight.md"


def test_each_rule_has_its_row_and_no_row_is_without_a_rule():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{name}` | {rule.severity} | {rule.meaning} | {rule.way_out[0].upper()}{rule.way_out[1:]}. |"
        for name, rule in RULES.items()
    ]


def test_the_page_names_every_severity():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{level}`" in text for level in LEVELS)
