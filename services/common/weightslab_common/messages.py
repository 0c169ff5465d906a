"""Protobuf messages as bytes: written as the generated code writes them, read and checked against the contract.

betterproto describes and holds the messages. Its own reading and writing take 50 to 300 µs for every message within a
message, and believe the kind of a field that the bytes name: a number sent as text becomes a list where the caller
expects an int, and fails much later. Both are done here from its description of a type, in a few µs, and what comes in
is held against the contract once. The format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import betterproto

from weightslab_common.errors import InvalidArgument

MessageT = TypeVar("MessageT", bound=betterproto.Message)
GivenT = ParamSpec("GivenT")

# The kinds of a field on the wire.
VARINT, FIXED_64, LENGTH_DELIMITED, FIXED_32 = 0, 1, 2, 5
# A number has ten bytes, and seventy bits, at most.
_64_BITS = (1 << 64) - 1
_WHOLE_NUMBERS = ("bool", "enum", "int32", "int64", "uint32", "uint64")
_SMALL_VARINTS = tuple(bytes([number]) for number in range(0x80))
# Around betterproto's own, which look at every attribute before they give it.
_attribute_of = object.__getattribute__
_set_attribute = object.__setattr__

Write = Callable[[bytearray, Any], None]
Read = Callable[[bytes, int, int], Any]


def encoded(message: betterproto.Message) -> bytes:
    """The bytes of `message`. Raises what Python raises for a value that is not of its field's kind."""
    return bytes(_content(message))


def parsed(message_type: type[MessageT], payload: bytes) -> MessageT:
    """The message in `payload`. Raises InvalidArgument when it is none, or a field is not of its kind."""
    payload = bytes(payload)
    try:
        message: MessageT = _reader(message_type).read(payload, 0, len(payload))
    except InvalidArgument:
        raise
    except (IndexError, ValueError, RecursionError) as error:
        why = "it is cut short" if isinstance(error, IndexError) else str(error)
        raise InvalidArgument(f"this is no {message_type.__name__}: {why}") from error
    return message


def made(message_type: Callable[GivenT, MessageT], *_: GivenT.args, **fields: GivenT.kwargs) -> MessageT:
    """`message_type(**fields)`, for messages that a reply holds many of: a tenth of the time of its constructor."""
    reader = _reader(message_type)  # type: ignore[arg-type]
    values = reader.empty()
    values.update(fields)
    values["_serialized_on_wire"] = bool(fields)
    for name in fields.keys() & reader.groups.keys():
        values["_group_current"][reader.groups[name]] = name
    message: MessageT = reader.hold(values)
    return message


# Writing.


def _varint(number: int) -> bytes:
    if 0 <= number < 0x80:
        return _SMALL_VARINTS[number]
    if number < 0:
        # Two's complement in 64 bits.
        number += 1 << 64
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _content(message: betterproto.Message) -> bytearray:
    values = _attribute_of(message, "__dict__")
    content = bytearray()
    for name, group, write in _writers(type(message)):
        value = values[name]
        if group is not None:
            if values["_group_current"][group] != name:
                continue
        elif value is betterproto.PLACEHOLDER or value is None:
            continue
        write(content, value)
    content += values["_unknown_fields"]
    return content


_WRITERS: dict[type[betterproto.Message], list[tuple[str, str | None, Write]]] = {}


def _writers(message_type: type[betterproto.Message]) -> list[tuple[str, str | None, Write]]:
    """For each field in the order of the contract: its name, the `oneof` it belongs to, and how it is written."""
    found = _WRITERS.get(message_type)
    if found is None:
        contract = _contract(message_type)
        found = _WRITERS[message_type] = [
            (name, meta.group, _writer(meta, is_list=contract.default_gen[name] is list))
            for name, meta in contract.meta_by_field_name.items()
        ]
    return found


def _writer(meta: betterproto.FieldMetadata, *, is_list: bool) -> Write:
    kind, number = meta.proto_type, meta.number
    # A value like the default is left out where nobody can tell whether it was given.
    always = bool(meta.optional or meta.group) or is_list
    if kind in _WHOLE_NUMBERS:
        key = _varint(number << 3 | VARINT)
        return _packed_writer(number) if is_list else _whole_number_writer(key, always=always)
    if kind == "double" and not is_list:
        return _double_writer(_varint(number << 3 | FIXED_64), always=always)
    if kind not in ("string", "bytes", "message") or meta.wraps:
        raise NotImplementedError(f"fields of kind {kind} are not written yet; the contract has had none")
    write = _delimited_writer(_varint(number << 3 | LENGTH_DELIMITED), kind, always=always)
    return _each(write) if is_list else write


