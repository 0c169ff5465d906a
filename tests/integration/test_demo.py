"""A running demo and the commands that a user has for it: their effects in the trainer, in the ledger and in files."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import safetensors.torch
import torch
from grpclib.client import Channel
from pyarrow import parquet
from weightslab.console.client import connected
from weightslab_common.embedded import free_port
from weightslab_proto.weightslab.v1 import Checkpoint, SaveCheckpointRequest

from tests.support.processes import wait_until
from tests.support.started import Started
from tests.support.studio import EXPERIMENT, Api

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A running demo that several tests share; each leaves it training, and its samples as they were."""
    started = Started(tmp_path_factory.mktemp("demo"), "demo")
    try:
        started.start()
        yield started
    finally:
        started.process.stop()


def test_a_second_studio_in_the_same_folder_is_told_of_the_first(demo: Started) -> None:
    second = demo.command("up", "--no-browser", "--page-port", str(free_port()))
    assert second.returncode == 1
    assert f"already runs with the data folder {demo.data_dir} at http://localhost:{demo.page_port}" in second.stderr


def test_the_demo_shows_a_first_curve(demo: Started) -> None:
    assert "no curve has come yet" not in demo.process.output()
    records = [json.loads(line) for line in demo.process.output().splitlines() if line.startswith("{")]
    [told] = [record for record in records if str(demo.console_port) in record["message"]]
    assert (told["service"], told["level"]) == ("trainer", "INFO")
    assert "train/loss,main,train," in demo.command("export", "curves").stdout
    status = demo.command("console", "--json", "-c", "status")
    assert json.loads(status.stdout)["samples"]["total"] == 1797


def _say(demo: Started, line: str) -> dict[str, Any]:
    """Type a line into the console of the run; return its reply."""

    async def answer() -> bytes:
        async with connected("localhost", demo.console_port) as client:
            return await client.ask(line)

    reply = json.loads(asyncio.run(answer()))
    assert isinstance(reply, dict)
    return reply


def _done(demo: Started, line: str) -> dict[str, Any]:
    reply = _say(demo, line)
    assert reply["ok"], reply
    return reply


def _exported(demo: Started, *arguments: str) -> list[dict[str, Any]]:
    result = demo.command("export", *arguments, "--format", "json")
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout))


@pytest.mark.parametrize(("form", "source", "target"), [("csv", "700", "702"), ("parquet", "704", "706")])
def test_tags_go_out_and_come_back(demo: Started, tmp_path: Path, form: str, source: str, target: str) -> None:
    file, tag = tmp_path / f"tags.{form}", f'{form}, "c"'
    revision = _done(demo, f"add_tag {source} '{tag}' --loader train")["revision"]
    assert demo.command("export", "tags", "-o", str(file), "--filter", f'uid == "{source}"').returncode == 0
    if form == "csv":
        file.write_text(file.read_text().replace(source, target))
    else:
        table = parquet.read_table(file)
        parquet.write_table(table.set_column(1, "uid", [[target] * table.num_rows]), file)
    told = demo.command("import", "tags", str(file))
    assert told.returncode == 0, told.stderr
    assert f"{tag}: 1 of 1 samples changed, revision {revision + 1}" in told.stdout
    tagged = _exported(demo, "samples", "--filter", 'tag("' + tag.replace('"', '\\"') + '")')
    assert sorted(row["uid"] for row in tagged) == [source, target]


def test_tags_of_an_unknown_sample_change_nothing(demo: Started, tmp_path: Path) -> None:
    file = tmp_path / "tags.csv"
    file.write_text("split,uid,tag\ntrain,703,fresh\ntrain,no-such,fresh\n")
    refused = demo.command("import", "tags", str(file))
    assert refused.returncode == 1
    assert "no-such" in refused.stderr
    assert _exported(demo, "samples", "--filter", 'uid == "703" and tag("fresh")') == []


def test_exports_hold_everything_in_every_format(demo: Started, tmp_path: Path) -> None:
    made = _done(demo, "discard 704 --loader train")
    tables: dict[str, Any] = {}
    for what in ("curves", "samples", "tags", "edits"):
        file = tmp_path / f"{what}.parquet"
        told = demo.command("export", what, "-o", str(file))
        assert told.returncode == 0, told.stderr
        tables[what] = parquet.read_table(file)
        assert told.stderr == f"{what} in {file}: {tables[what].num_rows:,}\n"
    curve = [point for point in tables["curves"].to_pylist() if point["signal"] == "train/loss"]
    steps = [point["step"] for point in curve]
    assert steps == list(range(steps[0], steps[0] + len(steps))), "every step has its point, once and in order"
    names = tables["samples"].column_names
    assert tables["samples"].num_rows == 1797
    assert any(name.startswith("train/loss") for name in names)
    assert demo.command("export", "samples").stdout.splitlines()[0].split(",") == names
    [sample] = _exported(demo, "samples", "--filter", 'uid == "704" and split == "train"')
    assert sample["discarded"] is True
    assert list(sample) == names
    edits = {edit["revision"]: edit for edit in tables["edits"].to_pylist()}
    assert sorted(edits) == list(range(1, len(edits) + 1))
    edit = edits[made["revision"]]
    assert (edit["operation"], edit["author"], edit["changed"]) == ("discard", "console", 1)
    _done(demo, "undiscard 704 --loader train")


