"""What `remote.Command` and `local.Command` share: three commands, triggers, the output."""

import secrets
from abc import abstractmethod

from sandbox.plugins.command.output import LOGGING, Output
from sandbox.plugins.errors import PluginError
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Field
from sandbox.plugins.values import UNKNOWN, Props

NoBackend = tuple[()]
"""Commands have no cloud."""

COMMAND_FIELDS = {
    "addPreviousOutputInEnv": Field("boolean"),
    "create": Field("string"),
    "delete": Field("string"),
    "environment": Field("map", items="string"),
    "logging": Field("string", choices=LOGGING),
    "stdin": Field("string"),
    "triggers": Field("list", replace=True),
    "update": Field("string"),
}


class Command(Resource[NoBackend]):
    """Runs `create` once, `update` (else `create`) when an input changed, `delete` at the end."""

    computed = ("stderr", "stdout")

    @abstractmethod
    def run(self, operation: Operation[NoBackend], command: str, props: Props) -> Output:
        """Run one command with the inputs in `props`; `stdout` and `stderr` there are the previous
        run's. Raises PluginError when it fails."""

    def preview(self, inputs: Props, state: Props | None) -> Props:  # noqa: ARG002
        """A run's output is never known before."""
        return dict.fromkeys(self.computed, UNKNOWN) | self.expected(inputs)

    def create(self, operation: Operation[NoBackend], inputs: Props) -> Live:
        """Run `create`, if there is one."""
        outputs = self._run(operation, inputs.get("create"), inputs, {"stderr": "", "stdout": ""})
        return Live(f"{operation.name}{secrets.token_hex(4)}", outputs)

    def read(self, operation: Operation[NoBackend], known: Known) -> Live | None:  # noqa: ARG002
        """Nothing to see: what was run was run."""
        return Live(known.resource_id, known.state)

    def inputs_of(self, live: Props, old_inputs: Props) -> Props:  # noqa: ARG002
        """A refresh changes nothing."""
        return old_inputs

    def update(self, operation: Operation[NoBackend], known: Known, inputs: Props) -> Props:
        """Run `update`, or `create` where there is none."""
        previous = {name: known.state.get(name) or "" for name in self.computed}
        command = inputs.get("update", inputs.get("create"))
        return self._run(operation, command, inputs, previous)

    def delete(self, operation: Operation[NoBackend], known: Known) -> None:
        """Run `delete`, if there is one."""
        if known.state.get("delete"):
            self.run(operation, known.state["delete"], known.state)

    def _run(
        self, operation: Operation[NoBackend], command: str | None, inputs: Props, previous: Props
    ) -> Props:
        if command is None:
            return self.expected(inputs) | previous
        return self.expected(inputs) | self.run(operation, command, inputs | previous).outputs()


def previous_output(props: Props) -> dict[str, str]:
    """PULUMI_COMMAND_STDOUT and _STDERR of the run before, unless they are not wanted."""
    if props.get("addPreviousOutputInEnv") is False:
        return {}
    found = {
        "PULUMI_COMMAND_STDOUT": props.get("stdout"),
        "PULUMI_COMMAND_STDERR": props.get("stderr"),
    }
    return {name: value for name, value in found.items() if value}


def failed(output: Output, reason: str, command: str) -> PluginError:
    """The error of a command that ended badly."""
    return PluginError(output.error(reason, command))
