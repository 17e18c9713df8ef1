"""The downloads as the machines get them: over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from sandbox.clouds.store import Store
from sandbox.clouds.world import Credentials, World
from sandbox.downloads import artifacts, service
from sandbox.machines.api_only import ApiOnlyMachines


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    store = Store(tmp_path / "clouds.sqlite")
    world = World(
        store=store,
        machines=ApiOnlyMachines(tmp_path / "machines"),
        credentials=Credentials.load_or_make(tmp_path / "credentials.json"),
        directory=tmp_path,
    )
    app = Flask("downloads", static_folder=None)
    app.register_blueprint(service.blueprint(world), url_prefix="/downloads")
    with app.test_client() as client:
        yield client
    store.close()


def test_an_artifact_comes_whole_with_its_length(client: FlaskClient) -> None:
    path = artifacts.ensure(print).caddy.path
    with client.get(f"/downloads/{path.name}") as response:
        assert response.status_code == 200
        assert response.content_length == path.stat().st_size
        assert response.data == path.read_bytes()


def test_a_download_that_was_cut_can_go_on(client: FlaskClient) -> None:
    path = artifacts.ensure(print).caddy.path
    headers = {"Range": "bytes=1000-1999"}
    with client.get(f"/downloads/{path.name}", headers=headers) as response:
        assert response.status_code == 206
        assert response.headers["Content-Range"] == f"bytes 1000-1999/{path.stat().st_size}"
        assert response.data == path.read_bytes()[1000:2000]


def test_an_unknown_file_is_named_in_the_answer(client: FlaskClient) -> None:
    response = client.get("/downloads/node-v1.tar.gz")
    assert response.status_code == 404
    assert response.json == {
        "error": {"code": "not_found", "message": "there is no node-v1.tar.gz here"}
    }


def test_a_file_that_was_not_made_yet_says_how_to_make_it(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = artifacts.ensure(print).node.path.name
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    response = client.get(f"/downloads/{name}")
    assert response.status_code == 404
    assert "has not been made yet; `make setup`" in response.text


def test_nothing_outside_the_artifacts_is_served(client: FlaskClient) -> None:
    assert client.get("/downloads/..%2f..%2fetc%2fpasswd").status_code == 404
