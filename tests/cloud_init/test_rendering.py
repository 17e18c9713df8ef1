"""From a document to one customer's files."""

import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sandbox.downloads import artifacts
from tests.cloud_init.documents import INSTALL, Document, make_document


def render(document: Document, directory: Path) -> Path:
    done = _run("render.py", document, str(directory))
    assert done.returncode == 0, done.stderr
    return directory


def _run(program: str, document: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = document if isinstance(document, str) else json.dumps(document)
    return subprocess.run(
        [sys.executable, INSTALL / program, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"slug": "Alice Smith"}, "parameter slug is malformed"),
        ({"slug": None}, "parameter slug is missing"),
        ({"hostname": "alice.clawdet.com; reboot"}, "parameter hostname is malformed"),
        ({"gateway_token": ""}, "parameter gateway_token is malformed"),
        ({"gateway_token": "s3cret'\nPATH=x"}, "parameter gateway_token is malformed"),
        ({"anthropic_api_key": 7}, "parameter anthropic_api_key is malformed"),
        ({"origin_key": "s3cret"}, "parameter origin_key is malformed"),
        ({"release": {"release": "1"}}, "parameter release.node.version is missing"),
        ({"model_base_url": "file:///etc"}, "parameter model_base_url is malformed"),
    ],
)
def test_a_document_that_is_wrong_is_refused_by_the_fields_name_only(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    for program in ("parameters.py", "render.py"):
        done = _run(program, make_document(**changes), str(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (1, "", problem + "\n")


def test_something_else_than_json_is_refused_without_being_repeated() -> None:
    done = _run("parameters.py", "token=s3cret")
    assert done.returncode == 1
    assert done.stderr == "the parameters on standard input are not JSON\n"


def test_the_shell_gets_every_value_as_it_is() -> None:
    document = make_document(gateway_token="a$(reboot)`b`&c;d")
    done = _run("parameters.py", document)
    values = dict(word.split("=", 1) for word in shlex.split(done.stdout))
    assert values["GATEWAY_TOKEN"] == "a$(reboot)`b`&c;d"
    assert values["RELEASE_NODE_URL"] == document["release"]["node"]["url"]
    assert values["ORIGIN_KEY"] == document["origin_key"]


def test_the_gateways_environment_holds_token_and_key(tmp_path: Path) -> None:
    document = make_document()
    text = (render(document, tmp_path) / "gateway.env").read_text()
    assert text == (
        f"OPENCLAW_GATEWAY_TOKEN='{document['gateway_token']}'\n"
        f"ANTHROPIC_API_KEY='{document['anthropic_api_key']}'\n"
    )


def test_secrets_are_in_no_other_file(tmp_path: Path) -> None:
    document = make_document()
    directory = render(document, tmp_path)
    for path in directory.rglob("*"):
        if path.is_file() and path.name != "gateway.env":
            assert document["gateway_token"] not in path.read_text()
            assert document["anthropic_api_key"] not in path.read_text()


def test_openclaw_trusts_its_proxy_and_its_own_name_only(tmp_path: Path) -> None:
    config = json.loads((render(make_document(), tmp_path) / "openclaw.json").read_text())
    gateway = config["always"]["gateway"]
    assert gateway["trustedProxies"] == ["127.0.0.2"]
    assert gateway["auth"] == {"mode": "token"}
    assert gateway["controlUi"] == {
        "basePath": "/gateway",
        "allowedOrigins": ["https://alice.clawdet.com"],
    }
    assert "models" not in config["always"]


def test_the_model_can_be_asked_at_another_address(tmp_path: Path) -> None:
    document = make_document(model_base_url="http://10.77.0.1:18080/anthropic")
    config = json.loads((render(document, tmp_path) / "openclaw.json").read_text())
    provider = config["always"]["models"]["providers"]["anthropic"]
    assert provider["baseUrl"] == "http://10.77.0.1:18080/anthropic"
    assert provider["api"] == "anthropic-messages"


class _Links(HTMLParser):
    """Collects every address that a page refers to, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                (self.linked if tag == "a" else self.loaded).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_landing_page_says_whose_it_is_and_opens_the_gateway(tmp_path: Path) -> None:
    page = _Links((render(make_document("bob-7"), tmp_path) / "www/index.html").read_text())
    assert "bob-7" in page.text
    assert "bob-7.clawdet.com" in page.text
    assert "/gateway/" in page.linked


def test_the_landing_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    directory = render(make_document(), tmp_path) / "www"
    page = _Links((directory / "index.html").read_text())
    assert page.loaded
    for address in page.loaded:
        assert (directory / address.removeprefix("/")).is_file()
    assert not re.search(r"url\(|@import|https?:", (directory / "style.css").read_text())
    for path in directory.iterdir():
        assert "{{" not in path.read_text()


def test_the_mark_is_a_single_path() -> None:
    assert (INSTALL / "www/favicon.svg").read_text().count("<path") == 1


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Caddy that the sandbox's machines get."""
    directory = tmp_path_factory.mktemp("caddy")
    subprocess.run(["tar", "-xzf", artifacts.ensure(print).caddy.path, "-C", directory], check=True)
    return directory / "caddy"


def test_caddy_accepts_its_configuration(caddy: Path, tmp_path: Path) -> None:
    directory = render(make_document(), tmp_path)
    caddyfile = directory / "Caddyfile"
    caddyfile.write_text(caddyfile.read_text().replace("/etc/caddy/", f"{directory}/"))
    done = subprocess.run(
        [caddy, "validate", "--config", caddyfile, "--adapter", "caddyfile"],
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


def test_rendering_again_writes_the_same_bytes(tmp_path: Path) -> None:
    document = make_document()
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
        render(document, directory)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(names) == 8
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
