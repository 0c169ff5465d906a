"""Commands that look at the run or change it."""

from __future__ import annotations

import orjson
from weightslab_common.errors import InvalidArgument, NotFound, WeightsLabError
from weightslab_proto.weightslab.v1 import (
    DescribeModelRequest,
    DescribeModelResponse,
    Hyperparameter,
    ListCheckpointsRequest,
    ListCheckpointsResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    ModelOperation,
    OperateModelRequest,
    OperateModelResponse,
    PauseRequest,
    PauseResponse,
    ResumeRequest,
    ResumeResponse,
    RunStatus,
    SetHyperparameterRequest,
    SetHyperparameterResponse,
)

from weightslab.console import replies
from weightslab.console.experiment import Experiment, is_fresh
from weightslab.console.grammar import Arguments, integer
from weightslab.console.replies import Reply

_OPERATIONS = {
    1: ModelOperation.ADD,
    2: ModelOperation.PRUNE,
    3: ModelOperation.FREEZE,
    4: ModelOperation.RESET,
    5: ModelOperation.THAW,
}


async def status(experiment: Experiment, given: Arguments) -> Reply:
    reported = await experiment.last_status()
    reply: Reply = {
        "experiment": experiment.name,
        "trainer_connected": reported is not None and is_fresh(reported),
        "run": replies.run(reported) if reported else None,
    }
    try:
        reply["samples"] = replies.counters((await experiment.entry()).counters)
    except WeightsLabError as error:
        # The state of the run is worth telling without the ledger; what is missing is told with it.
        reply["samples"] = None
        reply["missing"] = error.message
    return reply


async def dump(experiment: Experiment, given: Arguments) -> Reply:
    reply = await status(experiment, given)
    reported = await experiment.last_status()
    if reported:
        reply |= {
            "version": reported.version,
            "hyperparameters": _hyperparameters(reported),
            "models": [replies.model(model) for model in reported.models],
            "optimizers": [replies.optimizer(optimizer) for optimizer in reported.optimizers],
            "loaders": [replies.loader(loader) for loader in reported.loaders],
            "branches": [
                {"branch": branch.branch, "name": branch.name, "parent": branch.parent_branch or None}
                | ({"parent_step": branch.parent_step} if branch.parent_branch else {})
                for branch in reported.branches
            ],
            "applied_revision": reported.applied_revision,
            "dropped_values": reported.dropped_values,
            "dropped_predictions": reported.dropped_predictions,
        }
    if reported and is_fresh(reported):
        saved = await experiment.trainer(
            "list_checkpoints", ListCheckpointsRequest(experiment=experiment.name), ListCheckpointsResponse
        )
        reply["checkpoints"] = [{"branch": point.branch, "step": point.step} for point in saved.checkpoints]
    signals = await experiment.ledger(
        "list_signals", ListSignalsRequest(experiment=experiment.name), ListSignalsResponse
    )
    reply["signals"] = [replies.curve(curve) for curve in signals.curves]
    reply["revision"] = (await experiment.entry()).revision
    return reply


async def pause(experiment: Experiment, given: Arguments) -> Reply:
    answer = await experiment.trainer("pause", PauseRequest(experiment=experiment.name), PauseResponse)
    return {"state": "paused", "step": answer.step}


async def resume(experiment: Experiment, given: Arguments) -> Reply:
    answer = await experiment.trainer("resume", ResumeRequest(experiment=experiment.name), ResumeResponse)
    return {"state": "running", "step": answer.step, "branch": answer.branch}


async def list_models(experiment: Experiment, given: Arguments) -> Reply:
    return {"models": [replies.model(model) for model in (await experiment.status()).models]}


async def list_optimizers(experiment: Experiment, given: Arguments) -> Reply:
    return {"optimizers": [replies.optimizer(optimizer) for optimizer in (await experiment.status()).optimizers]}


async def list_loaders(experiment: Experiment, given: Arguments) -> Reply:
    return {"loaders": [replies.loader(loader) for loader in (await experiment.status()).loaders]}


