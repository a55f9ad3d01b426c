"""JUnit XML of a run, for CI: each judgement of the verdict is a test case.

The elements and attributes are those that Jenkins and GitLab read: https://github.com/testmoapp/junitxml.
"""

import re
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from loadgen.summary import Summary
from loadgen.verdict import Judgement, Verdict

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(summary: Summary, verdict: Verdict) -> bytes:
    """The file: a suite for each thing that was judged, and warnings as its output."""
    suites = Element(
        "testsuites", {"name": "load test", "time": f"{summary.duration_s:.1f}"} | _counts(verdict.judgements)
    )
    for of, found in groupby(verdict.judgements, key=lambda judgement: judgement.of):
        judgements = list(found)
        suite = SubElement(suites, "testsuite", {"name": of, "timestamp": summary.started_at} | _counts(judgements))
        for judgement in judgements:
            case = SubElement(suite, "testcase", classname=f"load test.{of}", name=_text(judgement.name), time="0")
            if judgement.reason:
                SubElement(case, "failure", message=_text(judgement.reason)).text = _text(judgement.reason)
    if verdict.warnings:
        SubElement(suites[-1], "system-out").text = _text("\n".join(verdict.warnings))
    indent(suites)
    return bytes(tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _counts(judgements: list[Judgement]) -> dict[str, str]:
    failures = sum(bool(judgement.reason) for judgement in judgements)
    return {"tests": str(len(judgements)), "failures": str(failures), "errors": "0", "skipped": "0"}


def _text(text: str) -> str:
    """A text without the characters that XML cannot have; the error of a connection may bring any."""
    return _NOT_IN_XML.sub("?", text)
