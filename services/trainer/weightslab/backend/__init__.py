"""The name under which scripts know the console: `python -m weightslab.backend.cli`."""