async def plot_model(experiment: Experiment, given: Arguments) -> Reply:
    model = given.words[0] if given.words else ""
    request = DescribeModelRequest(experiment=experiment.name, model=model)
    answer = await experiment.trainer("describe_model", request, DescribeModelResponse)
    return {"model": answer.model, "tree": answer.tree}


async def hp(experiment: Experiment, given: Arguments) -> Reply:
    known = (await experiment.status()).hyperparameters
    if not given.words:
        return {"hyperparameters": _hyperparameters(await experiment.status())}
    name = given.words[0]
    found = {value.name: value for value in known if value.name == name or value.name.startswith(f"{name}.")}
    if not found:
        raise _no_hyperparameter(name, known)
    return {"hyperparameters": {name: replies.hyperparameter(value) for name, value in sorted(found.items())}}


async def set_hp(experiment: Experiment, given: Arguments) -> Reply:
    *path, text = given.words
    name = ".".join(path)
    known = (await experiment.status()).hyperparameters
    current = next((value for value in known if value.name == name), None)
    if current is None:
        raise _no_hyperparameter(name, known)
    request = SetHyperparameterRequest(
        experiment=experiment.name, name=name, value_json=value_json(text, is_text=current.type == "str")
    )
    answer = await experiment.trainer("set_hyperparameter", request, SetHyperparameterResponse)
    return {"name": name, **replies.hyperparameter(answer.hyperparameter)}


async def operate(experiment: Experiment, given: Arguments) -> Reply:
    *model, operation, layer, amount = operate_words(given.words)
    kind = _OPERATIONS.get(integer(operation, what="op_type", minimum=1))
    if kind is None:
        raise InvalidArgument(f"op_type is 1 add, 2 prune, 3 freeze, 4 reset or 5 thaw, not {operation}")
    count, neurons = _amount(amount)
    request = OperateModelRequest(
        experiment=experiment.name,
        model=model[0] if model else "",
        operation=kind,
        layer_id=integer(layer, what="layer_id", minimum=0),
        count=count,
        neurons=neurons,
    )
    answer = await experiment.trainer("operate", request, OperateModelResponse)
    return {"model": answer.model, "parameters": answer.parameter_count, "message": answer.message}


def operate_words(words: list[str]) -> list[str]:
    """`words` with a list of neurons as one word, however it was spaced. Raises InvalidArgument."""
    opening = next((position for position, word in enumerate(words) if word.startswith("[")), len(words))
    joined = [*words[:opening], *(["".join(words[opening:])] if opening < len(words) else [])]
    if not 3 <= len(joined) <= 4:
        raise InvalidArgument("usage: operate [model_name] <op_type:int> <layer_id:int> <nb|[list]>")
    return joined


def value_json(text: str, *, is_text: bool) -> str:
    """What was typed as JSON: a number, `true`, `false`; anything else, or when text is wanted, as text."""
    if not is_text:
        try:
            if isinstance(orjson.loads(text), (int, float)):
                return text
        except orjson.JSONDecodeError:
            # Python and JSON write these two differently.
            if text in ("True", "False"):
                return text.lower()
    return orjson.dumps(text).decode()


def _amount(text: str) -> tuple[int, list[int]]:
    """`8` is a number of neurons, `[1,2]` names them."""
    if not text.startswith("["):
        return integer(text, what="the number of neurons", minimum=0), []
    try:
        neurons = orjson.loads(text)
    except orjson.JSONDecodeError:
        neurons = None
    if not isinstance(neurons, list) or not all(type(neuron) is int and 0 <= neuron < 2**31 for neuron in neurons):
        raise InvalidArgument(f"a list of neurons looks like [0,3,7], not {text!r}")
    return 0, neurons


def _hyperparameters(reported: RunStatus) -> Reply:
    ordered = sorted(reported.hyperparameters, key=lambda value: value.name)
    return {value.name: replies.hyperparameter(value) for value in ordered}


def _no_hyperparameter(name: str, known: list[Hyperparameter]) -> NotFound:
    names = ", ".join(sorted(value.name for value in known)) or "none"
    return NotFound(f"there is no hyperparameter {name!r}; there are: {names}")
