"""What makes no sense, is refused or is broken: one clear message, and a stack that can go on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stacks.errors import OperationFailed, Refused, StackError, UnknownStack, UsageError
from stacks.operations import Stacks
from stacks.settings import CHECKOUT
from tests.stacks.outside import Outside
from tests.stacks.workplace import Workplace

pytestmark = pytest.mark.engine

NOBODY_LISTENS = "http://127.0.0.1:1"

EVERY_OPERATION: dict[str, Callable[[Stacks, str], object]] = {
    "preview": Stacks.preview,
    "up": Stacks.up,
    "refresh": Stacks.refresh,
    "drift": Stacks.drift,
    "destroy": Stacks.destroy,
    "cancel": Stacks.cancel,
    "outputs": Stacks.outputs,
    "history": Stacks.history,
    "export": Stacks.export,
    "import": lambda stacks, slug: stacks.import_(slug, {}),
    "configure": Stacks.configure,
    "secrets": Stacks.secrets,
    "remove": Stacks.remove,
}
NEEDS_THE_PASSPHRASE = ("preview", "up", "destroy", "configure", "secrets")


@pytest.mark.parametrize("slug", ["Alice", "a_b", "-a", "", "../etc", "www"])
def test_a_malformed_or_reserved_name_is_refused_before_anything_is_made(
    place: Workplace, slug: str
) -> None:
    stacks = place.stacks()
    for operation in (Stacks.init, *EVERY_OPERATION.values()):
        with pytest.raises(UsageError):
            operation(stacks, slug)
    assert place.files() == {}


def test_an_unknown_stack_is_named_with_the_way_to_make_it(place: Workplace) -> None:
    stacks = place.stacks()
    for operation in EVERY_OPERATION.values():
        with pytest.raises(UnknownStack, match="no stack 'ghost'") as stop:
            operation(stacks, "ghost")
        assert stop.value.remedy == "create it: python -m stacks init ghost"
    assert place.files() == {}


def test_a_stack_is_made_only_once(place: Workplace) -> None:
    stacks = place.initialised("alice")
    token = stacks.secrets("alice").gateway_token
    with pytest.raises(UsageError, match="stack 'alice' exists"):
        stacks.init("alice", install=False)
    assert stacks.secrets("alice").gateway_token == token


def test_without_a_passphrase_nothing_begins(place: Workplace) -> None:
    with pytest.raises(UsageError, match="PULUMI_CONFIG_PASSPHRASE"):
        place.stacks(pulumi_config_passphrase="")


def test_a_wrong_passphrase_is_named_and_does_no_harm(place: Workplace, outside: Outside) -> None:
    right = place.made("alice")
    wrong = place.stacks(pulumi_config_passphrase="not the one")
    state = place.state("alice")
    for name in NEEDS_THE_PASSPHRASE:
        with pytest.raises(UsageError, match="PULUMI_CONFIG_PASSPHRASE is not the one") as stop:
            EVERY_OPERATION[name](wrong, "alice")
        assert "not the one that alice was made with" in str(stop.value)
    assert place.state("alice") == state
    assert not right.up("alice").changed


@pytest.mark.parametrize(
    ("cloud", "variable", "wrong"),
    [
        ("Hetzner", "hetzner_api_token", "f" * 64),
        ("Cloudflare", "cloudflare_api_token", "f" * 40),
    ],
)
def test_a_token_that_is_refused_is_named_and_configure_mends_it(
    place: Workplace, outside: Outside, cloud: str, variable: str, wrong: str
) -> None:
    changed: dict[str, Any] = {variable: wrong}
    bad, good = place.stacks(**changed), place.made("alice")
    place.initialised("bob")
    with pytest.raises(Refused, match=f"{cloud} refused the token"):
        bad.up("bob")
    assert len(outside.servers()) == 1

    bad.configure("alice", install=False)
    for operation in (bad.drift, bad.destroy):
        with pytest.raises(Refused, match=f"{cloud} refused the token") as stop:
            operation("alice")
        assert variable.upper() in stop.value.remedy
    good.configure("alice", install=False)
    good.destroy("alice")
    assert outside.is_empty()


@pytest.mark.parametrize("variable", ["hetzner_api_token", "cloudflare_api_token"])
def test_a_malformed_token_is_refused_without_being_shown(place: Workplace, variable: str) -> None:
    changed: dict[str, Any] = {variable: "cut-short"}
    stacks, said = place.stacks(**changed), []
    stacks.init("alice", install=False)
    with pytest.raises(UsageError, match="a token of alice is malformed") as stop:
        stacks.preview("alice", on_progress=lambda progress: said.append(progress.text))
    assert any("characters long" in text for text in said)
    assert "cut-short" not in f"{stop.value}{stop.value.remedy}{said}"


def test_missing_settings_are_all_named(place: Workplace) -> None:
    stacks = place.stacks(hetzner_api_token="", cloudflare_api_token="", cloudflare_zone_id="")
    with pytest.raises(UsageError, match="HETZNER_API_TOKEN, CLOUDFLARE_API_TOKEN, CLOUDFLARE_ZO"):
        stacks.init("alice", install=False)
    assert place.files() == {}


@pytest.mark.parametrize(
    ("cloud", "variable", "path"),
    [
        ("Hetzner", "hetzner_endpoint", "/v1"),
        ("Cloudflare", "cloudflare_base_url", "/client/v4/"),
    ],
)
def test_a_cloud_that_is_not_there_is_named(
    place: Workplace, outside: Outside, cloud: str, variable: str, path: str
) -> None:
    changed: dict[str, Any] = {variable: NOBODY_LISTENS + path}
    stacks = place.stacks(**changed)
    stacks.init("alice", install=False)
    with pytest.raises(OperationFailed, match=f"{cloud} can't be reached: Connection ref") as stop:
        stacks.up("alice")
    assert variable.upper() in stop.value.remedy
    assert outside.servers() == []


def test_an_unknown_server_type_or_image_is_named(place: Workplace, outside: Outside) -> None:
    place.initialised("alice")
    odd = place.stacks(clawdet_server_type="cpx99")
    with pytest.raises(UsageError, match="no server type 'cpx99'") as stop:
        odd.up("alice")
    assert "CLAWDET_SERVER_TYPE" in stop.value.remedy
    odd = place.stacks(clawdet_image="windows-11")
    odd.configure("alice", install=False)
    with pytest.raises(OperationFailed, match=r"image windows-11 .*not found"):
        odd.up("alice")
    good = place.stacks()
    good.configure("alice", install=False)
    good.up("alice")
    odd = place.stacks(clawdet_server_type="cpx99")
    odd.configure("alice", install=False)
    with pytest.raises(UsageError, match="no server type 'cpx99'"):
        odd.up("alice")
    assert outside.server("alice").status == "running"


def test_a_broken_document_is_not_imported(place: Workplace, outside: Outside) -> None:
    stacks = place.made("alice")
    place.initialised("bob")
    good, state = stacks.export("alice"), place.state("alice")
    deep = json.loads(json.dumps(good))
    deep["deployment"]["resources"][3].pop("type")
    broken: list[dict[str, Any]] = [
        {},
        {"version": 3},
        {"version": 99, "deployment": good["deployment"]},
        {"version": 3, "deployment": "none"},
        deep,
        {**stacks.export("bob"), "deployment": good["deployment"]},
    ]
    for document in broken[:-1]:
        with pytest.raises(UsageError, match="no state of alice"):
            stacks.import_("alice", document)
    with pytest.raises(UsageError, match=r"no state of bob: .*different stack"):
        stacks.import_("bob", broken[-1])
    assert place.state("alice") == state


def test_a_folder_that_is_no_project_is_named(place: Workplace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no Clawdet project") as stop:
        place.stacks(clawdet_project=tmp_path)
    assert "CLAWDET_PROJECT" in stop.value.remedy


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///proc/nowhere/state", "can't use /proc/nowhere"),
        ("file://{}/in/the/way", "can't use .*: Not a directory"),
        ("gopher://nowhere", "the state backend can't be used"),
    ],
)
def test_a_state_backend_that_cannot_be_used_is_named(
    place: Workplace, tmp_path: Path, url: str, words: str
) -> None:
    (tmp_path / "file").touch()
    stacks = place.stacks(pulumi_backend_url=url.format(tmp_path / "file"))
    with pytest.raises(StackError, match=words) as stop:
        stacks.init("alice", install=False)
    assert "PULUMI_BACKEND_URL" in stop.value.remedy


FULL_DISK = """
import json, os
from stacks.engine import find
from stacks.errors import StackError
from stacks.fetching import cache_dir
from stacks.operations import Stacks
from stacks.settings import Settings

