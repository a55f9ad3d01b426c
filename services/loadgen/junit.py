"""JUnit XML, for CI: each judgement is a test case.

The elements and attributes are those that Jenkins and GitLab read: https://github.com/testmoapp/junitxml.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from loadgen.verdict import Judgement

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Judged(NamedTuple):
    """What was judged: a name for all of it, when it began, and how many seconds it took."""

    name: str
    started_at: str
    seconds: float


def junit_xml(judged: Judged, judgements: Sequence[Judgement], warnings: Sequence[str] = ()) -> bytes:
    """The file: a suite for each thing that was judged, and warnings as its output."""
    suites = Element("testsuites", {"name": judged.name, "time": f"{judged.seconds:.1f}"} | _counts(judgements))
    for of, found in groupby(judgements, key=lambda judgement: judgement.of):
        own = list(found)
        suite = SubElement(suites, "testsuite", {"name": of, "timestamp": judged.started_at} | _counts(own))
        for judgement in own:
            case = SubElement(suite, "testcase", classname=f"{judged.name}.{of}", name=_text(judgement.name), time="0")
            if judgement.reason:
                SubElement(case, "failure", message=_text(judgement.reason)).text = _text(judgement.reason)
    if warnings:
        SubElement(suites[-1], "system-out").text = _text("\n".join(warnings))
    indent(suites)
    return bytes(tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _counts(judgements: Sequence[Judgement]) -> dict[str, str]:
    failures = sum(bool(judgement.reason) for judgement in judgements)
    return {"tests": str(len(judgements)), "failures": str(failures), "errors": "0", "skipped": "0"}


def _text(text: str) -> str:
    """A text without the characters that XML cannot have; the error of a connection may bring any."""
    return _NOT_IN_XML.sub("?", text)
