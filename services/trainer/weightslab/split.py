"""A named dataset of the run: what its samples are called, and which of them training leaves out."""

from __future__ import annotations

import hashlib
import operator
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument

# A text of metadata is cut there: it is to be read, sorted and searched, and travels in one message.
_TEXT_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class MetadataColumn:
    """One value per sample: float64 `numbers`, or `texts`."""

    name: str
    numbers: NDArray[np.float64] | None = None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is registered of a split."""

    split: str
    uids: tuple[str, ...]
    metadata: tuple[MetadataColumn, ...]
    class_names: tuple[str, ...]
    media_kind: str
    slice_count: int
    registration_id: str
    # What can be shown of a sample, of `image`, `gt`, `pred`, `diff`.
    layers: tuple[str, ...] = ()


class Split:
    """A catalog and its discards. The discards are replaced by the publisher thread and read by the training thread."""

    def __init__(self, catalog: Catalog, dataset: Any) -> None:
        self.catalog = catalog
        self.dataset = dataset
        self.discarded: NDArray[np.bool_] = np.zeros(len(catalog.uids), dtype=bool)
        # The count of changes of `discarded`; also tells cheaply that nothing was ever discarded.
        self.version = 0
        self._position_of: dict[str, int] | None = None
        # Whether each uid is the sample's index: then numbers are positions, and no table of uids is needed.
        self._is_numbered = all(map(operator.eq, catalog.uids, map(str, range(len(catalog.uids)))))

    @property
    def name(self) -> str:
        return self.catalog.split

    def __len__(self) -> int:
        return len(self.catalog.uids)

    def active(self, indices: Sequence[int]) -> list[int]:
        """The indices that are not discarded now."""
        if not self.version:
            return list(indices)
        discarded = self.discarded
        return [index for index in indices if not discarded[index]]

    def discard(self, positions: Sequence[int], *, discarded: bool) -> None:
        """Discard or restore samples by position."""
        mask = self.discarded.copy()
        mask[list(positions)] = discarded
        self.replace(mask)

    def replace(self, mask: NDArray[np.bool_]) -> None:
        """Make `mask`, one bool per sample, the discards."""
        if not np.array_equal(mask, self.discarded):
            self.discarded = mask
            self.version += 1

    def positions_of(self, uids: Any) -> NDArray[np.uint32]:
        """Positions of samples by uid, in a sequence, an array or a tensor; whole numbers stand for their text.

        Raises InvalidArgument that names those that do not exist.
        """
        if hasattr(uids, "reshape"):
            # An array or a tensor.
            uids = uids.reshape(-1).tolist()
        if self._is_numbered:
            try:
                # Refuses what is no whole number, and negative ones. Few calls, and those that touch little, because
                # they meet cold caches: `max` of the array would make its numbers anew.
                positions = np.frombuffer(array("I", uids), dtype=np.uint32)
                if not len(positions) or positions[positions.argmax()] < len(self):
                    return positions
            except (TypeError, OverflowError):
                pass
        return self._looked_up(uids)

    def _looked_up(self, uids: Sequence[object]) -> NDArray[np.uint32]:
        if self._position_of is None:
            self._position_of = {uid: position for position, uid in enumerate(self.catalog.uids)}
        try:
            # As the loaders name them, by far the quickest.
            return np.fromiter(map(self._position_of.__getitem__, uids), dtype=np.uint32, count=len(uids))  # type: ignore[arg-type]
        except (KeyError, TypeError):
            found = [self._position_of.get(str(uid)) for uid in uids]
        if None in found:
            unknown = [str(uid) for uid, position in zip(uids, found, strict=True) if position is None]
            raise InvalidArgument(f"split {self.name!r} has no sample {', '.join(map(repr, unknown[:10]))}")
        return np.array(found, dtype=np.uint32)


def uids_of(dataset: Any, given: Sequence[object] | Callable[[int], object] | None) -> tuple[str, ...]:
    """One uid per sample: what the user gives, else what the dataset gives, else its index as text.

    A subset names its samples as the whole dataset does, so that another subset calls the same sample the same.
    Raises InvalidArgument when uids are missing or double.
    """
    count = len(dataset)
    if callable(given):
        uids = tuple(str(given(index)) for index in range(count))
    elif given is not None:
        uids = tuple(str(uid) for uid in given)
    elif hasattr(dataset, "uids"):
        uids = tuple(str(uid) for uid in dataset.uids)
    elif _is_subset(dataset):
        whole = uids_of(dataset.dataset, None)
        uids = tuple(whole[index] for index in dataset.indices)
    else:
        uids = tuple(map(str, range(count)))
    if len(uids) != count:
        raise InvalidArgument(f"{len(uids)} uids were given for a dataset of {count} samples")
    if len(set(uids)) != count:
        seen: set[str] = set()
        double = next(uid for uid in uids if uid in seen or seen.add(uid))  # type: ignore[func-returns-value]
        raise InvalidArgument(f"uid {double!r} names more than one sample of the split; uids must be unique")
    return uids


def same_samples(first: Any, second: Any) -> bool:
    """Whether two datasets are the same object, or the same subset of one."""
    if first is second:
        return True
    if not (_is_subset(first) and _is_subset(second) and len(first) == len(second)):
        return False
    return same_samples(first.dataset, second.dataset) and all(map(operator.eq, first.indices, second.indices))


def targets_of(dataset: Any) -> NDArray[np.float64] | None:
    """The class or regression targets, where they can be had without reading any sample; else None."""
    if _is_subset(dataset):
        whole = targets_of(dataset.dataset)
        return None if whole is None else whole[np.asarray(dataset.indices, dtype=np.int64)]
    found = getattr(dataset, "targets", None)
    if found is None and len(getattr(dataset, "tensors", ())) == 2:
        found = dataset.tensors[1]
    # Told by the shape first: masks would be copied at eight bytes a pixel.
    if found is None or len(getattr(found, "shape", (len(dataset),))) != 1:
        return None
    try:
        values = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return values if values.shape == (len(dataset),) else None


def class_names_of(dataset: Any, given: Sequence[str] | None) -> tuple[str, ...]:
    while given is None and _is_subset(dataset):
        dataset = dataset.dataset
    names = given if given is not None else getattr(dataset, "classes", ())
    return tuple(map(str, names))


def metadata_columns(
    count: int, *, targets: NDArray[np.float64] | None, given: Mapping[str, Sequence[object]]
) -> tuple[MetadataColumn, ...]:
    """The columns to register: `target` where it is known, and the user's. Raises InvalidArgument on a wrong length."""
    columns: list[MetadataColumn] = []
    if targets is not None and "target" not in given:
        columns.append(MetadataColumn("target", numbers=targets))
    for name, values in given.items():
        if len(values) != count:
            raise InvalidArgument(f"metadata {name!r} has {len(values)} values for {count} samples")
        numbers = _numbers(values)
        if numbers is not None:
            columns.append(MetadataColumn(name, numbers=numbers))
        else:
            columns.append(MetadataColumn(name, texts=tuple(map(_text, values))))
    return tuple(columns)


