"""Ollama's own JavaScript client (npm), unchanged, in Node against a running Corral with the real model."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from corral import datadir

from tests.clients.conftest import MODEL
from tests.server import Server

HERE = Path(__file__).parent / "ollama_js"
NEEDED = ("node", "npm")


def packages() -> Path:
    """A folder with the script and what package-lock.json pins, in the cache of the data folder; filled once a lock.

    TEST_NODE_PACKAGES names another folder to keep it in.
    """
    lock = (HERE / "package-lock.json").read_bytes()
    folder = _cache() / f"ollama-js-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder / name)
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(folder / ".npm")],
                cwd=folder, check=True, timeout=240, capture_output=True,
            )  # fmt: skip
            (folder / "whole").touch()
    return folder


def _cache() -> Path:
    if named := os.environ.get("TEST_NODE_PACKAGES"):
        return Path(named)
    return datadir.make_private(datadir.make_root(datadir.default_root()) / "cache")


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason="Node.js with npm is not installed")
def test_the_javascript_client_finds_all_it_needs(house: Server, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "node_modules").symlink_to(packages() / "node_modules")
    shutil.copy(HERE / "client.mjs", work)
    shutil.copy(HERE / "package.json", work)
    done = subprocess.run(
        ["node", "client.mjs", house.url, house.key, MODEL], cwd=work, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert len(said) > 8 and said[-1] == f"all {len(said) - 1}"
