# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares versions, and what the inventory says of them. Pure; private to the collection."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

NEWEST = "newest"
LONG_TERM = "long-term"
EXACT = re.compile(r"\d+(\.\d+)*$")


@lru_cache(maxsize=None)
def number(version: str | int) -> tuple[int, ...]:
    """Return a version as numbers to compare; text within is left out: C("5.15.0-91-generic") is C((5, 15, 0))."""
    head = str(version).split("-", maxsplit=1)[0].split("+", maxsplit=1)[0]
    return tuple(int(part) for part in head.split(".") if part.isdigit())


@lru_cache(maxsize=None)
def fits(version: str, wish: str) -> bool:
    """Return whether a version is what a wish asks for.

    A wish is empty, C(newest) or C(long-term) (any version), a version (C("12.9") is also 12.9.2), or a range
    (C(">=2.8,<2.11")). ValueError says that it is none of them.
    """
    if wish in ("", NEWEST, LONG_TERM):
        return True
    if EXACT.match(wish):
        wanted = number(wish)
        return number(version)[: len(wanted)] == wanted
    try:
        return SpecifierSet(wish).contains(version)
    except InvalidSpecifier:
        raise ValueError(f"{wish!r} is neither a version nor a range such as '>=2.8,<2.11'") from None


def refuse_float(name: str, value: Any) -> None:
    """Raise ValueError for a version that YAML read as a number: nobody can tell any more which one stood there."""
    if isinstance(value, float):
        raise ValueError(
            f"{name} is the number {value}: without quotes, YAML reads 2.10 as 2.1; "
            f"write the version that is meant in quotes, '{value}' or '{value}0'"
        )


def runs_on(built_for: list[str], capability: str) -> bool:
    """Return whether something built for some GPU architectures has code for a GPU.

    Machine code (C("8.0") or C("sm_80")) runs on the same major version and no older minor version; PTX
    (C("compute_80")) on that architecture and every newer one.
    """
    wanted = number(capability)
    for word in built_for:
        kind, _, digits = word.rpartition("_")
        has = number(f"{digits[:-1]}.{digits[-1]}" if kind else digits)
        if (has <= wanted) if kind == "compute" else (has[0] == wanted[0] and has[1] <= wanted[1]):
            return True
    return False
