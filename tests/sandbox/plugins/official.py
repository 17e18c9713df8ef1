"""The recorded behaviour of the official plugins, and the comparison with ours."""

import json
from pathlib import Path
from typing import Any

from tests.sandbox.plugins.bench import Request

DATA = Path(__file__).parent / "data"
ANY = "{any}"


def load(name: str) -> Any:
    """A file of the data folder."""
    return json.loads((DATA / name).read_text())


def filled(value: Any, names: dict[str, Any]) -> Any:
    """`value` with each {name} replaced; a text that is only {name} takes the type of the name."""
    if isinstance(value, dict):
        return {key: filled(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, str):
        whole = value[1:-1]
        if value == f"{{{whole}}}" and whole in names:
            return names[whole]
        for name, known in names.items():
            value = value.replace(f"{{{name}}}", str(known))
    return value


def assert_requests(
    sent: list[Request], recorded: list[Any], names: dict[str, Any], ordered: bool = True
) -> None:
    """Our requests are the official ones, for each cloud in the official order."""
    wanted = [tuple(filled(one, names)) for one in recorded]
    for cloud in ("/v1", "/client/v4"):
        ours = [one for one in sent if one[1].startswith(cloud)]
        theirs = [one for one in wanted if one[1].startswith(cloud)]
        if not ordered:
            ours, theirs = sorted(ours, key=repr), sorted(theirs, key=repr)
        assert [one[:3] for one in ours] == [one[:3] for one in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            assert other[3] == ANY or _canonical(mine[3]) == _canonical(other[3])


def _canonical(body: Any) -> Any:
    return None if body in ({}, "") else body