def _each(write: Write) -> Write:
    def write_all(content: bytearray, values: Any) -> None:
        for value in values:
            write(content, value)

    return write_all


def _whole_number_writer(key: bytes, *, always: bool) -> Write:
    def write(content: bytearray, value: int) -> None:
        if value or always:
            content += key
            content += _varint(value)

    return write


def _packed_writer(number: int) -> Write:
    key = _varint(number << 3 | LENGTH_DELIMITED)

    def write(content: bytearray, values: list[int]) -> None:
        if values:
            packed = b"".join(map(_varint, values))
            content += key
            content += _varint(len(packed))
            content += packed

    return write


def _double_writer(key: bytes, *, always: bool) -> Write:
    pack = struct.Struct("<d").pack

    def write(content: bytearray, value: float) -> None:
        if value or always:
            content += key
            content += pack(value)

    return write


def _delimited_writer(key: bytes, kind: str, *, always: bool) -> Write:
    def write_text(content: bytearray, value: str) -> None:
        write_bytes(content, value.encode())

    def write_bytes(content: bytearray, value: bytes) -> None:
        if value or always:
            content += key
            content += _varint(len(value))
            content += value

    def write_message(content: bytearray, value: betterproto.Message) -> None:
        inner = _content(value)
        # An empty message counts when somebody gave it.
        if inner or always or _attribute_of(value, "__dict__")["_serialized_on_wire"]:
            content += key
            content += _varint(len(inner))
            content += inner

    writers: dict[str, Write] = {"string": write_text, "bytes": write_bytes, "message": write_message}
    return writers[kind]


def _contract(message_type: Any) -> betterproto.ProtoClassMetadata:
    found: betterproto.ProtoClassMetadata = message_type._betterproto
    return found


# Reading.


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where it ends. Raises IndexError, and ValueError after ten bytes."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number in it has no end")


class _Field(NamedTuple):
    """How one kind of wire data of one field is taken: `group` names its `oneof`, `read` makes its value."""

    name: str
    is_list: bool
    is_packed: bool
    group: str | None
    # Of a number as it came; None leaves it as it is.
    convert: Callable[[int], Any] | None
    # Of data between two places.
    read: Read | None


class _Reader:
    """Reads messages of one type."""

    def __init__(self, message_type: type[betterproto.Message]) -> None:
        contract = _contract(message_type)
        self._type = message_type
        self._names = contract.field_name_by_number
        # The `oneof` of each field that is in one.
        self.groups = contract.oneof_group_by_field
        self._members = {
            name: [field.name for field in contract.oneof_field_by_group[group] if field.name != name]
            for name, group in contract.oneof_group_by_field.items()
        }
        self._empty = dict.fromkeys(contract.meta_by_field_name, betterproto.PLACEHOLDER) | {
            "_serialized_on_wire": True,
            "_unknown_fields": b"",
            "_group_current": dict.fromkeys(contract.oneof_field_by_group),
        }
        for name, meta in contract.meta_by_field_name.items():
            if meta.optional:
                self._empty[name] = None
        self._fields: dict[int, _Field] = {}
        for name, meta in contract.meta_by_field_name.items():
            self._fields |= _fields(name, meta, contract.cls_by_field[name], contract.default_gen[name] is list)

    def read(self, data: bytes, at: int, end: int) -> Any:
        """The message that lies between two places. Raises IndexError, ValueError, InvalidArgument."""
        values = self.empty()
        while at < end:
            start = at
            key = data[at]
            at += 1
            if key >= 0x80:
                key, at = read_varint(data, start)
            field = self._fields.get(key)
            kind = key & 7
            value: Any
            if kind == LENGTH_DELIMITED:
                length = data[at]
                at += 1
                if length >= 0x80:
                    length, at = read_varint(data, at - 1)
                content_at = at
                at += length
                if at > end:
                    raise IndexError
                if field is not None:
                    value = field.read(data, content_at, at) if field.read is not None else data[content_at:at]
            elif kind == VARINT:
                value = data[at]
                at += 1
                if value >= 0x80:
                    value, at = read_varint(data, at - 1)
                    value &= _64_BITS
                if field is not None and field.convert is not None:
                    value = field.convert(value)
            elif kind in (FIXED_64, FIXED_32):
                content_at = at
                at += 8 if kind == FIXED_64 else 4
                if at > end:
                    raise IndexError
                if field is not None:
                    assert field.read is not None
                    value = field.read(data, content_at, at)
            else:
                self._refuse_known(key)
                raise ValueError(f"it holds a field of unknown kind {kind}")
            if field is None:
                self._refuse_known(key)
                values["_unknown_fields"] += data[start:at]
            elif field.is_list:
                self._extend(values, field, value)
            else:
                values[field.name] = value
                if field.group is not None:
                    values["_group_current"][field.group] = field.name
                    for other in self._members[field.name]:
                        values[other] = betterproto.PLACEHOLDER
        if at > end:
            raise IndexError
        return self.hold(values)

    def empty(self) -> dict[str, Any]:
        """What an empty message that was given holds."""
        values = self._empty.copy()
        if self.groups:
            values["_group_current"] = values["_group_current"].copy()
        return values

    def hold(self, values: dict[str, Any]) -> Any:
        """The message that holds `values`."""
        message = object.__new__(self._type)
        _set_attribute(message, "__dict__", values)
        return message

    def _extend(self, values: dict[str, Any], field: _Field, value: Any) -> None:
        present = values[field.name]
        if present is betterproto.PLACEHOLDER:
            present = values[field.name] = []
        if field.is_packed:
            present += value
        else:
            present.append(value)

    def _refuse_known(self, key: int) -> None:
        name = self._names.get(key >> 3)
        if name is not None:
            raise InvalidArgument(
                f"the field {name} of this {self._type.__name__} is of another kind than the contract's"
            )


