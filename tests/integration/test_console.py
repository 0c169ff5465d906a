"""The console on a run: its effect is looked for where a viewer would see it, not in its replies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from weightslab.console.client import Client, connected
from weightslab_common.embedded import free_port
from weightslab_proto.weightslab.v1 import (
    Experiment,
    GetExperimentRequest,
    GetSampleRequest,
    GetSampleResponse,
    QuerySamplesRequest,
    RunState,
    RunStatus,
    SampleRef,
)

from tests.support.main_job import until
from tests.support.processes import Process, accepts, wait_until
from tests.support.studio import EXPERIMENT, Api, Studio

ROOT = Path(__file__).resolve().parents[2]
ODD_TAGS = ["a,b", "日本", "tag:z", "<b>", "discarded", "it's", 'say "hi"', "--loader", "$(id)"]


@pytest.fixture
async def client(studio: Studio) -> AsyncIterator[Client]:
    async with connected("localhost", studio.console_port) as client:
        yield client


@pytest.fixture
async def api(studio: Studio) -> AsyncIterator[Api]:
    async with studio.api() as api:
        yield api


async def _say(client: Client, line: str) -> dict[str, Any]:
    reply = json.loads(await client.ask(line))
    assert isinstance(reply, dict)
    return reply


async def _done(client: Client, line: str) -> dict[str, Any]:
    reply = await _say(client, line)
    assert reply["ok"], reply
    return reply


async def _refused(client: Client, line: str) -> str:
    reply = await _say(client, line)
    assert not reply["ok"], reply
    return str(reply["error"])


async def _sample(api: Api, uid: str, split: str = "train") -> GetSampleResponse:
    request = GetSampleRequest(experiment=EXPERIMENT, sample=SampleRef(split=split, uid=uid))
    return await api.samples.get_sample(request)


async def _experiment(api: Api) -> Experiment:
    answer = await api.experiments.get_experiment(GetExperimentRequest(experiment=EXPERIMENT))
    assert answer.experiment
    return answer.experiment


async def _status(api: Api) -> RunStatus:
    status = (await _experiment(api)).status
    assert status
    return status


async def _until_status(api: Api, condition: Callable[[RunStatus], bool], what: str) -> None:
    async def holds() -> bool:
        return condition(await _status(api))

    await until(holds, what=what)


async def test_discard_and_undiscard_change_the_sample_and_the_counters(client: Client, api: Api) -> None:
    active = (await _experiment(api)).counters.active
    reply = await _done(client, "discard 901 902 901 --loader train")
    assert (reply["changed"], reply["targeted"]) == (2, 2)
    assert reply["effective_step"] is not None
    assert (await _sample(api, "901")).discarded
    assert (await _experiment(api)).counters.active == active - 2
    listed = await _done(client, "list_uids train --discarded --limit 1000")
    assert {"901", "902"} <= {entry["uid"] for entry in listed["uids"]}
    await _done(client, "undiscard 901 902 --loader train")
    assert not (await _sample(api, "902")).discarded
    assert (await _experiment(api)).counters.active == active


@pytest.mark.parametrize("tag", ODD_TAGS)
async def test_a_tag_is_stored_verbatim(client: Client, api: Api, tag: str) -> None:
    quoted = "'" + tag.replace("'", "'\"'\"'") + "'"
    await _done(client, f"add_tag --loader train -- 903 {quoted}")
    assert tag in (await _sample(api, "903")).tags
    assert not (await _sample(api, "903")).discarded


async def test_an_edit_is_signed_by_the_console(client: Client, api: Api) -> None:
    await _done(client, "add_tag 904 signed --loader train")
    edit = (await _sample(api, "904")).last_edit
    assert edit
    assert edit.author == "console"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("discard 905 no-such-uid --loader train", "no-such-uid"),
        ("discard 905 no-such-uid", "no-such-uid"),
        ("discard 5", "'train' and 'val': say which with --loader"),
        ("discard 905 --loader nonsense", "there is no loader or split 'nonsense'; there are: 'train', 'val'"),
        ("add_tag 905 '' --loader train", "1 to 64 characters"),
        (f"add_tag 905 {'x' * 65} --loader train", "1 to 64 characters"),
        ("add_tag 905", "usage: add_tag"),
        ("discard", "usage: discard"),
    ],
)
async def test_what_is_refused_changes_nothing(client: Client, api: Api, line: str, said: str) -> None:
    before = (await _experiment(api)).revision
    assert said in await _refused(client, line)
    assert (await _experiment(api)).revision == before
    assert not (await _sample(api, "905")).discarded


async def test_a_uid_of_one_split_alone_needs_no_loader(client: Client, api: Api) -> None:
    # Validation has 360 samples, so 906 is a training sample only.
    await _done(client, "add_tag 906 lonely")
    assert "lonely" in (await _sample(api, "906")).tags


async def test_pause_stands_and_resume_goes_on(client: Client, api: Api) -> None:
    paused = await _done(client, "p")
    await _until_status(api, lambda status: status.state == RunState.PAUSED, "the API says paused")
    assert (await _status(api)).step == paused["step"]
    assert (await _done(client, "status"))["run"]["state"] == "paused"
    resumed = await _done(client, "r")
    assert resumed["step"] == paused["step"]
    await _until_status(api, lambda status: status.step > paused["step"], "steps go on")


async def test_a_hyperparameter_is_set_in_the_run(client: Client, api: Api) -> None:
    def rate(status: RunStatus) -> float:
        return float(next(known.applied_json for known in status.hyperparameters if known.name == "optimizer.lr"))

    before = rate(await _status(api))
    try:
        await _done(client, "set_hp optimizer.lr 0.0123")
        await _until_status(api, lambda status: rate(status) == 0.0123, "the rate is in use")
        await _done(client, "set_hp optimizer lr 0.0124")
        await _until_status(api, lambda status: rate(status) == 0.0124, "the rate is in use")
        shown = await _done(client, "hp optimizer")
        assert shown["hyperparameters"]["optimizer.lr"] == {"requested": 0.0124, "applied": 0.0124, "type": "float"}
    finally:
        await _done(client, f"set_hp optimizer.lr {before}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("set_hp optimizer.lr fast", "is no float"),
        ("set_hp optimizer.lr -1", "not negative"),
        ("set_hp optimizer.lr nan", "is no float"),
        ("set_hp nothing 1", "there is no hyperparameter 'nothing'; there are: batch_size"),
        ("hp nothing", "there is no hyperparameter 'nothing'"),
        ("plot_model nothing", "there is no model 'nothing'"),
    ],
)
async def test_wrong_names_and_values_are_named(client: Client, line: str, said: str) -> None:
    assert said in await _refused(client, line)


async def test_listing_agrees_with_a_query(client: Client, api: Api) -> None:
    page = await api.samples.query_samples(
        QuerySamplesRequest(experiment=EXPERIMENT, filter='split == "train"', limit=1000)
    )
    listed = await _done(client, "list_uids train --limit 1200")
    assert listed["matched"] == page.matched
    assert listed["shown"] == 1200
    assert [entry["uid"] for entry in listed["uids"]][:1000] == page.uids
    assert (await _done(client, "list_uids"))["shown"] == 100


async def test_what_is_watched_is_listed(client: Client, api: Api) -> None:
    status = await _status(api)
    assert [model["name"] for model in (await _done(client, "list_models"))["models"]] == [
        model.name for model in status.models
    ]
    assert (await _done(client, "list_optimizers"))["optimizers"][0]["type"] == status.optimizers[0].type
    assert {loader["split"] for loader in (await _done(client, "list_loaders"))["loaders"]} == {"train", "val"}
    assert "Conv2d" in (await _done(client, "plot_model"))["tree"]
    dumped = await _done(client, "dump")
    assert {"train/loss"} <= {signal["signal"] for signal in dumped["signals"]}
    assert dumped["samples"]["total"] == 1797


async def test_many_consoles_and_much_nonsense_leave_the_run_alone(studio: Studio, client: Client, api: Api) -> None:
    before = await _experiment(api)

    async def nonsense(number: int) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", studio.console_port)
            try:
                writer.write([b"x" * 200_000, b"\x00\xff\n", b"discard 90", b"GET / HTTP/1.1\r\n\r\n"][number % 4])
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 60)
            finally:
                writer.close()

    async with asyncio.TaskGroup() as others:
        crowd = [others.create_task(nonsense(number)) for number in range(300)]
        # All the while a client that came before is answered, and its edits hold.
        answered = 0
        while not all(task.done() for task in crowd):
            async with asyncio.timeout(60):
                await _done(client, f"add_tag 910 'in the crowd {answered % 2}' --loader train")
            answered += 1
        assert answered > 0
    assert "in the crowd 0" in (await _sample(api, "910")).tags
    assert (await _done(client, "status"))["trainer_connected"]
    after = await _experiment(api)
    assert after.revision == before.revision + answered
    assert after.counters.active == before.counters.active


def _environment(studio: Studio) -> dict[str, str]:
    return {**os.environ, "WL_NATS_URL": f"nats://127.0.0.1:{studio.nats_port}"}


async def test_a_standalone_console_acts_on_the_same_run(studio: Studio, api: Api, tmp_path: Path) -> None:
    port = free_port()
    server = Process(
        [sys.executable, "-m", "weightslab.backend.cli", "serve", "--host", "localhost", "--port", str(port)],
        log=tmp_path / "log",
        environment=_environment(studio),
    )
    server.start()
    try:
        wait_until(lambda: accepts(port) or not server.running, what="the console listens")
        async with connected("localhost", port) as client:
            assert (await _done(client, "experiments"))["experiments"] == [EXPERIMENT]
            await _done(client, "add_tag 907 standalone --loader train")
            assert "no experiment 'nothing'" in await _refused(client, "use nothing")
        assert "standalone" in (await _sample(api, "907")).tags
    finally:
        assert server.stop() == 0, server.output()


async def test_the_client_carries_out_lines_of_a_pipe(studio: Studio, api: Api) -> None:
    command = [sys.executable, "-m", "weightslab.backend.cli", "client", "--port", str(studio.console_port), "--json"]
    typed = "add_tag 908 piped --loader train\ndiscard nothing --loader train\n"
    result = await asyncio.to_thread(
        subprocess.run, command, input=typed, capture_output=True, text=True, timeout=60, check=False
    )
    assert [json.loads(line)["ok"] for line in result.stdout.splitlines()] == [True, False]
    assert result.returncode == 1
    assert result.stderr == ""
    assert "piped" in (await _sample(api, "908")).tags


async def test_the_command_attaches_through_the_bus(studio: Studio, api: Api) -> None:
    command = [str(Path(sys.executable).parent / "weightslab"), "console", "-c", "add_tag 909 attached --loader train"]
    result = await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env=_environment(studio),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ok\n")
    assert result.stderr == ""
    assert "attached" in (await _sample(api, "909")).tags


def _transcripts() -> list[tuple[str, dict[str, Any]]]:
    text = (ROOT / "docs" / "console.md").read_text()
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        lines = block.splitlines()
        for said, answered in zip(lines[::2], lines[1::2], strict=True):
            assert said.startswith("> "), said
            found.append((said[2:], json.loads(answered)))
    return found


def _shape(value: object, key: str = "") -> object:
    """What of a reply does not change from run to run: names and texts without their numbers, and kinds of values."""
    if key in ("ok", "error"):
        return value
    if key in ("branch", "effective_branch") or value is None or isinstance(value, bool):
        return type(value).__name__
    if isinstance(value, dict) and key not in ("tags", "splits"):
        return {name: _shape(inner, name) for name, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_shape(value[0])]
    if isinstance(value, str):
        return re.sub(r"\d+", "0", value)
    return "number" if isinstance(value, (int, float)) else type(value).__name__


async def test_the_documented_transcripts_are_true(client: Client) -> None:
    transcripts = _transcripts()
    assert len(transcripts) > 20
    for line, documented in transcripts:
        assert _shape(await _say(client, line)) == _shape(documented), line


async def test_a_model_at_a_terminal_looks_as_documented(studio: Studio) -> None:
    text = (ROOT / "docs" / "console.md").read_text()
    [documented] = re.findall(r"```\nweightslab> plot_model\n(.*?)```", text, re.S)
    command = [sys.executable, "-m", "weightslab.backend.cli", "client", "--port", str(studio.console_port)]
    result = await asyncio.to_thread(
        subprocess.run, [*command, "-c", "plot_model"], capture_output=True, text=True, timeout=60, check=True
    )

    def layers(tree: str) -> list[tuple[str, str]]:
        """Each layer and its weights; the batch before it depends on which one was last."""
        return re.findall(r"^ +(\d+ +\S+ \S+) .*?(?:  (weight.*))?$", tree, re.M)

    assert len(layers(documented)) == 10
    assert layers(result.stdout) == layers(documented)


def test_every_command_is_documented() -> None:
    from weightslab.console.commands import COMMANDS

    # A table escapes its separator.
    text = (ROOT / "docs" / "console.md").read_text().replace("\\|", "|")
    for command in COMMANDS:
        assert f"`{command.syntax.line}`" in text, command.syntax.line
        for alias in command.syntax.aliases:
            assert f"`{alias}`" in text, alias
