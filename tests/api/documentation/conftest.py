"""Callers over HTTP, in this process."""

from tests.api.ollama.conftest import caller

__all__ = ["caller"]