_READERS: dict[type[betterproto.Message], _Reader] = {}


def _reader(message_type: type[betterproto.Message]) -> _Reader:
    reader = _READERS.get(message_type)
    if reader is None:
        reader = _READERS[message_type] = _Reader(message_type)
    return reader


def _fields(name: str, meta: betterproto.FieldMetadata, field_type: Any, is_list: bool) -> dict[int, _Field]:
    """By the key that stands before it on the wire; lists of numbers come one by one or packed."""
    kind, number, group = meta.proto_type, meta.number << 3, meta.group
    if kind in _WHOLE_NUMBERS:
        convert = _conversion(kind, field_type)
        found = {number | VARINT: _Field(name, is_list, False, group, convert, None)}
        if is_list:
            found[number | LENGTH_DELIMITED] = _Field(name, is_list, True, group, None, _packed_reader(convert))
        return found
    if kind == "double" and not is_list:
        unpack = struct.Struct("<d").unpack_from
        return {number | FIXED_64: _Field(name, False, False, group, None, lambda data, at, _: unpack(data, at)[0])}
    if kind not in ("string", "bytes", "message") or meta.wraps:
        raise NotImplementedError(f"fields of kind {kind} are not read yet; the contract has had none")
    read: Read | None = None
    if kind == "string":
        read = _read_text
    elif kind == "message":
        read = _message_reader(field_type)
    return {number | LENGTH_DELIMITED: _Field(name, is_list, False, group, None, read)}


def _read_text(data: bytes, at: int, end: int) -> str:
    return data[at:end].decode()


def _message_reader(message_type: type[betterproto.Message]) -> Read:
    # Made when it is first needed: types may hold each other.
    def read(data: bytes, at: int, end: int) -> Any:
        return _reader(message_type).read(data, at, end)

    return read


def _packed_reader(convert: Callable[[int], Any] | None) -> Read:
    def read(data: bytes, at: int, end: int) -> list[Any]:
        values = []
        while at < end:
            value, at = read_varint(data, at)
            value &= _64_BITS
            values.append(value if convert is None else convert(value))
        if at > end:
            raise IndexError
        return values

    return read


def _conversion(kind: str, field_type: Any) -> Callable[[int], Any] | None:
    if kind == "bool":
        return bool
    if kind == "uint32":
        return lambda number: number & 0xFFFF_FFFF
    if kind == "uint64":
        return None
    if kind == "int64":
        return lambda number: (number ^ 1 << 63) - (1 << 63)
    if kind == "int32":
        return _int32
    return lambda number: field_type.try_value(_int32(number))


def _int32(number: int) -> int:
    return (number & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000