def test_the_store_is_checked_against_the_log(demo: Started) -> None:
    checked = demo.command("fsck", "digits", "--json")
    assert (checked.returncode, json.loads(checked.stdout)) == (0, {"digits": []})
    unknown = demo.command("fsck", "nothing")
    assert unknown.returncode == 1
    assert "knows no 'nothing'; it knows digits" in unknown.stderr
    with redis.Redis.from_url(demo.entry.redis_url) as store:
        key = f"wl:{{{EXPERIMENT}}}:discards"
        bit = store.setbit(key, 9, 1)
        try:
            differs = demo.command("fsck")
        finally:
            store.setbit(key, 9, bit)
    assert differs.returncode == 1
    assert "discards: 1 samples differ" in differs.stdout
    assert demo.command("fsck").stdout.startswith("digits: the log and the bitmaps agree")


FIRST, SECOND = "/models/model/0.weight", "/models/model/4.weight"


def _weights(demo: Started) -> dict[str, torch.Tensor]:
    """What the run has in its memory now, by a checkpoint of it."""

    async def save() -> Checkpoint:
        async with Api(Channel("127.0.0.1", demo.grpc_port), (demo.data_dir / "token").read_text().strip()) as api:
            saved = await api.experiments.save_checkpoint(SaveCheckpointRequest(experiment=EXPERIMENT))
        assert saved.checkpoint
        return saved.checkpoint

    made = asyncio.run(save())
    [file] = demo.data_dir.glob(f"**/{made.branch}/{made.step:012d}/tensors.safetensors")
    return safetensors.torch.load_file(file)


def test_operations_change_the_model_that_trains(demo: Started) -> None:
    done = partial(_done, demo)

    def first_layer() -> str:
        return next(line for line in str(done("plot_model")["tree"]).splitlines() if "Conv2d" in line)

    def model() -> tuple[int, int]:
        [known] = done("list_models")["models"]
        return int(known["parameters"]), int(known["trainable"])

    def train() -> None:
        step = done("resume")["step"]
        wait_until(lambda: done("status")["run"]["step"] > step + 3, what="training goes on")
        done("pause")

    parameters, _ = before = model()
    [layer, *_] = re.findall(r"\d+", first_layer())
    done("pause")

    grown = done(f"operate 1 {layer} 4")
    # A kernel of 3 by 3 and a bias each, two values of the norm, and what the 32 channels of the next layer read.
    assert grown["parameters"] == parameters + 4 * (9 + 1 + 2 + 32 * 9)
    assert "weight[20×" in first_layer()
    wait_until(lambda: model()[0] == grown["parameters"], what="everybody is told")
    train()
    assert done(f"operate model 2 {layer} [16, 17, 18, 19]")["parameters"] == parameters
    assert "weight[16×" in first_layer()

    before_reset = _weights(demo)
    done(f"operate 4 {layer} [0, 5]")
    reset = _weights(demo)
    assert (before_reset[FIRST] != reset[FIRST]).flatten(1).any(1).nonzero().flatten().tolist() == [0, 5]
    assert before_reset[SECOND].equal(reset[SECOND])

    done(f"operate 3 {layer} 0")
    wait_until(lambda: model()[1] == parameters - 16 * (9 + 1), what="everybody is told of the frozen layer")
    train()
    frozen = _weights(demo)
    assert frozen[FIRST].equal(reset[FIRST]), "a frozen layer does not learn"
    assert not frozen[SECOND].equal(reset[SECOND]), "the others do"
    done(f"operate 5 {layer} 0")
    wait_until(lambda: model() == before, what="everybody is told of the thawed layer")
    train()
    assert not _weights(demo)[FIRST].equal(frozen[FIRST])

    refused = _say(demo, f"operate 2 {layer} [99]")
    assert not refused["ok"]
    assert "99" in refused["error"]
    assert "op_type is 1 add" in _say(demo, f"operate 9 {layer} 1")["error"]
    assert model() == before
    done("resume")
