"""Labels and label selectors, by Hetzner's rules (which are those of Kubernetes)."""

import re
from collections.abc import Callable, Mapping

from sandbox.clouds.hetzner.errors import invalid_input

NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
KEY = r"(?P<key>[^\s!=,()]+)"
EXISTS = re.compile(rf"(?P<not>!?)\s*{KEY}")
EQUALS = re.compile(rf"{KEY}\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=,()]*)")
AMONG = re.compile(rf"{KEY}\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
# A comma separates terms unless it stands inside parentheses.
TERMS = re.compile(r",(?![^(]*\))")

Labels = Mapping[str, str]
Predicate = Callable[[Labels], bool]


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    """The labels as given; ValueError where a key or value breaks the rules."""
    for key, value in labels.items():
        if not _is_key(key):
            raise ValueError(f"label key '{key}' is not correctly formatted")
        if value and not NAME.fullmatch(value):
            raise ValueError(f"label value '{value}' (key: {key}) is not correctly formatted")
    return labels


def selector(text: str) -> Predicate:
    """A selector such as `env=prod,tier in (web, api),!legacy` as a test of labels.

    Raises ApiError invalid_input where the text is no selector.
    """
    terms = [_term(part.strip()) for part in TERMS.split(text)] if text.strip() else []
    return lambda labels: all(term(labels) for term in terms)


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not PREFIX.fullmatch(prefix):
        return False
    return NAME.fullmatch(name) is not None


def _term(text: str) -> Predicate:
    for pattern, build in ((AMONG, _among), (EQUALS, _equals), (EXISTS, _exists)):
        match = pattern.fullmatch(text)
        if match and _is_key(match["key"]):
            return build(match)
    raise invalid_input({"label_selector": [f"'{text}' is not a valid selector"]})


def _exists(match: re.Match[str]) -> Predicate:
    key, wanted = match["key"], not match["not"]
    return lambda labels: (key in labels) is wanted


def _equals(match: re.Match[str]) -> Predicate:
    key, value, wanted = match["key"], match["value"], match["op"] != "!="
    return lambda labels: (labels.get(key) == value) is wanted


def _among(match: re.Match[str]) -> Predicate:
    key, wanted = match["key"], match["op"] == "in"
    values = {value.strip() for value in match["values"].split(",")}
    return lambda labels: (labels.get(key) in values) is wanted
