"""`grpc.reflection.v1.ServerReflection`: lets clients such as grpcurl read the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.resources import files

import betterproto
from betterproto.lib.google.protobuf import DescriptorProto, FileDescriptorProto
from grpclib.const import Handler, Status
from weightslab_proto.grpc.reflection.v1 import (
    ErrorResponse,
    ExtensionNumberResponse,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionBase,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)

from weightslab_gateway.protocol.wire import read_fields
from weightslab_gateway.services import Served

_PATH = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
# The same messages under their older name, which many clients still ask for.
_OLD_PATH = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


class Descriptors:
    """The files of the API, by name and by what they define."""

    def __init__(self, serialized: bytes) -> None:
        self.services: list[str] = []
        self._files: dict[str, bytes] = {}
        self._imports: dict[str, list[str]] = {}
        self._file_of: dict[str, str] = {}
        # The files of a FileDescriptorSet are its field 1. Their bytes are served as they are: encoding them anew would
        # lose what betterproto does not tell from its default.
        for _, content in read_fields(serialized):
            file = FileDescriptorProto().parse(content)
            self._files[file.name] = content
            self._imports[file.name] = list(file.dependency)
            for symbol in _symbols(file):
                self._file_of[symbol] = file.name
            self.services += [_join(file.package, service.name) for service in file.service]

    @classmethod
    def of_api(cls) -> Descriptors:
        """What `proto/` compiles to."""
        return cls(files("weightslab_proto").joinpath("descriptors.binpb").read_bytes())

    def file(self, name: str) -> list[bytes] | None:
        """A file and everything it imports, each after what it imports itself; None when there is no such file."""
        if name not in self._files:
            return None
        wanted = [name]
        for imported in wanted:
            wanted += [dependency for dependency in self._imports[imported] if dependency not in wanted]
        # They were compiled in such an order that imports come first.
        return [content for each, content in self._files.items() if each in wanted]

    def file_of_symbol(self, symbol: str) -> list[bytes] | None:
        name = self._file_of.get(symbol)
        return self.file(name) if name else None


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _symbols(file: FileDescriptorProto) -> Iterator[str]:
    for service in file.service:
        yield _join(file.package, service.name)
        for method in service.method:
            yield _join(file.package, service.name, method.name)
    for enum in file.enum_type:
        yield _join(file.package, enum.name)
    for message in file.message_type:
        yield from _message_symbols(message, file.package)


def _message_symbols(message: DescriptorProto, scope: str) -> Iterator[str]:
    name = _join(scope, message.name)
    yield name
    for enum in message.enum_type:
        yield _join(name, enum.name)
    for nested in message.nested_type:
        yield from _message_symbols(nested, name)


class Reflection(Served, ServerReflectionBase):
    """Answers from the compiled descriptors."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors

    def mapping(self) -> Mapping[str, Handler]:
        handler = self.__mapping__()[_PATH]
        return {_PATH: handler, _OLD_PATH: handler}

    async def server_reflection_info(
        self, requests: AsyncIterator[ServerReflectionRequest]
    ) -> AsyncIterator[ServerReflectionResponse]:
        async for request in requests:
            yield self._answer(request)

    def _answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        kind, content = betterproto.which_one_of(request, "message_request")
        value = content if isinstance(content, str) else ""
        reply = ServerReflectionResponse(valid_host=request.host, original_request=request)
        if kind == "list_services":
            services = [ServiceResponse(name=name) for name in self._descriptors.services]
            reply.list_services_response = ListServiceResponse(service=services)
            return reply
        if kind == "all_extension_numbers_of_type" and self._descriptors.file_of_symbol(value):
            reply.all_extension_numbers_response = ExtensionNumberResponse(base_type_name=value)
            return reply
        found = None
        if kind == "file_by_filename":
            found = self._descriptors.file(value)
        elif kind == "file_containing_symbol":
            found = self._descriptors.file_of_symbol(value)
        if found is None:
            reply.error_response = ErrorResponse(
                error_code=Status.NOT_FOUND.value, error_message=f"the API defines nothing like {value!r}"
            )
        else:
            reply.file_descriptor_response = FileDescriptorResponse(file_descriptor_proto=found)
        return reply
