"""The samples as a table at one revision: what queries, sorts and pages read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument
from weightslab_proto.weightslab.v1 import ColumnInfo, ColumnKind

from weightslab_ledger.arrays import sized, taken
from weightslab_ledger.blobs import Rows
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.columns import AUDIT_SUFFIX, STATISTICS, ColumnTable
from weightslab_ledger.edits import EditState, Mask
from weightslab_ledger.metadata import NumberColumn, TextValues
from weightslab_ledger.scores import find_score, scores_of

# Float array, texts, or truth values; one per row.
Values = NDArray[Any] | TextValues

_IDENTITY = {
    "uid": (ColumnKind.TEXT, "name of the sample, unique in its split"),
    "split": (ColumnKind.TEXT, "the dataset the sample belongs to"),
    "row": (ColumnKind.NUMBER, "position in the experiment, given at registration"),
}
_FLAGS = {
    "discarded": "whether training skips the sample",
    "tagged": "whether the sample has any tag",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """A view of the experiment that edits do not change while it is read."""

    catalog: Catalog
    columns: ColumnTable
    row_count: int
    revision: int
    present: Mask
    discarded: Mask
    tags: dict[str, Mask]
    value_version: int

    def tag(self, name: str) -> Mask:
        """One bool per row; all false when there is no such tag."""
        found = self.tags.get(name)
        return np.zeros(self.row_count, dtype=bool) if found is None else sized(found, self.row_count, False)

    def tags_at(self, rows: Rows) -> Iterator[tuple[str, Mask]]:
        """Every tag in order, with one bool per entry of `rows`."""
        for name in sorted(self.tags):
            yield name, taken(self.tags[name], rows, False)

    def get(self, name: str) -> Values | None:
        """The column of exactly this name, or None."""
        if name == "discarded":
            return self.discarded
        if name == "tagged":
            flags = np.zeros(self.row_count, dtype=bool)
            for tagged in self.tags.values():
                flags[: len(tagged)] |= tagged[: self.row_count]
            return flags
        if name == "row":
            return np.arange(self.row_count, dtype=np.float64)
        if found := self.columns.split_name(name):
            column, suffix = found
            return self.columns.columns[column].statistic(suffix, self.row_count)
        if score := find_score(self.columns, name):
            return score.values(self.columns, name, self.row_count)
        metadata = self.catalog.metadata.get(name)
        if isinstance(metadata, NumberColumn):
            return metadata.values(self.row_count)
        texts = self.catalog.texts(name)
        if texts is not None:
            return replace(texts, codes=texts.codes[: self.row_count])
        return self._of_own_split(name)

    def _of_own_split(self, name: str) -> NDArray[Any] | None:
        """Per row the column `<split of the row>/name`, NaN where that split has none; None when no split has it."""
        merged: NDArray[Any] | None = None
        for split, full in self._split_columns(name):
            values = self.get(full)
            assert isinstance(values, np.ndarray), full
            if merged is None:
                merged = np.full(self.row_count, np.nan, dtype=values.dtype)
            np.copyto(merged, values, where=self.catalog.split_index[: self.row_count] == split)
        return merged

    def _split_columns(self, name: str) -> list[tuple[int, str]]:
        """Index and column `<split>/name` of every split that has one."""
        found = ((split.index, f"{split.name}/{name}") for split in self.catalog.splits)
        return [(index, full) for index, full in found if self._has_numbers(full)]

    def values_at(self, name: str, rows: Rows) -> Values:
        """The values of a column, by its full name, for some rows only; one per entry of `rows`."""
        if found := self.columns.split_name(name):
            column, suffix = found
            return self.columns.columns[column].at(rows).statistic(suffix, len(rows))
        if score := find_score(self.columns, name):
            return score.compute(score.column(self.columns, name).at(rows), len(rows))
        if name == "uid":
            uids = [self.catalog.uids[row] for row in rows.tolist()]
            return TextValues(np.arange(len(rows), dtype=np.uint32), uids)
        if not self._has(name) and (split_columns := self._split_columns(name)):
            merged = np.full(len(rows), np.nan)
            for split, full in split_columns:
                chosen = self.catalog.split_index[rows] == split
                merged[chosen] = self.values_at(full, rows[chosen])
            return merged
        values = self.get(name)
        assert values is not None, name
        return TextValues(values.codes[rows], values.categories) if isinstance(values, TextValues) else values[rows]

    def resolve(self, name: str) -> str:
        """The name of the column that `name` stands for.

        That is `name` itself when it is a column, or when several splits have a column `<split>/name`, which then means
        of each sample that of its own split; else the only column that ends in `/name`.
        Raises InvalidArgument, listing the columns that were meant or could be.
        """
        if self._has(name):
            return name
        split_columns = self._split_columns(name)
        if split_columns:
            return name if len(split_columns) > 1 else split_columns[0][1]
        names = [info.name for info in self.describe()]
        candidates = [full for full in names if full.endswith("/" + name)]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            choice = ", ".join(f"`{full}`" for full in candidates)
            raise InvalidArgument(f"column {name!r} could be one of {choice}: write the full name in backticks")
        near = [full for full in names if not any(full.endswith(suffix) for suffix in STATISTICS if suffix)]
        listed = ", ".join(near[:20]) + (", …" if len(near) > 20 else "")
        raise InvalidArgument(f"there is no column {name!r}; there are: {listed}")

    def _has(self, name: str) -> bool:
        return name in _IDENTITY or name in _FLAGS or name in self.catalog.metadata or self._has_numbers(name)

    def _has_numbers(self, name: str) -> bool:
        """Whether a signal or a score has this full name."""
        return self.columns.split_name(name) is not None or find_score(self.columns, name) is not None

    def column(self, name: str) -> Values:
        """The column that `name` stands for. Raises InvalidArgument."""
        values = self.get(self.resolve(name))
        assert values is not None, name
        return values

    def describe(self) -> Iterator[ColumnInfo]:
        """Every column there is, by its full name."""
        for name, (kind, description) in _IDENTITY.items():
            yield ColumnInfo(name=name, kind=kind, group="identity", description=description)
        for name, description in _FLAGS.items():
            yield ColumnInfo(name=name, kind=ColumnKind.NUMBER, group="identity", description=description)
        for name, column in sorted(self.catalog.metadata.items()):
            kind = ColumnKind.NUMBER if isinstance(column, NumberColumn) else ColumnKind.TEXT
            yield ColumnInfo(name=name, kind=kind, group="metadata", description="given by the dataset")
        for name in sorted(self.columns.columns):
            signal = name.removesuffix(AUDIT_SUFFIX)
            mode = " while auditing" if name != signal else ""
            for suffix, description in STATISTICS.items():
                text = f"{description} of {signal}{mode}"
                yield ColumnInfo(name=name + suffix, kind=ColumnKind.NUMBER, group="signal", description=text)
        for name, score in scores_of(self.columns):
            yield ColumnInfo(name=name, kind=ColumnKind.NUMBER, group="score", description=score.description)

    def describe_short_names(self) -> Iterator[ColumnInfo]:
        """The names that mean of each sample the column of its own split."""
        for name, fulls in self._short_names():
            text = f"of each sample the value of its own split: {', '.join(fulls)}"
            yield ColumnInfo(name=name, kind=ColumnKind.NUMBER, group="signal", description=text)

    def _short_names(self) -> Iterator[tuple[str, list[str]]]:
        """Names without their split that stand for columns of several splits, with those columns."""
        splits = {split.name for split in self.catalog.splits}
        fulls: dict[str, list[str]] = {}
        for full in [*sorted(self.columns.columns), *(name for name, _ in scores_of(self.columns))]:
            split, _, name = full.partition("/")
            if split in splits and name:
                fulls.setdefault(name, []).append(full)
        for name, found in sorted(fulls.items()):
            if len(found) > 1 and not self._has(name):
                yield name, found

    def default_columns(self) -> list[str]:
        """What a page shows when nothing else is asked for: metadata and the newest value of each signal."""
        return [*sorted(self.catalog.metadata), *sorted(self.columns.columns)][:64]


def frame_of(catalog: Catalog, columns: ColumnTable, edits: EditState) -> Frame:
    """The present state. Masks are shared: they are replaced, not changed, by edits."""
    row_count = catalog.row_count
    return Frame(
        catalog=catalog,
        columns=columns,
        row_count=row_count,
        revision=edits.revision,
        present=catalog.present.copy(),
        discarded=edits.mask("", row_count),
        tags=dict(edits.tags),
        value_version=columns.value_version,
    )
