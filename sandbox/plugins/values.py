"""Property values on the wire (protobuf structs) and in our code (plain Python values).

A known value is None, bool, int, float, str, list or dict of values, or an `Asset`. A value the
engine does not know yet (in a preview) is `UNKNOWN`. Secrets never arrive wrapped: our handshake
declines them, and the engine itself marks our outputs secret where the input of that name was.

`pulumi.provider.experimental.PropertyValue` is not used: it loses the hash of an asset, by which a
changed file is noticed, and cannot carry an unknown value at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

# The protocol's marks, see pulumi's sdk/go/common/resource/properties.go and plugin/rpc.go.
SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"
ASSET_SIGNATURE = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE_SIGNATURE = "0def7320c3a5731c473e5ecbe6d01bc7"
UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_STRINGS = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class _Unknown(Enum):
    UNKNOWN = "unknown"


UNKNOWN = _Unknown.UNKNOWN
"""Stands for a value that the engine will know only after an update."""

Props = dict[str, Any]
"""Properties by name; the values as this module's docstring says."""


@dataclass(frozen=True)
class Asset:
    """An asset or archive as the engine sent it, its hash included."""

    is_archive: bool
    fields: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """The engine's hash of the content ("" when the engine has not computed one)."""
        return str(self.fields.get("hash", ""))


def decode(struct: struct_pb2.Struct) -> Props:
    """The properties of a message."""
    return {key: _decode_value(value) for key, value in struct.fields.items()}


def encode(props: Mapping[str, Any]) -> struct_pb2.Struct:
    """Properties as a message."""
    return struct_pb2.Struct(fields={key: _encode_value(value) for key, value in props.items()})


def contains_unknown(value: Any) -> bool:
    """Whether any part of the value is unknown."""
    if isinstance(value, Mapping):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return value is UNKNOWN


def _decode_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in UNKNOWN_STRINGS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode_value(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:
    fields = decode(struct)
    signature = fields.pop(SIGNATURE_KEY, None)
    if signature is None:
        return fields
    if signature == SECRET_SIGNATURE:
        return fields.get("value")
    if signature in (ASSET_SIGNATURE, ARCHIVE_SIGNATURE):
        return Asset(is_archive=signature == ARCHIVE_SIGNATURE, fields=fields)
    # Resource references and output values: declined in the handshake, so never sent.
    raise ValueError(f"property with unexpected signature {signature}")


def _encode_value(value: Any) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_STRING)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Asset):
        signature = ARCHIVE_SIGNATURE if value.is_archive else ASSET_SIGNATURE
        return _encode_value({SIGNATURE_KEY: signature, **value.fields})
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=encode(value))
    if isinstance(value, list | tuple):
        items = [_encode_value(item) for item in value]
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
    raise TypeError(f"no property value: {type(value).__name__}")
