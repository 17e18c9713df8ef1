"""What a provider and each of its resources must know; the gRPC service asks them."""

import hashlib
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sandbox.plugins.diffing import Change, Diff, Difference, compare
from sandbox.plugins.engine import Engine
from sandbox.plugins.errors import PluginError
from sandbox.plugins.schema import Failure, Field, check_fields, snake, with_defaults
from sandbox.plugins.values import UNKNOWN, Props

Backend = TypeVar("Backend")
"""What a configured provider's resources work with: the client of a cloud."""


@dataclass(frozen=True)
class Operation(Generic[Backend]):
    """One create, read, update or delete under way."""

    backend: Backend
    engine: Engine
    urn: str
    timeout_s: float
    started: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """The resource's name in the program."""
        return self.urn.rsplit("::", 1)[-1]

    def info(self, message: str) -> None:
        """Show a passing status line beside the resource."""
        self.engine.log("info", message, self.urn, passing=True)

    def warning(self, message: str) -> None:
        """Show a warning of this resource."""
        self.engine.log("warning", message, self.urn)

    def wait(self, seconds: float) -> None:
        """Sleep. Raises CancelledError at once when the engine is interrupted, PluginError when the
        resource's own time-out (`custom_timeouts`) is over."""
        self.engine.wait(seconds, self.started + self.timeout_s if self.timeout_s else None)


@dataclass(frozen=True)
class Checked:
    """Inputs as they go into the state, or what is wrong with them."""

    inputs: Props
    failures: list[Failure]


@dataclass(frozen=True)
class Known:
    """A resource as the state remembers it; an import knows nothing but the id."""

    resource_id: str
    inputs: Props = field(default_factory=dict)
    state: Props = field(default_factory=dict)


@dataclass(frozen=True)
class Live:
    """A resource as its cloud shows it."""

    resource_id: str
    outputs: Props


class Resource(ABC, Generic[Backend]):
    """One type of resource."""

    token: str
    fields: Mapping[str, Field]
    computed: tuple[str, ...] = ()
    """Outputs that are no inputs: unknown in the preview of a create."""
    volatile: tuple[str, ...] = ()
    """Outputs that every update changes."""
    named = False
    """A name is made up when the program gives none."""
    records_defaults = False
    """Inputs we made up are listed in `__defaults`, as plugins on Terraform's SDK v2 do."""

    def check(self, where: str, old: Props, new: Props, seed: bytes) -> Checked:
        """Check new inputs; `where` is the resource's name, `old` what went into the state."""
        inputs = {key: value for key, value in new.items() if value is not None}
        if self.named and inputs.get("name") is None:
            inputs["name"] = _old_auto_name(old) or auto_name(where, seed)
            if self.records_defaults:
                inputs["__defaults"] = ["name"]
        elif self.records_defaults and "__defaults" not in inputs:
            inputs["__defaults"] = []
        inputs = self.normalise(inputs)
        failures = check_fields(self.fields, inputs, where)
        return Checked(inputs, failures or self.check_more(inputs))

    def normalise(self, inputs: Props) -> Props:
        """The inputs as they go into the state."""
        return inputs

    def check_more(self, inputs: Props) -> list[Failure]:  # noqa: ARG002  (a hook)
        """What is wrong beyond types; asked only when the types are right."""
        return []

    def diff(self, old_inputs: Props, state: Props, new: Props) -> Diff:
        """What applying `new` would change, compared with the state last seen."""
        paths: dict[str, Difference] = {}
        for name, spec in self.fields.items():
            changes = self.diff_field(name, spec, state, new)
            paths |= {path: Difference(change, spec.replace) for path, change in changes.items()}
        if paths and not any(found.replace for found in paths.values()):
            paths |= {name: Difference(Change.UPDATE) for name in self.volatile}
        return Diff(paths, self._must_delete_first(old_inputs, new))

    def diff_field(self, name: str, spec: Field, state: Props, new: Props) -> dict[str, Change]:
        """What changes in one input."""
        wanted = new.get(name, spec.default)
        if wanted is None and spec.computed:
            return {}
        have, wanted = self.comparable(name, state.get(name), wanted)
        if have is None and wanted is False:
            return {}
        if spec.unordered and isinstance(have, list) and isinstance(wanted, list):
            have, wanted = sorted(have, key=repr), sorted(wanted, key=repr)
        return compare(name, have, wanted)

    def comparable(self, name: str, have: Any, wanted: Any) -> tuple[Any, Any]:  # noqa: ARG002
        """State and input in a form in which equal means the same."""
        return have, wanted

    def preview(self, inputs: Props, state: Props | None) -> Props:
        """The outputs to be expected of a create (`state` None) or an update."""
        if state is not None:
            unknown = dict.fromkeys(self.volatile, UNKNOWN)
            return state | self.expected(inputs) | unknown
        computed = [name for name, spec in self.fields.items() if spec.computed]
        unknown = dict.fromkeys((*self.computed, *computed), UNKNOWN)
        return unknown | self.expected(inputs)

    def expected(self, inputs: Props) -> Props:
        """The inputs as outputs."""
        given = with_defaults(self.fields, inputs)
        return {name: value for name, value in given.items() if name in self.fields}

    def inputs_of(self, live: Props, old_inputs: Props) -> Props:
        """Inputs that would lead to what a cloud shows; on an import `old_inputs` is empty."""
        if not old_inputs:
            return {
                name: live[name]
                for name, spec in self.fields.items()
                if live.get(name) not in (None, "", [], {}, spec.default) and not spec.kept
            }
        refreshed = {
            name: live[name]
            for name in old_inputs
            if name in self.fields and not self.fields[name].kept and name in live
            if self.diff_field(name, self.fields[name], live, old_inputs)
        }
        return old_inputs | refreshed

    def _must_delete_first(self, old_inputs: Props, new: Props) -> bool:
        """A name given by the program can't be held by the old and the new resource at once."""
        if not self.named or old_inputs.get("name") != new.get("name"):
            return False
        if self.records_defaults:
            return "name" not in new.get("__defaults", [])
        return re.search(r"-[0-9a-f]{7}$", str(new.get("name"))) is None

    @abstractmethod
    def create(self, operation: Operation[Backend], inputs: Props) -> Live:
        """Make it. Raises PluginError, or InitFailedError when it exists but isn't finished."""

    @abstractmethod
    def read(self, operation: Operation[Backend], known: Known) -> Live | None:
        """What the cloud shows; None when it is gone."""

    def update(
        self,
        operation: Operation[Backend],  # noqa: ARG002  (most resources override this)
        known: Known,
        inputs: Props,  # noqa: ARG002
    ) -> Props:
        """Make it match `inputs`; its new outputs. By default every change replaces."""
        raise PluginError(f"{self.token} {known.resource_id} can't be changed, only replaced")

    @abstractmethod
    def delete(self, operation: Operation[Backend], known: Known) -> None:
        """Delete it; being gone already is no error."""


