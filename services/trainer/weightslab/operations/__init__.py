"""Changes neurons of a model while it trains, with everything that depends on them."""

from weightslab.operations.operate import Operation, Request, operate
from weightslab.operations.state import ModelState

__all__ = ["ModelState", "Operation", "Request", "operate"]
