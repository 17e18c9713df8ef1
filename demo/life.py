"""One server's life as operators see it: made, left alone, damaged, repaired, replaced, ended."""

import json
import time
from dataclasses import dataclass

import cloudflare
import hcloud
from rich.console import Console

from demo.steps import Steps, expect
from sandbox.supervisor import Sandbox
from stacks import outside, render
from stacks.errors import NeedsApproval
from stacks.events import RECORD_TYPE, SERVER_TYPE, Progress
from stacks.operations import Result, Stacks
from stacks.settings import Settings

SLUG = "alice"
END_S = 120.0


@dataclass
class Life:
    """What the steps share. `real`: servers are real machines, so the install is shown too."""

    console: Console
    steps: Steps
    sandbox: Sandbox
    settings: Settings
    real: bool

    def __post_init__(self) -> None:
        self.stacks = Stacks(self.settings)

    def run(self) -> None:
        """From nothing to nothing; raises at the first step that does not hold."""
        self._born()
        self.middle()
        self._destroyed()

    def middle(self) -> None:
        """What happens to a stack that is there: nothing, damage, repair, replacement."""
        self._left_alone()
        self._record_deleted()
        self._server_deleted()

    def ended(self) -> None:
        """Wait until neither cloud nor machine holds anything, and nothing is left of the stack."""
        with self.steps.step("the end: neither cloud nor machine holds anything") as remark:
            deadline = time.monotonic() + END_S
            while self._left() or SLUG in self.stacks.names():
                expect(time.monotonic() < deadline, f"all is gone, yet: {self._left()}")
                time.sleep(0.5)
            remark("no server, no record, no certificate, no machine")

    # -- the steps -------------------------------------------------------------------------

    def _born(self) -> None:
        with self.steps.step("init: keys, tokens, configuration"):
            self.stacks.init(SLUG, install=self.real)
        with self.steps.step("preview") as remark:
            plan = self.stacks.preview(SLUG)
            render.print_changes(self.console, plan.changes)
            expect(plan.counts.keys() == {"create"}, "a first preview only creates")
            expect(not self._servers(), "a preview creates nothing")
            remark(f"{len(plan.changes)} resources would be made")
        with self.steps.step("up") as remark:
            result = self.stacks.up(SLUG, on_progress=self._tell)
            outputs = result.outputs
            expect(len(self._servers()) == 1, "there is one server")
            remark(f"{outputs['hostname']} in {outputs['location']} at {outputs['ipv4']}")

    def _left_alone(self) -> None:
        with self.steps.step("a second up changes nothing") as remark:
            result = self.stacks.up(SLUG)
            expect(not result.changed, f"nothing is to be changed, yet: {result.changes}")
            remark(f"{result.counts.get('same', 0)} resources the same")

    def _record_deleted(self) -> None:
        with self.steps.step(
            "DNS record deleted by hand; drift finds it, writes nothing"
        ) as remark:
            self._delete_record()
            self._expect_drift(RECORD_TYPE, "delete")
            remark("found by a read-only refresh")
        with self.steps.step("repair: up --refresh makes the record again"):
            result = self.stacks.up(SLUG, refresh=True, on_progress=self._tell)
            made = {c.type for c in result.changes if c.op == "create"}
            expect(made == {RECORD_TYPE}, f"only the record is made again, not {made}")
            expect(not self.stacks.drift(SLUG).changed, "no drift is left")
        self._check_again()

    def _server_deleted(self) -> None:
        with self.steps.step("server deleted by hand; drift finds it, writes nothing") as remark:
            before = self._servers()
            self._delete_server()
            self._expect_drift(SERVER_TYPE, "delete")
            remark("found by a read-only refresh")
        with self.steps.step("repair stops at the guard: a server would be made anew") as remark:
            state = self._state()
            try:
                self.stacks.up(SLUG, refresh=True)
            except NeedsApproval as stop:
                remark(str(stop))
            else:
                expect(False, "making a server anew needs an approval")
            expect(state == self._state() and not self._servers(), "nothing was touched")
        with self.steps.step("approved: a new server, installed from scratch") as remark:
            result = self.stacks.up(
                SLUG, refresh=True, approve_server_change=True, on_progress=self._tell
            )
            expect(len(self._servers()) == 1 and self._servers() != before, "one new server")
            remark(f"server {result.outputs['serverId']}")
        self._check_again()

    def _destroyed(self) -> None:
        with self.steps.step("destroy: neither cloud nor machine holds anything") as remark:
            self.stacks.destroy(SLUG, on_progress=self._tell)
            expect(not self._left(), f"nothing is left, yet: {self._left()}")
            self.stacks.remove(SLUG)
            remark("no server, no record, no certificate, no machine")

    # -- helpers ---------------------------------------------------------------------------

    def _check_again(self) -> None:
        if self.real:
            with self.steps.step("check from outside again"):
                token = self.stacks.secrets(SLUG).gateway_token
                for check in outside.check_instance(self.settings.instance_url(SLUG), SLUG, token):
                    self.console.print(f"  ok  {check.what}", highlight=False)

    def _expect_drift(self, kind: str, op: str) -> Result:
        state = self._state()
        drift = self.stacks.drift(SLUG)
        render.print_changes(self.console, drift.changes)
        found = {(c.type, c.op) for c in drift.changes}
        expect((kind, op) in found, f"drift should show {op} of {kind}, shows {found}")
        expect(state == self._state(), "a drift check writes no state")
        return drift

    def _tell(self, progress: Progress) -> None:
        render.print_progress(self.console, progress)

    def _state(self) -> str:
        return json.dumps(self.stacks.export(SLUG), sort_keys=True)

    def _hetzner(self) -> hcloud.Client:
        return hcloud.Client(
            self.settings.hetzner_api_token.get_secret_value(),
            api_endpoint=self.settings.hetzner_endpoint,
            poll_interval=0.1,
        )

    def _cloudflare(self) -> cloudflare.Cloudflare:
        return cloudflare.Cloudflare(
            api_token=self.settings.cloudflare_api_token.get_secret_value(),
            base_url=self.settings.cloudflare_base_url,
        )

    def _servers(self) -> list[int]:
        return [int(server.id or 0) for server in self._hetzner().servers.get_all()]

    def _records(self) -> list[str]:
        found = self._cloudflare().dns.records.list(zone_id=self.settings.cloudflare_zone_id)
        return [str(record.id) for record in found]

    def _left(self) -> list[object]:
        """Servers, records, machines that still exist."""
        machines = self.sandbox.running.directory / "machines" / "servers"
        there = list(machines.iterdir()) if machines.exists() else []
        return [*self._servers(), *self._records(), *there]

    def _delete_record(self) -> None:
        for record in self._records():
            self._cloudflare().dns.records.delete(record, zone_id=self.settings.cloudflare_zone_id)

    def _delete_server(self) -> None:
        for server in self._hetzner().servers.get_all():
            server.delete().wait_until_finished()
