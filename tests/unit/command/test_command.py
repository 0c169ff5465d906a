"""The command as a user types it, where no studio is needed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from weightslab.command import COMMANDS, cli
from weightslab.studio.settings import StudioSettings
from weightslab_common.tokens import Role, Tokens

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., subprocess.CompletedProcess[str]]
WEIGHTSLAB = str(Path(sys.executable).parent / "weightslab")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("WL_", "CLI_"))}
        return subprocess.run(
            [WEIGHTSLAB, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={**clean, **environment},
        )

    return run


def test_help_lists_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from weightslab.command import cli\n"
        "try: cli(['--help'], prog_name='weightslab')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'nats'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    for name, summary in COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert summary.split()[0] in result.stdout


def test_every_command_explains_itself_without_torch() -> None:
    code = (
        "import sys; from weightslab.command import COMMANDS, cli\n"
        "for name in COMMANDS:\n"
        "    try: cli([name, '--help'], prog_name='weightslab')\n"
        "    except SystemExit: print(chr(12))\n"
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    *helps, _ = result.stdout.split("\f\n")
    for name, text in zip(COMMANDS, helps, strict=True):
        assert text.startswith(f"Usage: weightslab {name}")
        assert "\n  Example" in text, name


def test_the_documentation_has_every_command() -> None:
    text = (ROOT / "docs" / "command.md").read_text()
    for name in COMMANDS:
        assert f"| `weightslab {name}` |" in text


def test_every_setting_of_the_studio_can_be_given_by_a_flag_or_is_told() -> None:
    import click

    up = cli.get_command(click.Context(cli), "up")
    assert up
    flags = {parameter.name for parameter in up.params}
    by_environment = {
        "secrets_dir",
        "nats_url",
        "nats_token",
        "nats_ca",
        "nats_cert",
        "nats_key",
        "redis_url",
        "token",
        "token_file",
        "server_port",
        "gateway_bind",
        "page_bind",
    }
    assert set(StudioSettings.model_fields) == (flags - {"no_browser", "dev"}) | by_environment


def test_a_wrong_option_is_status_2(run: Run) -> None:
    result = run("up", "--page-port", "99999999")
    assert result.returncode == 2
    assert "'--page-port': 99999999 is no port: give a number from 1 to 65535" in result.stderr


def test_the_token_is_made_once_and_is_readable_by_its_owner_only(run: Run, tmp_path: Path) -> None:
    first, second = run("token"), run("token")
    assert first.stdout == second.stdout
    assert len(first.stdout.strip()) > 30
    assert stat.S_IMODE((tmp_path / ".weightslab" / "token").stat().st_mode) == 0o600
    assert run("token", WL_TOKEN="given").stdout == "given\n"


@pytest.mark.parametrize(("flags", "role"), [([], Role.EDITOR), (["--viewer"], Role.VIEWER)])
def test_a_link_logs_in_as_what_was_asked_for(run: Run, flags: list[str], role: Role) -> None:
    result = run("token", "--link", *flags, VITE_PORT="5999")
    address, _, code = result.stdout.strip().partition("/#login=")
    assert address == "http://localhost:5999"
    assert Tokens(editor_token=run("token").stdout.strip()).check_login(code).role is role
    assert "no studio runs" in result.stderr


def test_a_viewers_token_is_a_viewers(run: Run) -> None:
    tokens = Tokens(editor_token=run("token").stdout.strip())
    assert tokens.check(run("token", "--viewer").stdout.strip()) is Role.VIEWER


def test_without_a_studio_the_doctor_says_what_to_do(run: Run) -> None:
    result = run("doctor", ENVOY_ADMIN_PORT="21", VITE_PORT="22")
    assert result.returncode == 1
    assert "weightslab up" in result.stdout
    found = {finding["part"]: finding for finding in json.loads(run("doctor", "--json").stdout)}
    assert found["bus"]["health"] == "missing"
    assert found["disk"]["health"] in ("ok", "note")


@pytest.mark.parametrize(
    "arguments", [["console", "-c", "status"], ["export", "curves"], ["config", "--env"], ["fsck"]]
)
def test_without_a_studio_the_others_say_how_to_get_one(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 1
    assert "start one with `weightslab up`" in result.stderr
    assert "Traceback" not in result.stderr


def test_config_hides_secrets(run: Run) -> None:
    result = run("config", WL_TOKEN="hunter2hunter2", VITE_PORT="5999")
    assert "hunter2" not in result.stdout
    assert "VITE_PORT" in result.stdout
    assert "5999  (environment)" in result.stdout
    assert "elsewhere  (flag)" in run("config", "--data-dir", "elsewhere").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(run: Run, shell: str) -> None:
    assert "_WEIGHTSLAB_COMPLETE" in run("completion", shell).stdout
    given = {"COMP_WORDS": "weightslab do", "COMP_CWORD": "do" if shell == "fish" else "1"}
    completed = run(_WEIGHTSLAB_COMPLETE=f"{shell}_complete", **given)
    assert "doctor" in completed.stdout
