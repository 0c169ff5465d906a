"""What every WeightsLab service needs: settings, the bus, names, columns, errors, logs, tokens."""

__version__ = "0.1.0"
