"""The ledger: the truth about samples, their tags and discards, and the history of signals."""
