# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role preflight makes of its rules: facts and expectations in, findings out. Private to the collection.

The rules stand in C(_rules_gpu.py) and C(_rules_host.py). One that lacks the facts it needs says nothing: the gap is
reported by C(facts.gap), never taken for health.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils import _rules_gpu, _rules_host  # noqa: F401 (register)
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._rules import RULES

# How bad a finding is unless preflight_severity says otherwise. "fail" leaves the host untouched.
SEVERITIES = {name: rule.severity for name, rule in RULES.items()}
LEVELS = ("info", "warn", "fail")


def findings(facts: dict[str, Any], expectations: dict[str, Any]) -> list[dict[str, str]]:
    """Return every finding on one host, the worst first.

    ``facts`` is C(ansible_facts); ``expectations`` has the keys of the role's variables without
    their prefix. A finding is ``{rule, severity, message}``. ValueError names a rule or a severity
    that does not exist, and a variable that is not a number.
    """
    severities = {**SEVERITIES, **_checked(expectations.get("severity") or {})}
    found = [
        {"rule": name, "severity": severities[name], "message": f"{message}: {rule.way_out}"}
        for name, rule in RULES.items()
        for message in rule.check(facts, expectations)
    ]
    return sorted(found, key=lambda finding: -LEVELS.index(finding["severity"]))


def _checked(severities: dict[str, str]) -> dict[str, str]:
    for rule, level in severities.items():
        if rule not in SEVERITIES:
            raise ValueError(f"preflight_severity names the rule {rule!r}; there are {', '.join(SEVERITIES)}")
        if level not in LEVELS:
            raise ValueError(f"preflight_severity gives {rule} the severity {level!r}; use {', '.join(LEVELS)}")
    return severities
