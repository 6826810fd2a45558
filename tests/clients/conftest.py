"""One running Corral with the real model for all stock clients; each client's tests make their own client of it."""

import pytest

from tests.server import MODEL, Server

__all__ = ["MODEL"]


def pytest_configure(config: pytest.Config) -> None:
    """LangChain's standard tests carry the marks of plugins that are switched off."""
    for mark in ("benchmark", "vcr"):
        config.addinivalue_line("markers", f"{mark}: of a plugin that is switched off")


@pytest.fixture(scope="session")
def house(server: Server) -> Server:
    """`url` and `key` (alice's) are what a client is given; the model has been loaded, so that no test waits for it."""
    warm = server.call("POST", "/api/generate", json={"model": MODEL, "stream": False})
    assert warm.status_code == 200, warm.text
    return server