def fill(room):
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    os.truncate(filler, max(0, filler.stat().st_size - room))

stacks = Stacks(Settings.read(), find(cache_dir()))
filler = stacks.settings.state_dir / "filler"
stacks.init("alice", install=False)
said = []
for room in (0, 16384):
    fill(room)
    for operation in (stacks.configure, stacks.up):
        try:
            operation("alice")
        except StackError as error:
            said.append([str(error), error.remedy])
    filler.unlink()
stacks.up("alice")
print(json.dumps({"said": said, "changed": stacks.up("alice").changed}))
"""


def test_a_full_disk_is_named_and_the_next_up_goes_on(place: Workplace, outside: Outside) -> None:
    """In a small file system of its own, in a mount namespace of its own."""
    alone = ["unshare", "-m"] if is_root() else ["unshare", "-Urm"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system: neither root nor user namespaces")
    folder = place.directory / ".clawdet"
    folder.mkdir()
    script = f'mount -t tmpfs -o size=1m none "{folder}" && exec "$@"'
    ran = subprocess.run(
        [*alone, "sh", "-c", script, "sh", sys.executable, "-c", FULL_DISK],
        cwd=CHECKOUT, env=place.environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(found["said"]) >= 2
    for message, remedy in found["said"]:
        assert message.startswith("the disk is full")
        assert "free some space" in remedy
    assert not found["changed"]
    assert len(outside.servers()) == len(outside.records()) == len(outside.certificates()) == 1


def is_root() -> bool:
    return os.geteuid() == 0
