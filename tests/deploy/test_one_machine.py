"""What one machine needs: units that systemd takes, and the backup script as its timer runs it."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

from weightslab_common.embedded import free_ports, nats_command, store_command

from tests.support.deployment import COMPOSE, DEPLOY, ROOT
from tests.support.processes import Process, accepts, wait_until

SYSTEMD = DEPLOY / "systemd"
INSTALLED = "/opt/weightslab"


def unit(name: str) -> configparser.ConfigParser:
    """A unit as sections of options; systemd allows an option twice, ours have each once."""
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string((SYSTEMD / name).read_text())
    return parsed


def test_units_name_files_that_are_there() -> None:
    for name in ("weightslab.service", "weightslab-backup.service"):
        told = unit(name)["Service"]
        assert (ROOT / Path(told["WorkingDirectory"]).relative_to(INSTALLED)) == COMPOSE
        for option in ("ExecStart", "ExecStop", "ExecReload"):
            command = told.get(option, "").split()
            if command and command[0].startswith(INSTALLED):
                script = ROOT / Path(command[0]).relative_to(INSTALLED)
                assert os.access(script, os.X_OK), script
            if "--env-file" in command:
                file = command[command.index("--env-file") + 1].replace("${ENVIRONMENT}", "production")
                assert (COMPOSE / file).exists()
    assert unit("weightslab-backup.timer")["Timer"]["Persistent"] == "true"


def test_the_stack_gets_the_time_that_it_needs_to_stop() -> None:
    longest = max(map(int, re.findall(r"stop_grace_period: (\d+)s", (COMPOSE / "compose.yaml").read_text())))
    assert int(unit("weightslab.service")["Service"]["TimeoutStopSec"]) > 2 * longest


def test_nginx_leads_every_public_service_to_the_gateway() -> None:
    text = (SYSTEMD / "nginx.conf").read_text()
    (pattern,) = re.findall(r"location ~ (\S+) \{", text)
    contract = "\n".join(path.read_text() for path in (ROOT / "proto" / "weightslab" / "v1").glob("*.proto"))
    for service in re.findall(r"^service (\w+)", contract, re.MULTILINE):
        assert re.match(pattern, f"/weightslab.v1.{service}/Method")
    assert re.match(pattern, "/media/e/train/1")
    assert re.match(pattern, "/auth/session")
    assert not re.match(pattern, "/assets/index.js")
    assert "proxy_buffering off;" in text


def test_the_backup_script_makes_whole_copies_and_drops_old_ones(tmp_path: Path) -> None:
    nats_port, store_port = free_ports(2)
    servers = [
        Process(nats_command(tmp_path / "nats", port=nats_port), log=tmp_path / "nats.log"),
        Process(store_command(tmp_path / "store", port=store_port), log=tmp_path / "store.log"),
    ]
    folder = tmp_path / "backups"
    environment = {
        "PATH": os.environ["PATH"],
        "WEIGHTSLAB_BACKUP": f"{sys.executable} -m weightslab_ledger.backup",
        "WEIGHTSLAB_BACKUP_SEES": str(folder),
        "WL_NATS_URL": f"nats://127.0.0.1:{nats_port}",
        "WL_REDIS_URL": f"redis://127.0.0.1:{store_port}",
        "WL_DATA_DIR": str(tmp_path / "data"),
    }
    ledger = Process([sys.executable, "-m", "weightslab_ledger"], log=tmp_path / "l.log", environment=environment)
    script = [str(SYSTEMD / "backup.sh"), str(folder)]
    for name in ("20200101T000000Z", "notes"):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (0, 0))
    try:
        for server in servers:
            server.start()
        wait_until(lambda: accepts(nats_port) and accepts(store_port), what="the servers listen", timeout_secs=60)
        ledger.start()
        wait_until(lambda: "is ready" in ledger.output(), what="the ledger is ready", timeout_secs=60)
        made = subprocess.run(script, env=environment, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        backup = Path(made.stdout.splitlines()[-1])
        assert (backup / "manifest.json").exists()
        assert {path.name for path in folder.iterdir()} == {backup.name, "notes"}, "only old backups are dropped"
        servers[1].kill()
        failed = subprocess.run(script, env=environment, capture_output=True, text=True)
        assert failed.returncode != 0
        assert "does not answer" in failed.stderr
        whole = [path for path in folder.iterdir() if re.fullmatch(r"\d{8}T\d{6}Z", path.name)]
        assert whole == [backup], "a copy that failed is not taken for a backup"
    finally:
        for process in (ledger, *servers):
            process.kill()
