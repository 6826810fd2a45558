"""Data folders for the embedded servers: short, and open to whom they run as when we are root."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from corral import embedded


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="corral-", dir="/tmp"))
    os.chmod(folder, 0o711)
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def data() -> Iterator[Path]:
    with _folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """One that many tests share, as making a cluster takes seconds. Each leaves it stopped."""
    with _folder() as folder:
        embedded.prepare(folder)
        yield folder
