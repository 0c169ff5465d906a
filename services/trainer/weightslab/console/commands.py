"""The table of commands: what each takes, what it is for, an example, and who carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from weightslab.console import run_commands, sample_commands
from weightslab.console.experiment import Experiment
from weightslab.console.grammar import Arguments, Syntax
from weightslab.console.replies import Reply

Handler = Callable[[Experiment, Arguments], Awaitable[Reply]]

_LOADER = frozenset({"--loader"})


@dataclass(frozen=True, slots=True)
class Command:
    """A command and, unless the connection itself carries it out, its handler."""

    syntax: Syntax
    handler: Handler | None = None


COMMANDS = [
    Command(
        Syntax(
            name="help",
            aliases=("h", "?"),
            usage="[command]",
            summary="List the commands, or say how one is used.",
            example="help discard",
            max_words=1,
        )
    ),
    Command(
        Syntax(name="status", summary="State, step and rates of the run, and sample counters.", example="status"),
        run_commands.status,
    ),
    Command(
        Syntax(
            name="dump",
            summary="Everything known of the run: hyperparameters, models, loaders, branches, signals.",
            example="dump",
        ),
        run_commands.dump,
    ),
    Command(
        Syntax(
            name="pause",
            aliases=("p",),
            summary="Pause; answered when the loop stands, so that no step follows.",
            example="pause",
        ),
        run_commands.pause,
    ),
    Command(
        Syntax(name="resume", aliases=("r",), summary="Go on training.", example="resume"),
        run_commands.resume,
    ),
    Command(Syntax(name="list_models", summary="The watched models.", example="list_models"), run_commands.list_models),
    Command(
        Syntax(name="list_optimizers", summary="The watched optimizers.", example="list_optimizers"),
        run_commands.list_optimizers,
    ),
    Command(
        Syntax(name="list_loaders", summary="The watched loaders and the splits they read.", example="list_loaders"),
        run_commands.list_loaders,
    ),
    Command(
        Syntax(
            name="plot_model",
            usage="[model_name]",
            summary="A model as a tree, with shapes and parameter counts.",
            example="plot_model",
            max_words=1,
        ),
        run_commands.plot_model,
    ),
    Command(
        Syntax(
            name="list_uids",
            usage="[loader_name] [--discarded] [--limit N]",
            summary=f"Samples with their split, tags and whether they are discarded; {sample_commands.DEFAULT_LIMIT} "
            "unless told otherwise.",
            example="list_uids train --discarded --limit 20",
            flags=frozenset({"--discarded"}),
            options=frozenset({"--limit"}),
            max_words=1,
        ),
        sample_commands.list_uids,
    ),
    Command(
        Syntax(
            name="discard",
            usage="<uid> [uid2 ...] [--loader loader_name]",
            summary="Leave samples out of training, all or none of them.",
            example="discard 17 42 --loader train",
            options=_LOADER,
            min_words=1,
            max_words=None,
        ),
        sample_commands.discard,
    ),
    Command(
        Syntax(
            name="undiscard",
            usage="<uid> [uid2 ...] [--loader loader_name]",
            summary="Take discarded samples back into training.",
            example="undiscard 17 --loader train",
            options=_LOADER,
            min_words=1,
            max_words=None,
        ),
        sample_commands.undiscard,
    ),
    Command(
        Syntax(
            name="add_tag",
            usage="<uid> <tag> [--loader loader_name]",
            summary="Put a tag on a sample; a tag with spaces is quoted.",
            example="add_tag 17 'wrong label' --loader train",
            options=_LOADER,
            min_words=2,
            max_words=2,
        ),
        sample_commands.add_tag,
    ),
    Command(
        Syntax(
            name="hp",
            usage="[name]",
            summary="The hyperparameters, or those under a name: what was asked for and what is in use.",
            example="hp optimizer",
            max_words=1,
        ),
        run_commands.hp,
    ),
    Command(
        Syntax(
            name="set_hp",
            usage="[hp_name] <key.path> <value>",
            summary="Set a hyperparameter.",
            example="set_hp optimizer.lr 0.01",
            min_words=2,
            max_words=3,
        ),
        run_commands.set_hp,
    ),
    Command(
        Syntax(
            name="operate",
            usage="[model_name] <op_type:int> <layer_id:int> <nb|[list]>",
            summary="Change a layer: 1 add neurons, 2 prune, 3 freeze, 4 reset, 5 thaw; a number of them, or a list.",
            example="operate 2 3 [0, 5]",
            min_words=3,
            max_words=None,
        ),
        run_commands.operate,
    ),
    Command(
        Syntax(
            name="experiments",
            summary="The experiments on this bus, and the one this connection talks to.",
            example="experiments",
        )
    ),
    Command(
        Syntax(
            name="use",
            usage="<experiment>",
            summary="Talk to another experiment from here on.",
            example="use digits",
            min_words=1,
            max_words=1,
        )
    ),
    Command(Syntax(name="exit", aliases=("quit",), summary="Close the connection.", example="exit")),
    Command(
        Syntax(name="clear", aliases=("cls",), summary="Clear the screen; a command of the client.", example="clear")
    ),
]

BY_NAME = {name: command for command in COMMANDS for name in (command.syntax.name, *command.syntax.aliases)}
