# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of the training check as JUnit's XML, which every CI server shows. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

FRAMEWORKS = ("pytorch", "tensorflow")
# What XML 1.0 has no way to write.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def junit(hosts: dict[str, dict[str, Any] | None]) -> str:
    """Return a document with a suite for each host and a case for each framework and device.

    ``hosts`` has the fact ``training`` by the name of the host, None where there is none.
    """
    root = ElementTree.Element("testsuites", name="training_check")
    for name in sorted(hosts):
        _suite(root, name, hosts[name])
    for suite in root:
        for kind in ("failure", "error", "skipped"):
            suite.set({"failure": "failures", "error": "errors"}.get(kind, kind), str(len(suite.findall(f".//{kind}"))))
        suite.set("tests", str(len(suite)))
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(suite.get(total)) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, name: str, training: dict[str, Any] | None) -> None:
    training = training or {"result": "", "reason": "there is no result: the host was not reached, or broke off before"}
    suite = ElementTree.SubElement(root, "testsuite", name=_text(name), time=f"{training.get('seconds') or 0:.3f}")
    told = [framework for framework in FRAMEWORKS if training.get(framework)]
    if not told:
        case = _case(suite, name, "training_check", 0)
        kind = {"passed": None, "failed": "failure", "": "error"}.get(training["result"], "skipped")
        if kind:
            reason = _text(training.get("reason") or training["result"])
            ElementTree.SubElement(case, kind, message=reason).text = reason
    for framework in told:
        for label, seconds, about in _cases(training[framework]):
            case = _case(suite, name, f"{framework} {label}", seconds)
            failures = [one for one in about if one["severity"] == "fail"]
            for one in failures:
                failure = ElementTree.SubElement(case, "failure", message=_text(one["sentence"]), type=one["code"])
                failure.text = _text(one["advice"])
            others = [f"{one['severity']}: {one['sentence']}; {one['advice']}" for one in about if one not in failures]
            if others:
                ElementTree.SubElement(case, "system-out").text = _text("\n".join(others))


def _cases(told: dict[str, Any]) -> Iterator[tuple[str, float, list[dict[str, Any]]]]:
    """Yield label, seconds and findings of the host, of each device and of all together."""
    together = [one for one in told["findings"] if not one["device"] and _of_all(one)]
    labels = [device["label"] for device in told["devices"]]
    host = [one for one in told["findings"] if one["device"] not in labels and one not in together]
    yield "host", 0, host
    for device in told["devices"]:
        seconds = sum((device[loop] or {}).get("seconds") or 0 for loop in ("plain", "fast"))
        yield device["label"], seconds, [one for one in told["findings"] if one["device"] == device["label"]]
    if told["together"] or together:
        yield "all together", (told["together"] or {}).get("seconds") or 0, together


def _of_all(one: dict[str, Any]) -> bool:
    return one["code"].startswith("together.") or one["code"] == "speed.all_reduce"


def _case(suite: ElementTree.Element, host: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_text(host), name=_text(name), time=f"{seconds:.3f}")


def _text(value: Any) -> str:
    return UNWRITABLE.sub("?", str(value))
