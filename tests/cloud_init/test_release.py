"""The default release and the lock file it installs from."""

import json
import re
from typing import Any

import pytest

from tests.cloud_init.documents import CLOUD_INIT, INSTALL

RELEASE: dict[str, Any] = json.loads((CLOUD_INIT / "release.json").read_text())
PACKAGE = INSTALL / "openclaw" / RELEASE["openclaw"]["package"]
LOCK: dict[str, Any] = json.loads((PACKAGE / "package-lock.json").read_text())


@pytest.mark.parametrize("name", ["node", "caddy"])
def test_a_download_is_official_and_names_its_version_and_checksum(name: str) -> None:
    part = RELEASE[name]
    assert set(part) == {"version", "url", "checksum"}
    assert re.match(r"https://(nodejs\.org|github\.com/caddyserver/caddy)/", part["url"])
    assert part["url"].count(part["version"]) == 2
    assert re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", part["checksum"])


def test_the_lock_file_holds_the_releases_openclaw() -> None:
    wanted = RELEASE["openclaw"]["version"]
    package = json.loads((PACKAGE / "package.json").read_text())
    assert package["dependencies"]["openclaw"] == wanted
    assert LOCK["packages"]["node_modules/openclaw"]["version"] == wanted
    assert RELEASE["release"].startswith(wanted)


def test_every_locked_package_has_a_checksum_and_no_registry() -> None:
    packages = {path: entry for path, entry in LOCK["packages"].items() if path}
    assert len(packages) > 100
    for path, entry in packages.items():
        assert "resolved" not in entry, path
        if not entry.get("inBundle"):
            assert entry["integrity"].startswith("sha512-"), path


def test_whatsapps_library_comes_from_the_registry_and_not_from_git() -> None:
    assert LOCK["packages"]["node_modules/libsignal"]["version"] == "6.0.0"
