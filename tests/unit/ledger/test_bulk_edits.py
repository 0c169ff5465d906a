"""Edits of a million samples: each is one edit, in the log and in the bitmaps."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import numpy as np
import pytest
from weightslab_ledger.blobs import Rows
from weightslab_ledger.edit_store import EditStore, differences
from weightslab_ledger.editor import Editor
from weightslab_ledger.edits import DISCARDS
from weightslab_ledger.store import Keys, Store
from weightslab_proto.weightslab.v1 import Counters, Edit, EditOperation

from tests.unit.ledger.conftest import Studio

ROWS = 1_000_000
EVERY = np.arange(ROWS, dtype=np.uint32)
TAGS = [f"tag {number}" for number in range(8)]


@pytest.fixture
async def store(studio: Studio) -> AsyncIterator[Store]:
    store = Store(studio.settings.redis_url)
    yield store
    await store.close()


def _editor(studio: Studio, store: Store) -> Editor:
    return Editor(
        experiment=studio.experiment,
        bus=studio.bus,
        store=EditStore(store, studio.experiment),
        token=0,
        row_count=lambda: ROWS,
        counters=Counters,
    )


async def _edit(editor: Editor, operation: EditOperation, rows: Rows, tag: str = "") -> Edit:
    async def target() -> Rows:
        return rows

    return await editor.edit(
        edit_id=uuid.uuid4().hex, author="test", operation=operation, tag=tag, expected_revision=None, target=target
    )


async def test_each_is_one_edit_that_can_be_taken_back(studio: Studio, store: Store) -> None:
    editor, keys = _editor(studio, store), Keys(studio.experiment)
    for number, tag in enumerate(TAGS):
        await _edit(editor, EditOperation.ADD_TAG, EVERY[number::2], tag)
    discarded = await _edit(editor, EditOperation.DISCARD, EVERY)
    cleared = await _edit(editor, EditOperation.CLEAR_TAGS, EVERY)
    assert (discarded.changed_count, discarded.revision) == (ROWS, len(TAGS) + 1)
    assert (cleared.changed_count, cleared.revision) == (ROWS, len(TAGS) + 2)
    assert await store.client.xlen(keys("edits")) == cleared.revision
    assert not await store.client.exists(*(keys("tag:" + tag) for tag in TAGS))
    assert await store.client.bitcount(keys("discards")) == ROWS
    undone = await editor.undo(edit_id="back", author="test", revision=cleared.revision)
    assert undone.changed_count == ROWS
    again = _editor(studio, store)
    await again.load()
    assert differences(again.state, await EditStore(store, studio.experiment).bitmaps()) == []
    assert [int(again.state.mask(tag, ROWS).sum()) for tag in TAGS] == [len(EVERY[n::2]) for n in range(len(TAGS))]
    assert again.state.mask(DISCARDS, ROWS).all()
