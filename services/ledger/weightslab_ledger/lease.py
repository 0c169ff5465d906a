"""Who owns an experiment: a lease that runs out, with a token that only ever grows.

Every write to the store carries the token and is refused when a newer one was given out, so that an owner that was
stopped for a while and does not know it has lost its lease can change nothing.
"""

from __future__ import annotations

import time

from weightslab_ledger.store import Keys, Store, script_text

LIFE_SECS = 3.0
RENEW_SECS = 0.75


class Lease:
    """The lease of one experiment in the name of `owner`."""

    def __init__(self, store: Store, *, experiment: str, owner: str) -> None:
        self._store = store
        self._keys = Keys(experiment)
        self._owner = owner
        self._take = store.client.register_script(script_text("lease.lua"))
        self._give = store.client.register_script(script_text("release.lua"))
        self._sure_until = 0.0
        # The fencing token; 0 while not held.
        self.token = 0

    async def acquire(self) -> bool:
        """Take or prolong the lease; false when another owner has it. Raises Unavailable."""
        asked = time.monotonic()
        with self._store.reaching():
            token = await self._take(
                keys=[self._keys.lease, self._keys.fence], args=[self._owner, self.token, int(LIFE_SECS * 1000)]
            )
        self.token = int(token)
        if self.token:
            # Counted from before the request: the store may have granted it at any time since.
            self._sure_until = asked + LIFE_SECS
        return self.token > 0

    @property
    def sure(self) -> bool:
        """Whether no other owner can exist now."""
        return self.token > 0 and time.monotonic() < self._sure_until

    async def release(self) -> None:
        """Give it back, so that another need not wait. Raises Unavailable."""
        with self._store.reaching():
            await self._give(keys=[self._keys.lease], args=[self._owner])
        self.token = 0
