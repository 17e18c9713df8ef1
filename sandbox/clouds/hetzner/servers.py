"""Servers: list, create, read, change, delete."""

import secrets

from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from sandbox.clouds.hetzner.actions import Actions
from sandbox.clouds.hetzner.cloud import SERVER, Cloud
from sandbox.clouds.hetzner.errors import locked, protected, uniqueness_error
from sandbox.clouds.hetzner.inputs import read_body
from sandbox.clouds.hetzner.listing import answer_list, narrowed
from sandbox.clouds.hetzner.routes import Routes
from sandbox.clouds.hetzner.server_bodies import NewServer, ServerChange
from sandbox.clouds.hetzner.server_create import plan, write
from sandbox.clouds.hetzner.server_view import name_is_taken, view


class Servers:
    """All verbs of /servers."""

    def __init__(self, cloud: Cloud, actions: Actions) -> None:
        self._cloud = cloud
        self._actions = actions

    def routes(self) -> Routes:
        """The endpoints."""
        return [
            ("GET", "/servers", self.list_all),
            ("POST", "/servers", self.create),
            ("GET", "/servers/<int:id_>", self.get),
            ("PUT", "/servers/<int:id_>", self.update),
            ("DELETE", "/servers/<int:id_>", self.delete),
        ]

    def list_all(self) -> Response:
        """Servers by name, status or labels."""
        servers = [view(self._cloud, s) for s in narrowed(self._cloud.store.all(SERVER), "name")]
        return answer_list("servers", narrowed(servers, "status", labels=False))

    def get(self, id_: int) -> Response:
        """One server."""
        return jsonify({"server": view(self._cloud, self._cloud.must_get(SERVER, id_))})

    def create(self) -> ResponseReturnValue:
        """Make a server. Without SSH keys the answer holds a root password, as the vendor's does;
        no machine of the sandbox accepts it: put a key into user-data or `ssh_keys`."""
        body = read_body(NewServer)
        with self._cloud.store.transaction():
            planned = plan(self._cloud, body)
            server = write(self._cloud, planned)
            about, held = ("server", server["id"]), {"holds": server["id"]}
            sequence = [self._actions.add("create_server", about, work=held)]
            if server["_start"]:
                start = self._actions.add("start_server", about, after=sequence[0], work=held)
                sequence.append(start)
            shown = view(self._cloud, server)
        self._actions.launch(*sequence)
        answer = {
            "server": shown,
            "action": self._actions.view(sequence[0]),
            "next_actions": [self._actions.view(action) for action in sequence[1:]],
            "root_password": None if planned.ssh_keys else secrets.token_urlsafe(15),
        }
        return jsonify(answer), 201

    def update(self, id_: int) -> Response:
        """Change name or labels."""
        body = read_body(ServerChange)
        with self._cloud.store.transaction():
            server = self._cloud.must_get(SERVER, id_)
            server |= body.model_dump(exclude_none=True)
            if name_is_taken(self._cloud, server["name"], id_):
                raise uniqueness_error("server name is already used", "name")
            self._cloud.store.put(SERVER, id_, server)
        return jsonify({"server": view(self._cloud, server)})

    def delete(self, id_: int) -> ResponseReturnValue:
        """Remove the server, its addresses and its backups; gone when the action is done."""
        with self._cloud.store.transaction():
            server = self._cloud.must_get(SERVER, id_)
            if server["protection"]["delete"]:
                raise protected("server")
            if server["locked"]:
                raise locked()
            self._cloud.store.put(SERVER, id_, {**server, "locked": True, "_phase": "deleting"})
            action = self._actions.add("delete_server", ("server", id_), work={"holds": id_})
        self._actions.launch(action)
        return jsonify({"action": self._actions.view(action)}), 200
