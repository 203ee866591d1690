"""Rules of who may log in without having been invited: how they are read, and whom they mean."""

from typing import Any

import pytest

from askonce.domain.accounts import Claims
from askonce.domain.admittance import Rule, admitted, read_rule

ADA = Claims("https://id.example", "1", "Ada@Example.ORG", "Ada")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("@Example.org=acme", Rule("acme", ("use",), domain="example.org")),
        ("@example.org=acme:report+use", Rule("acme", ("use", "report"), domain="example.org")),
        (" groups:llm admins=acme:admin ", Rule("acme", ("admin",), claim="groups", value="llm admins")),
        (
            "https://id.example/roles:a:b=acme:root",
            Rule("acme", ("root",), claim="https", value="//id.example/roles:a:b"),
        ),
        ("*=guests", Rule("guests")),
    ],
)
def test_a_rule_is_read(text: str, rule: Rule) -> None:
    assert read_rule(text) == rule


@pytest.mark.parametrize(
    "text", ["", "acme", "@=acme", "*=", "*=acme:", "*=acme:god", "*=a b", ":x=acme", "groups:=acme"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rules such as"):
        read_rule(text)


@pytest.mark.parametrize(
    ("rule", "told", "fits"),
    [
        ("@example.org=t", {}, True),
        ("@ample.org=t", {}, False),
        ("@sub.example.org=t", {}, False),
        ("groups:llm=t", {"groups": ["staff", "llm"]}, True),
        ("groups:llm=t", {"groups": "llm"}, True),
        ("groups:llm=t", {"groups": "llm-other"}, False),
        ("groups:llm=t", {"groups": ["llm-other"]}, False),
        ("groups:None=t", {}, False),
        ("level:3=t", {"level": 3}, True),
        ("*=t", {}, True),
    ],
)
def test_a_rule_means_whom_it_names(rule: str, told: dict[str, Any], fits: bool) -> None:
    assert read_rule(rule).fits(ADA, told) == fits


def test_the_first_rule_that_fits_speaks() -> None:
    rules = [read_rule(text) for text in ("@other.example=a", "groups:x=b:admin", "*=c")]
    assert admitted(rules, ADA, {"groups": ["x"]}) == rules[1]
    assert admitted(rules, ADA, {}) == rules[2]
    assert admitted(rules[:2], ADA, {}) is None
