"""Requests that are sent on as they came, of which only what the gateway itself needs is read.

Fields that a type does not know are kept and written again as they were, so these stand for every request that has
these fields under these numbers. To read a list of 20,000 samples and to write it again takes 70 ms, in which nobody
else is served, and the ledger, which checks it, reads it anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

import betterproto


@dataclass(eq=False, repr=False)
class Addressed(betterproto.Message):
    """A request to an experiment."""

    experiment: str = betterproto.string_field(1)


@dataclass(eq=False, repr=False)
class AddressedEdit(betterproto.Message):
    """An `EditSamplesRequest`."""

    experiment: str = betterproto.string_field(1)
    author: str = betterproto.string_field(7)
