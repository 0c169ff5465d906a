"""Views: the samples a filter matches, in an order that stays while values and tags change.

A view is a value that a viewer holds by its token; two viewers that ask the same of the same state share one.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from weightslab_ledger.blobs import Rows
from weightslab_ledger.frame import Frame
from weightslab_ledger.query import evaluate
from weightslab_ledger.sorting import Order, order_rows


@dataclass(frozen=True, slots=True)
class Wish:
    """What a viewer wants to see: a filter, and columns to sort by with whether they descend."""

    filter: str
    sort: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A wish as it was answered: at which state, and with which rows."""

    token: str
    wish: Wish
    state: tuple[int, int, int]
    revision: int
    order: Order
    # Only one reader at a time works out more of the order.
    guard: threading.Lock

    def page(self, offset: int, limit: int) -> Rows:
        with self.guard:
            return self.order.page(offset, limit)


class Views:
    """The views that are held, at most `max_bytes` of them; the least used go first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._views: OrderedDict[str, View] = OrderedDict()
        self._tokens: dict[tuple[Wish, tuple[int, int, int]], str] = {}
        # Of each view as it was last asked for, and of all: there may be thousands of small ones.
        self._sizes: dict[str, int] = {}
        self._total_bytes = 0
        # Queries run in threads of their own.
        self._guard = threading.Lock()

    def get(self, frame: Frame, wish: Wish, token: str) -> View:
        """The view of `token` when it answers `wish`, else the view of the present state. Raises InvalidArgument."""
        state = (frame.revision, frame.value_version, frame.catalog.version)
        with self._guard:
            held = self._views.get(token) or self._views.get(self._tokens.get((wish, state), ""))
            if held is not None and held.wish == wish:
                self._views.move_to_end(held.token)
                self._weigh(held)
                return held
        view = _made(frame, wish, state)
        with self._guard:
            self._views[view.token] = view
            self._tokens[wish, state] = view.token
            self._weigh(view)
            self._shrink()
        return view

    def _weigh(self, view: View) -> None:
        size = view.order.size_bytes
        self._total_bytes += size - self._sizes.get(view.token, 0)
        self._sizes[view.token] = size

    def _shrink(self) -> None:
        while self._total_bytes > self._max_bytes and len(self._views) > 1:
            _, oldest = self._views.popitem(last=False)
            self._tokens.pop((oldest.wish, oldest.state), None)
            self._total_bytes -= self._sizes.pop(oldest.token)


def _made(frame: Frame, wish: Wish, state: tuple[int, int, int]) -> View:
    matching = evaluate(wish.filter, frame)
    order = order_rows(matching, [(frame.column(column), descending) for column, descending in wish.sort])
    return View(
        token=secrets.token_urlsafe(9),
        wish=wish,
        state=state,
        revision=frame.revision,
        order=order,
        guard=threading.Lock(),
    )
