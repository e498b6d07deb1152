# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rule of the role preflight is made of, and how it reads facts. Private to the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

GB = 1000**3
TB = 1000**4
Check = Callable[[dict[str, Any], dict[str, Any]], Iterator[str]]


class Rule(NamedTuple):
    """One opinion: what it is about, what to do about it, and the function that finds the cases."""

    severity: str
    meaning: str
    way_out: str
    check: Check


# By their ids, in the order in which findings of one severity are listed. Ids are never given to another rule.
RULES: dict[str, Rule] = {}


def rule(name: str, severity: str, meaning: str, way_out: str) -> Callable[[Check], Check]:
    """Register a generator of sentences, each naming a device and a value; the way out is put behind each."""

    def register(check: Check) -> Check:
        RULES[name] = Rule(severity, meaning, way_out, check)
        return check

    return register


def get(value: Any, *path: str) -> Any:
    """Return what lies at a path of keys in facts, or None where nothing does."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def items(value: Any, *path: str) -> list[dict[str, Any]]:
    """Return the dictionaries of a list in facts; none where there is no list."""
    entries = get(value, *path)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def texts(value: Any, *path: str) -> list[str]:
    """Return the texts of a list in facts; none where there is no list."""
    entries = get(value, *path)
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def wanted(expectations: dict[str, Any], *path: str) -> float | None:
    """Return a number that the inventory expects, or None. ValueError names the variable that is no number."""
    value = get(expectations, *path)
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"preflight_{'.'.join(path)} is {value!r}; it has to be a number") from None


def amount(number: float) -> str:
    """Return a number as a person writes it: 64 and not 64.0."""
    return f"{number:g}"
