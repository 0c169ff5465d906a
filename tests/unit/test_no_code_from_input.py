"""Nothing that comes from outside becomes code: each way in which Python runs data is looked for in the syntax tree.

The few uses that are left stand in ALLOWED, each with the reason why no input reaches it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path for path in (ROOT / "services").rglob("*.py") if "node_modules" not in path.parts)

BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint"}
# Modules that turn bytes into objects by running what the bytes say, or that exist to run code.
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop"}
# Dotted calls, by how they are written after the imports are followed.
CALLS = {
    "asyncio.create_subprocess_shell",
    "ctypes.CDLL",
    "importlib.import_module",
    "importlib.util.module_from_spec",
    "multiprocessing.reduction.ForkingPickler",
    "multiprocessing.reduction.ForkingPickler.loads",
    "os.popen",
    "os.startfile",
    "os.system",
    "pkgutil.resolve_name",
    "runpy.run_module",
    "runpy.run_path",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "torch.hub.load",
    "torch.jit.load",
    "torch.load",
    "yaml.full_load",
    "yaml.load",
    "yaml.unsafe_load",
}
CALL_PREFIXES = ("os.exec", "os.spawn", "importlib.machinery.")
# Arguments that open a safe function to code.
KEYWORDS = {"shell": True, "allow_pickle": True, "weights_only": False}

ALLOWED = {
    # A training process hands its own datasets to its own media worker, through a pipe that it made itself, as
    # torch's DataLoader does to its workers. No byte of the network or of a file gets there.
    ("weightslab/media_process.py", "multiprocessing.reduction.ForkingPickler.loads"),
    # The script that the user has started, so that the classes of his datasets are known.
    ("weightslab/media_process.py", "runpy.run_path"),
    # Each looks up a module by a name of a table in its own source, so that torch or a service is imported when needed.
    ("weightslab/__init__.py", "importlib.import_module"),
    ("weightslab/command/__init__.py", "importlib.import_module"),
    ("weightslab/command/settings_table.py", "importlib.import_module"),
    # An argument list that our supervisor made; no shell reads it.
    ("weightslab/studio/launcher.py", "os.execvp"),
    # With a loader of its own that is yaml.SafeLoader and one more way to write a number.
    ("weightslab/hyperparameter_file.py", "yaml.load"),
    # The C library that is loaded already: the kernel is asked to end a child with its parent.
    ("weightslab/studio/launcher.py", "ctypes.CDLL"),
}


def _imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`a.b.c` with its first name followed to its import; empty for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, names)
        return f"{base}.{node.attr}" if base else ""
    return ""


def findings(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every way in `source` by which data could be run."""
    tree = ast.parse(source)
    names = _imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in modules:
                if module.split(".")[0] in MODULES:
                    yield node.lineno, module
        # A function that is passed on is as good as a call.
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            dotted = _dotted(node, names)
            if dotted in BUILTINS or dotted in CALLS or dotted.startswith(CALL_PREFIXES):
                yield node.lineno, dotted
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg in KEYWORDS and not (
                    isinstance(value, ast.Constant) and value.value is not KEYWORDS[keyword.arg]
                ):
                    yield node.lineno, f"{keyword.arg}="


def _module(path: Path) -> str:
    """`weightslab/media_process.py`: without the folder of the service."""
    return "/".join(path.relative_to(ROOT / "services").parts[1:])


def test_nothing_runs_what_came_from_outside() -> None:
    found = {(_module(path), name): line for path in SERVICES for line, name in findings(path.read_text())}
    assert len(SERVICES) > 100
    # Writing for a worker runs nothing; reading is looked for by its own name.
    new = {use: line for use, line in found.items() if use not in ALLOWED and not use[1].endswith(".ForkingPickler")}
    assert not new, new
    assert found.keys() >= ALLOWED, "an exception is not needed any more"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("eval(text)", "eval"),
        ("f = exec", "exec"),
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("import os as o\no.system(text)", "os.system"),
        ("from os import popen as p\np(text)", "os.popen"),
        ("import os\nos.execvp(text, [])", "os.execvp"),
        ("import subprocess\nsubprocess.run(text, shell=True)", "shell="),
        ("import subprocess\nsubprocess.run(text, shell=flag)", "shell="),
        ("import importlib\nimportlib.import_module(text)", "importlib.import_module"),
        ("from importlib import import_module\nmap(import_module, texts)", "importlib.import_module"),
        ("import torch\ntorch.load(path)", "torch.load"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "allow_pickle="),
        ("import yaml\nyaml.load(text, yaml.Loader)", "yaml.load"),
        ("__import__(text)", "__import__"),
    ],
)
def test_each_way_is_found(source: str, name: str) -> None:
    assert name in {found for _, found in findings(source)}


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run(['a'], shell=False)",
        "import re\nre.compile(text)",
        "import yaml\nyaml.safe_load(text)",
        "def evaluate(text): ...\nevaluate(text)",
    ],
)
def test_what_is_harmless_is_left_alone(source: str) -> None:
    assert not list(findings(source))
