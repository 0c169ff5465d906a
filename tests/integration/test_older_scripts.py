"""A script written for the older API runs as it is, with a real ledger."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

from tests.support.processes import Process, wait_until

SCRIPT = Path(__file__).with_name("older_script.py")


def test_an_older_script_trains_tags_and_discards(nats_url: str, redis_url: str, tmp_path: Path) -> None:
    environment = {
        "WL_NATS_URL": nats_url,
        "WL_REDIS_URL": redis_url,
        "WL_DATA_DIR": str(tmp_path / "data"),
        "WL_EXPERIMENT": f"older-{uuid.uuid4().hex[:8]}",
        "WL_MEDIA_WORKER": "thread",
    }
    ledger = Process([sys.executable, "-m", "weightslab_ledger"], log=tmp_path / "ledger.log", environment=environment)
    result = tmp_path / "seen.json"
    script = Process(
        [sys.executable, "-W", "error", str(SCRIPT), str(result)], log=tmp_path / "script.log", environment=environment
    )
    try:
        ledger.start()
        script.start()
        wait_until(lambda: not script.running, what="the script ends", timeout_secs=60)
        assert script.stop() == 0, script.output()
        assert json.loads(result.read_text()) == {
            "tagged": [1, 5],
            "first": [1],
            "discarded": [3, 4],
            "elsewhere": [],
            "drawn": [uid for uid in range(40) if uid not in (3, 4)],
            "age": 22,
            "left": [4],
        }
    finally:
        script.kill()
        ledger.stop()
