"""Where older scripts import the guards from."""

from weightslab.compatibility import guard_testing_context, guard_training_context

__all__ = ["guard_testing_context", "guard_training_context"]
