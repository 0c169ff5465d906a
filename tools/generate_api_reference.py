"""Write `docs/api.md` from the comments of the public contract, or check that the committed page is what they give.

python tools/generate_api_reference.py           write
python tools/generate_api_reference.py --check   exit 1 when the page differs
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # Run as a script, only the folder of this file is known.
    sys.path.insert(0, str(ROOT))

from tools.generate_proto import PROTO, run_protoc  # noqa: E402

PAGE = ROOT / "docs" / "api.md"
PACKAGE = "weightslab.v1"
# Numbers of the fields in descriptor.proto, by which comments are found:
# https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto
FILE_SYNTAX, FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 12, 4, 5, 6
MESSAGE_FIELD, ENUM_VALUE, SERVICE_METHOD = 2, 2, 2

Place = tuple[int, ...]


class Comments:
    """The comments of one file, by where they stand."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._leading = {tuple(location.path): location.leading_comments for location in file.source_code_info.location}

    def at(self, place: Place) -> str:
        """The comment before `place`, one line per sentence or list item; empty when there is none."""
        return str(self._leading.get(place, "")).strip()

    def line(self, place: Place) -> str:
        """The comment before `place` as one line of a table."""
        return " ".join(line.strip() for line in self.at(place).splitlines()).replace("|", "\\|")


def _files() -> list[FileDescriptorProto]:
    sources = sorted(path.relative_to(PROTO) for path in (PROTO / "weightslab" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "api.binpb"
        run_protoc([f"--descriptor_set_out={out}", "--include_source_info"], sources)
        return sorted(FileDescriptorSet.FromString(out.read_bytes()).file, key=lambda file: str(file.name))


def _anchor(name: str) -> str:
    return f"[`{name}`](#{name.lower()})"


def _type(field: FieldDescriptorProto) -> str:
    name = field.type_name.removeprefix(f".{PACKAGE}.")
    kind = _anchor(name) if name else f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {kind}"
    if field.proto3_optional:
        return f"{kind}, optional"
    return f"{kind}, one of" if field.HasField("oneof_index") else kind


def _prose(comment: str) -> Iterator[str]:
    if comment:
        yield from (line.removeprefix(" ") for line in comment.splitlines())
        yield ""


def _message(message: DescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"### {message.name}"
    yield ""
    yield from _prose(comments.at(place))
    if not message.field:
        yield "No fields."
        yield ""
        return
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for index, field in enumerate(message.field):
        yield f"| `{field.name}` | {_type(field)} | {comments.line((*place, MESSAGE_FIELD, index))} |"
    yield ""


def _enum(enum: EnumDescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"### {enum.name}"
    yield ""
    yield from _prose(comments.at(place))
    yield "| value | number | meaning |"
    yield "|---|---|---|"
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {comments.line((*place, ENUM_VALUE, index))} |"
    yield ""


def _service(service: ServiceDescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"## {service.name}"
    yield ""
    yield from _prose(comments.at(place))
    yield "| call | takes | gives | |"
    yield "|---|---|---|---|"
    for index, method in enumerate(service.method):
        takes, gives = (name.removeprefix(f".{PACKAGE}.") for name in (method.input_type, method.output_type))
        streamed = "stream of " if method.server_streaming else ""
        said = comments.line((*place, SERVICE_METHOD, index))
        yield f"| **{method.name}** | {_anchor(takes)} | {streamed}{_anchor(gives)} | {said} |"
    yield ""


def render(files: list[FileDescriptorProto]) -> str:
    """The page: conventions, services, then the messages and enums of each file, sorted by file."""
    lines = [
        "# API reference",
        "",
        "Written by `make proto` from the comments in `proto/weightslab/v1`; changes belong there.",
        "",
    ]
    by_name = {file.name: (file, Comments(file)) for file in files}
    lines += _prose(by_name["weightslab/v1/common.proto"][1].at((FILE_SYNTAX,)))
    for file, comments in by_name.values():
        for index, service in enumerate(file.service):
            lines += _service(service, (FILE_SERVICE, index), comments)
    for file, comments in by_name.values():
        lines += [f"## Messages of {Path(file.name).name}", ""]
        for index, enum in enumerate(file.enum_type):
            lines += _enum(enum, (FILE_ENUM, index), comments)
        for index, message in enumerate(file.message_type):
            lines += _message(message, (FILE_MESSAGE, index), comments)
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    page = render(_files())
    if not check:
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        print(f"{PAGE.relative_to(ROOT)} differs from the comments in proto/; run `make proto`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
