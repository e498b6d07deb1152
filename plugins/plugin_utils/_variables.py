# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's variables are misspelt names of this collection's own. Private to the collection.

Ansible checks the values of role variables and never their names: C(pytorch_verison: 2.10.0) would be ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
SHARED_PREFIX = "workstation_"
# What roles hand on; nobody sets it, but it stands among a host's variables.
HANDED_ON = ("bootstrap_manageable", "preflight_findings", "stack_plan")
LIKENESS = 0.8


@lru_cache(maxsize=None)
def known_names() -> frozenset[str]:
    """Return every variable that a role documents, that roles share, or that a role hands on."""
    names = set(HANDED_ON)
    for spec in ROLES.glob("*/meta/argument_specs.yml"):
        options = yaml.safe_load(spec.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
        names.update(options)
    for path in [*ROLES.glob("*/defaults/main.yml"), *PLAYBOOKS.glob("*.yml")]:
        names.update(re.findall(rf"\b{SHARED_PREFIX}\w+", path.read_text(encoding="utf-8")))
    return frozenset(names)


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """Return the name that was meant for each name that is not one of ours but looks like one.

    A site's own variables may begin like ours, so only a name that is close to one of ours counts.
    """
    found = {}
    for prefix in (SHARED_PREFIX, *(f"{role.name}_" for role in ROLES.iterdir())):
        ours = {name[len(prefix) :] for name in known_names() if name.startswith(prefix)}
        for name in names:
            rest = name[len(prefix) :]
            if name.startswith(prefix) and name not in known_names():
                for close in get_close_matches(rest, ours, n=1, cutoff=LIKENESS):
                    found[name] = prefix + close
    return dict(sorted(found.items()))
