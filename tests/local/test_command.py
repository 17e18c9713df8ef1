import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.environment import keep
from stacks.settings import CHECKOUT


def test_help_names_every_option() -> None:
    ended = _run("--help")
    assert ended.returncode == 0
    for option in ("--dir", "--port", "--machines", "nspawn", "api-only"):
        assert option in ended.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--port", "eighty"), "--port"),
        (("--machines", "vmware"), "--machines"),
        (("--dir",), "--dir"),
        (("elsewhere",), "elsewhere"),
    ],
)
def test_a_wrong_argument_is_named_with_the_usage(words: tuple[str, ...], named: str) -> None:
    ended = _run(*words)
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: python -m local")
    assert named in ended.stderr.splitlines()[-1]


def test_half_given_credentials_stop_it_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = _run("--dir", str(folder), "--port", "0", STRIPE_SECRET_KEY="sk_test_1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: set: STRIPE_SECRET_KEY; not set: HETZNER_API_TOKEN, ")
    assert len(ended.stderr.splitlines()) == 1
    assert "sk_test_1" not in ended.stderr
    assert not (folder / "keys.json").exists()


def test_a_port_in_use_is_named_with_the_way_out_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = _run("--dir", str(tmp_path / "run"), "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: Port {port} on 127.0.0.1 can't be used")
    assert "--port" in ended.stderr
    assert not (tmp_path / "run" / "sandbox").exists()


def test_the_environment_of_what_was_started_is_printed_as_exports(tmp_path: Path) -> None:
    before = _run("env", "--dir", str(tmp_path))
    assert (before.returncode, before.stdout) == (1, "")
    assert "make run" in before.stderr
    keep(tmp_path, {"CLAWDET_WEB_URL": "http://localhost:1", "PASSPHRASE": "two words"})
    after = _run("env", "--dir", str(tmp_path))
    assert after.stdout == (
        "export CLAWDET_WEB_URL=http://localhost:1\nexport PASSPHRASE='two words'\n"
    )
    assert (tmp_path / "environment.json").stat().st_mode & 0o777 == 0o600


def test_flask_without_settings_names_them_without_a_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "flask", "users", "list"],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    assert "not set: ANTHROPIC_API_KEY, " in ended.stderr
    assert "Traceback" not in ended.stderr


def _run(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "local", *words],
        env=os.environ | {"COLUMNS": "200"} | more,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
