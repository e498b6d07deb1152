"""The page about the training check lists exactly the findings that there are."""

import re
from pathlib import Path

from ansible_collections.gpufleet.workstation.plugins.module_utils import _training_judge as judge
from ansible_collections.gpufleet.workstation.plugins.module_utils._training_findings import KINDS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "training-check.md"


def row(code):
    """Return the line of the page for a kind of finding, its values in italics."""
    kind = KINDS[code]
    sentence, advice = (re.sub(r"{(\w+)[^}]*}", r"_\1_", text) for text in (kind.sentence, kind.advice))
    return f"| `{code}` | {kind.severity} | {sentence} | {advice} |"


def test_each_finding_has_its_row_and_no_row_is_without_a_finding():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [row(code) for code in KINDS]


def test_the_numbers_on_the_page_are_those_of_the_program():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"under {judge.STRAGGLER:.0%} of the median" in text.replace(" %", "%")
    assert f"{judge.CURVE_TOLERANCE:.0%} of the loss" in text.replace(" %", "%")
    assert judge.MINIMUM_ACCURACY == {"digits": (0.90, 0.90), "cifar10": (0.50, 0.65)}
    assert "0.90 for the digits; 0.65 for CIFAR-10, and 0.50 there with fewer than ten epochs" in text
