"""Roles: what the contract says of each call is what the gateway demands."""

from __future__ import annotations

import re

import pytest
from weightslab_common.errors import PermissionDenied, Unauthenticated
from weightslab_common.tokens import Role, Tokens
from weightslab_gateway.access import EDITOR_METHODS, OPEN_METHODS, authorize
from weightslab_gateway.doors import Doors
from weightslab_gateway.reflection import Descriptors

from tests.support.studio import TOKEN, VIEWER_TOKEN
from tools.generate_proto import PROTO

TOKENS = Tokens(editor_token=TOKEN, viewer_token=VIEWER_TOKEN)


@pytest.fixture
def doors() -> Doors:
    return Doors(TOKENS, calls_per_sec=1000)


_SERVICE = re.compile(r"^service (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"((?:^  //.*\n)+)  rpc (\w+)\(", re.MULTILINE)


def _promised() -> dict[str, Role]:
    """The role that the comment of each public call names, by the call's path."""
    roles = {}
    for file in (PROTO / "weightslab" / "v1").glob("*.proto"):
        for service, body in _SERVICE.findall(file.read_text()):
            for comment, method in _CALL.findall(body):
                role = Role.EDITOR if "Role: editor." in comment else Role.VIEWER
                roles[f"/weightslab.v1.{service}/{method}"] = role
    return roles


def test_every_public_call_is_promised_a_role() -> None:
    served = {name for name in Descriptors.of_api().services if name.startswith("weightslab.")}
    assert {path.split("/")[1] for path in _promised()} == served
    assert {path for path, role in _promised().items() if role is Role.EDITOR} == EDITOR_METHODS


@pytest.mark.parametrize(("path", "role"), sorted(_promised().items()), ids=lambda value: str(value).rsplit("/")[-1])
def test_a_viewer_is_let_in_only_where_the_contract_says_so(doors: Doors, path: str, role: Role) -> None:
    assert authorize(path, f"Bearer {TOKEN}", doors, host="h") is Role.EDITOR
    assert authorize(path, f"Bearer {TOKENS.session(Role.EDITOR)}", doors, host="h") is Role.EDITOR
    for credential in (VIEWER_TOKEN, TOKENS.session(Role.VIEWER)):
        if role is Role.EDITOR:
            with pytest.raises(PermissionDenied, match="needs the role editor"):
                authorize(path, f"Bearer {credential}", doors, host="h")
        else:
            assert authorize(path, f"Bearer {credential}", doors, host="h") is Role.VIEWER
    with pytest.raises(Unauthenticated):
        authorize(path, "", doors, host="h")


def test_only_health_is_open_to_everybody(doors: Doors) -> None:
    assert {path.split("/")[1] for path in OPEN_METHODS} == {"grpc.health.v1.Health"}
    for path in OPEN_METHODS:
        assert authorize(path, "", doors, host="h") is Role.VIEWER


def test_every_token_is_compared_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that stops at the first difference tells by its time how much of a token was right."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, kept: bytes) -> bool:
        compared.append((given, kept))
        return given == kept

    monkeypatch.setattr("weightslab_common.tokens.hmac.compare_digest", compare)
    TOKENS.check(TOKEN)
    # Both, though the first was right already.
    assert {kept for _, kept in compared} == {TOKEN.encode(), VIEWER_TOKEN.encode()}
