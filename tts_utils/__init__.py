"""Generate, score, search and analyse model outputs for compute-optimal test-time scaling."""

__version__ = "0.1.0"
