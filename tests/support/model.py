"""What tags, discards and undo mean, in plain Python: the model that the whole system is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from weightslab_proto.weightslab.v1 import EditOperation

# A sample: (split, uid).
Sample = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asked for. `undone`: for UNDO, the revision that is to be taken back."""

    operation: EditOperation
    samples: frozenset[Sample] = frozenset()
    tag: str = ""
    new_tag: str = ""
    undone: int = 0


@dataclass(slots=True)
class _Made:
    wish: Wish
    # What really changed: (tag or None for discards, sample, new value).
    changes: list[tuple[str | None, Sample, bool]]
    created: list[str]
    deleted: list[str]


@dataclass(slots=True)
class SampleModel:
    """The state after a number of edits. `revision` counts them; an edit that is refused is none."""

    tags: dict[str, set[Sample]] = field(default_factory=dict)
    discarded: set[Sample] = field(default_factory=set)
    revision: int = 0
    _made: dict[int, _Made] = field(default_factory=dict)
    _undone_by: dict[int, int] = field(default_factory=dict)

    def with_tag(self, tag: str) -> set[Sample]:
        return set(self.tags.get(tag, ()))

    def possible(self, wish: Wish) -> bool:
        """Whether the edit can be made now."""
        match wish.operation:
            case EditOperation.REMOVE_TAG | EditOperation.DELETE_TAG:
                return wish.tag in self.tags
            case EditOperation.RENAME_TAG:
                return wish.tag in self.tags and wish.new_tag not in self.tags
            case EditOperation.UNDO:
                return wish.undone in self._made and wish.undone not in self._undone_by
            case _:
                return True

    def newest_to_undo(self) -> int:
        """The newest edit that is no undo and is not taken back; 0 for none."""
        standing = [
            revision
            for revision, made in self._made.items()
            if made.wish.operation is not EditOperation.UNDO and revision not in self._undone_by
        ]
        return max(standing, default=0)

    def apply(self, wish: Wish) -> int:
        """Make a possible edit; returns how many samples it changed."""
        made = self._undo(wish) if wish.operation is EditOperation.UNDO else self._make(wish)
        self.revision += 1
        self._made[self.revision] = made
        if wish.operation is EditOperation.UNDO:
            self._mark_undone(wish.undone)
        return len({sample for _, sample, _ in made.changes})

    def _make(self, wish: Wish) -> _Made:
        made = _Made(wish, [], [], [])
        match wish.operation:
            case EditOperation.ADD_TAG:
                self._create(wish.tag, made)
                self._set(wish.tag, wish.samples, True, made)
            case EditOperation.REMOVE_TAG:
                self._set(wish.tag, wish.samples, False, made)
            case EditOperation.CLEAR_TAGS:
                for tag in list(self.tags):
                    self._set(tag, wish.samples, False, made)
            case EditOperation.DELETE_TAG:
                self._set(wish.tag, self.with_tag(wish.tag), False, made)
                self._delete(wish.tag, made)
            case EditOperation.RENAME_TAG:
                members = self.with_tag(wish.tag)
                self._create(wish.new_tag, made)
                self._set(wish.tag, members, False, made)
                self._set(wish.new_tag, members, True, made)
                self._delete(wish.tag, made)
            case EditOperation.DISCARD | EditOperation.RESTORE:
                self._set(None, wish.samples, wish.operation is EditOperation.DISCARD, made)
        return made

    def _undo(self, wish: Wish) -> _Made:
        undone = self._made[wish.undone]
        made = _Made(wish, [], [], [])
        for tag in undone.deleted:
            self._create(tag, made)
        for bitmap, sample, value in undone.changes:
            if bitmap is not None and not value:
                self._create(bitmap, made)
            if bitmap is None or bitmap in self.tags:
                self._set(bitmap, [sample], not value, made)
        for tag in undone.created:
            # A tag goes with the edit that made it, unless others have used it since.
            if tag in self.tags and not self.tags[tag]:
                self._delete(tag, made)
        return made

    def _mark_undone(self, revision: int) -> None:
        """An edit is taken back; if it took back another, that one stands again, and so on down."""
        by, stands = self.revision, False
        while True:
            if stands:
                self._undone_by.pop(revision, None)
            else:
                self._undone_by[revision] = by
            wish = self._made[revision].wish
            if wish.operation is not EditOperation.UNDO:
                return
            by, revision, stands = revision, wish.undone, not stands

    def _create(self, tag: str, made: _Made) -> None:
        if tag not in self.tags:
            self.tags[tag] = set()
            made.created.append(tag)

    def _delete(self, tag: str, made: _Made) -> None:
        del self.tags[tag]
        made.deleted.append(tag)

    def _set(self, tag: str | None, samples: Iterable[Sample], value: bool, made: _Made) -> None:
        members = self.discarded if tag is None else self.tags[tag]
        for sample in samples:
            if (sample in members) is not value:
                made.changes.append((tag, sample, value))
                (members.add if value else members.discard)(sample)
