"""A YAML file of hyperparameters: read, and read again whenever it changes. Knows neither torch nor the run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from weightslab_common.errors import InvalidArgument, NotFound, WeightsLabError

from weightslab.hyperparameters import Hyperparameters, Value, checked_value

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a file that has changed asks for: `values` by name, or nothing and the `fault` that it has."""

    values: dict[str, Value] = field(default_factory=dict)
    fault: str = ""


class HyperparameterFile:
    """The file and when it was read last. `changed` is called by one thread only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._stamp()
        self.values = read(path)

    def changed(self, known: Hyperparameters) -> FileChange | None:
        """What the file asks for, when it has changed since it was looked at last; else None.

        A file with a fault asks for nothing: either all of it holds, or none.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            wanted = dict(_flat(read(self.path)))
            values = {name: checked_value(known.get(name), value) for name, value in wanted.items()}
        except WeightsLabError as error:
            return FileChange(fault=f"{self.path.name} is not followed, the old values stay: {error}")
        return FileChange({name: value for name, value in values.items() if value != known.get(name).applied})

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def read(path: Path) -> dict[str, Any]:
    """The mapping that the file holds. Raises NotFound, InvalidArgument."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidArgument(f"{path} is larger than {_MAX_BYTES} bytes")
        found = parsed(path.read_text())
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"{path} holds no mapping of names to values")
    return found


class _Loader(yaml.SafeLoader):
    """Plain YAML in which `1e-3` is a number, as in YAML 1.2; YAML 1.1 takes it for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def parsed(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError, also for tags that would make Python objects."""
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Values by dotted names; what is neither a number, a truth value nor a text is not watched."""
    found: list[tuple[str, object]] = []
    for key, value in values.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            found.append((f"{prefix}{key}", value))
    return found