class Provider(ABC, Generic[Backend]):
    """One plugin."""

    name: str
    version: str
    config: Mapping[str, Field]
    resources: Mapping[str, Resource[Backend]]

    @abstractmethod
    def check_config(self, config: Props) -> list[Failure]:
        """What is wrong with the provider's settings; unknown ones pass."""

    @abstractmethod
    def configure(self, config: Props) -> Backend:
        """Build what the resources work with. Raises PluginError."""

    def schema(self) -> dict[str, Any]:
        """The part of Pulumi's package schema that `pulumi import` and tools read."""
        return {
            "name": self.name,
            "version": self.version,
            "description": f"Clawdet's stand-in for the official {self.name} plugin",
            "resources": {token: _schema(found) for token, found in self.resources.items()},
        }


def auto_name(where: str, seed: bytes) -> str:
    """A unique name from a resource's: seven hexadecimal digits are added, the same for one seed
    (the engine repeats it from a saved plan)."""
    digits = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(4)
    return f"{where}-{digits[:7]}"


def _old_auto_name(old: Props) -> str | None:
    made_up = "name" in (old.get("__defaults") or ["name"])
    return old.get("name") if made_up else None


def _schema(resource: Resource[Any]) -> dict[str, Any]:
    inputs = {name: _schema_type(spec) for name, spec in resource.fields.items()}
    outputs = inputs | {name: {"type": "string"} for name in resource.computed}
    required = [name for name, spec in resource.fields.items() if spec.required]
    return {
        "description": f"See {snake(resource.token)} of the official plugin.",
        "inputProperties": inputs,
        "requiredInputs": [name for name in required if name != "name" or not resource.named],
        "properties": outputs,
        "required": required,
    }


def _schema_type(spec: Field) -> dict[str, Any]:
    flags = {"willReplaceOnChanges": True} if spec.replace else {}
    anything = {"$ref": "pulumi.json#/Any"}
    if spec.kind == "list":
        return {"type": "array", "items": anything, **flags}
    if spec.kind in ("map", "object"):
        return {"type": "object", "additionalProperties": anything, **flags}
    if spec.kind in ("any", "asset"):
        return {**anything, **flags}
    return {"type": spec.kind, **flags}
