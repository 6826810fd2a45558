"""Starts the two servers with the same file, threads, slots, context and KV mode, and measures their memory.

llama-server is built from the very llama.cpp that llama-cpp-python vendors: the source package of the installed
version is fetched by pip and built once into the cache. LLAMA_SERVER names a binary to use instead.
"""

import asyncio
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil

from apps.inference.engine.lib import lib
from tests.server import free_port

SLOTS, CONTEXT = 8, 4096
CMAKE_FLAGS = [
    "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_IS_DEV=OFF",
]  # fmt: skip


def llama_server_binary(cache: Path) -> Path:
    """The peer's binary; builds it (some 10 minutes on two cores) if it is not there yet."""
    if named := os.environ.get("LLAMA_SERVER"):
        return Path(named)
    version = importlib.metadata.version("llama-cpp-python")
    build = cache / f"llama-server-{version}"
    binary = build / "bin" / "llama-server"
    if not binary.exists():
        print(f"Building llama-server from the source of llama-cpp-python {version} …", flush=True)
        sources = _sources(cache, version)
        subprocess.run(["cmake", "-S", str(sources), "-B", str(build), *CMAKE_FLAGS], check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "llama-server", "-j"], check=True)
    return binary


def _sources(cache: Path, version: str) -> Path:
    name = f"llama_cpp_python-{version}"
    unpacked = cache / name
    if not unpacked.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "-d", str(cache)]
        subprocess.run([*command, f"llama-cpp-python=={version}"], check=True)
        with tarfile.open(cache / f"{name}.tar.gz") as archive:
            archive.extractall(cache, filter="data")
    return unpacked / "vendor" / "llama.cpp"


def our_build_line() -> str:
    """The llama.cpp inside our runners: the package's version and what its build uses of this processor."""
    version = importlib.metadata.version("llama-cpp-python")
    return f"llama.cpp of llama-cpp-python {version}, {lib.llama_print_system_info().decode().strip(' |')}"


def build_line(binary: Path) -> str:
    done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=False)
    return " ".join((done.stdout + done.stderr).split())


@asynccontextmanager
async def llama_server(
    binary: Path, gguf: Path, *, unified: bool, embeddings: bool = False
) -> AsyncIterator[tuple[int, psutil.Process]]:
    port = free_port()
    threads = str(len(os.sched_getaffinity(0)))
    command = [
        str(binary), "-m", str(gguf), "--host", "127.0.0.1", "--port", str(port), "-c", str(SLOTS * CONTEXT),
        "-np", str(SLOTS), "-t", threads, "-tb", threads, "-b", "512", "-ub", "512", "-fa", "auto", "--jinja",
        "--kv-unified" if unified else "--no-kv-unified", *(["--embeddings"] if embeddings else []),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await _healthy(f"http://127.0.0.1:{port}/health", process)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


async def _healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the peer ended with code {process.returncode}")
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # not listening yet: asked again below
        await asyncio.sleep(0.1)
    raise RuntimeError("the peer did not come up within a minute")


def need_tools() -> None:
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None and "LLAMA_SERVER" not in os.environ:
            raise SystemExit(f"{tool} is needed to build the peer; install it, or name a llama-server in LLAMA_SERVER.")


def resident(process: psutil.Process) -> int:
    """Resident bytes of one process."""
    return int(process.memory_info().rss)
