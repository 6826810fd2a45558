"""Fixtures that every room uses. The databases are real: an embedded PostgreSQL and Valkey, started once a run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from corral import datadir, embedded
from django.conf import settings

from apps.registry import starter
from tests.server import Server, running


@pytest.fixture(scope="session")
def services() -> Iterator[None]:
    root = Path(settings.DATA)
    embedded.prepare(root)
    running = []
    try:
        for describe in (embedded.postgres, embedded.valkey):
            service = describe(root)
            running.append((service, embedded.start(service)))
        yield
    finally:
        for service, process in reversed(running):
            embedded.stop(service, process)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(services: None) -> None:
    """pytest-django makes its database only after this: by then the server is up."""


@pytest.fixture(scope="session")
def gguf_path() -> Path:
    """The starter model's file: the one TEST_GGUF names, or that of the default data folder's cache, fetched once."""
    if named := os.environ.get("TEST_GGUF"):
        return Path(named)
    cache = datadir.make_private(datadir.make_root(datadir.default_root()) / "cache")
    return starter.fetch(cache, lambda what, done, whole: None)


@pytest.fixture(scope="session")
def server(gguf_path: Path) -> Iterator[Server]:
    """A whole Corral with the real model: `url`, `admin_key`, `key` (alice's)."""
    with running(starter=str(gguf_path)) as corral:
        yield corral