def _numbers(values: Any) -> NDArray[np.float64] | None:
    """As float64, NaN where there is none; None when not all are numbers. Texts are never made an array of.

    An array of texts would take the length of the longest for each.
    """
    array = np.asarray(values) if hasattr(values, "dtype") else None
    if array is not None and array.dtype.kind in "biuf":
        return array.astype(np.float64) if array.ndim == 1 else None
    if not all(value is None or _is_number(value) for value in values):
        return None
    found = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    return None if len(found) and np.isnan(found).all() else found


def _is_number(value: Any) -> bool:
    # Also a tensor without dimensions.
    return isinstance(value, int | float | np.number | np.bool_) or (
        hasattr(value, "detach") and getattr(value, "shape", None) == ()
    )


def _text(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and value != value)
    return "" if missing else str(value)[:_TEXT_CHARACTERS]


def registration_id(split: str, uids: Sequence[str], columns: Sequence[MetadataColumn]) -> str:
    """SHA-256 over all that is registered: the same dataset registers the same way after a restart."""
    digest = hashlib.sha256(split.encode())
    digest.update("\0".join(uids).encode())
    for column in columns:
        digest.update(b"\1" + column.name.encode())
        digest.update(b"" if column.numbers is None else np.ascontiguousarray(column.numbers, dtype="<f8").tobytes())
        digest.update("\0".join(column.texts).encode())
    return digest.hexdigest()


def _is_subset(dataset: Any) -> bool:
    return hasattr(dataset, "indices") and hasattr(dataset, "dataset")
