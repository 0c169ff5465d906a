"""A registration as bus messages. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from weightslab_common.bus import PAYLOAD_TARGET_BYTES
from weightslab_common.columns import F64, pack
from weightslab_proto.weightslab.bus.v1 import MetadataColumn, SplitRegistration

from weightslab.split import Catalog

# Room for the names beside the numbers.
COLUMN_BYTES = PAYLOAD_TARGET_BYTES - 64 * 1024


def registrations(catalog: Catalog) -> Iterator[SplitRegistration]:
    """The parts of a registration, without run and sequence."""
    for first, last in _catalog_ranges(catalog):
        yield SplitRegistration(
            registration_id=catalog.registration_id,
            split=catalog.split,
            sample_count=len(catalog.uids),
            first_position=first,
            uids=list(catalog.uids[first:last]),
            metadata=[
                MetadataColumn(
                    name=column.name,
                    numbers=b"" if column.numbers is None else pack(column.numbers[first:last], F64),
                    texts=list(column.texts[first:last]),
                )
                for column in catalog.metadata
            ],
            class_names=list(catalog.class_names) if first == 0 else [],
            media_kind=catalog.media_kind,
            slice_count=catalog.slice_count,
            layers=list(catalog.layers),
            complete=last == len(catalog.uids),
        )


def _catalog_ranges(catalog: Catalog) -> Iterator[tuple[int, int]]:
    numbers = sum(column.numbers is not None for column in catalog.metadata)
    texts = [column.texts for column in catalog.metadata if column.texts]
    # The first part has them, too.
    first, size = 0, sum(4 + len(name.encode()) for name in catalog.class_names)
    for position, uid in enumerate(catalog.uids):
        size += 8 * numbers + 4 + len(uid.encode()) + sum(4 + len(column[position].encode()) for column in texts)
        if size > COLUMN_BYTES:
            yield first, position + 1
            first, size = position + 1, 0
    if first < len(catalog.uids) or not catalog.uids:
        yield first, len(catalog.uids)
