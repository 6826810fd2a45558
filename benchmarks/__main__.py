"""`python -m benchmarks [--rounds N] [--only WORD] [--split]`: Corral against llama.cpp's own server, alternating, in
one run; embeddings with all-MiniLM-L6-v2.

Prints medians and ratios as a table in Markdown, with both build lines. Traffic goes to loopback only.
"""

import argparse
import asyncio
import datetime
import hashlib
import platform
import statistics
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
from corral import datadir

from apps.inference.engine.vocabulary import Vocabulary
from apps.inference.prompt.client import Renderer
from apps.inference.prompt.engines import Engines
from benchmarks import scenes
from benchmarks.loads import CorralPeer, LlamaServerPeer
from benchmarks.peers import (
    build_line,
    llama_server,
    llama_server_binary,
    need_tools,
    our_build_line,
    resident,
)
from benchmarks.words import Texts, openings
from tests import minilm
from tests.server import MODEL, Server, running

Scene = Callable[[scenes.AnyPeer, Texts], AsyncIterator[scenes.Figures]]
Samples = dict[str, dict[str, list[float]]]
PEERS = ("corral", "llama-server")
MEGA = 1024 * 1024
MANY = 12  # pairs, of which the standard error says something
PAUSE_SECONDS = 0.1  # for what a peer does behind its answer, such as writing down that it ended
TARGETS = {
    "one stream, tokens/s": "≥ 0.97 ×",
    "eight streams, tokens/s": "≥ 1.0 ×",
    "time to first token, 60-token prompt (ms)": "≤ +15 ms",
    "second turn after somebody else's request, first token (ms)": "≤ +15 ms",
    "eight users of one SYSTEM in turn, first token after the first user (ms)": "≤ +15 ms",
    "eight users of one SYSTEM at once, median first token (ms)": "≤ 0.30 ×",
    "beside a 1,500-token prefill, longest gap (ms)": "≤ 0.3 ×",
    "the long prompt's own first token (ms)": "≤ 1.15 ×",
    "one stream of JSON by schema, of the free rate": "corral ≥ 0.9",
    "eight streams of JSON by schema, of the free rate": "corral ≥ 0.9",
    "embeddings, sentences/s": "≥ 0.95 ×",
    f"a chat of {scenes.TURNS} messages rendered (ms)": "corral ≤ 20",
    "rendered and tokenised, in the render child (ms)": "corral ≤ 20",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="run only the scenes whose name holds this word")
    parser.add_argument("--split", action="store_true", help="give both a split KV cache instead of a unified one")
    chosen = parser.parse_args()
    need_tools()
    cache = datadir.make_private(datadir.default_root() / "cache")
    gguf = _model(cache)
    binary = llama_server_binary(cache)
    embedder = minilm.as_gguf(cache)
    unified = not chosen.split
    asyncio.run(_compare(binary, gguf, embedder, rounds=chosen.rounds, only=chosen.only, unified=unified))


def _model(cache: Path) -> Path:
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "corral.settings")
    django.setup()
    from apps.registry import starter

    return starter.fetch(cache, lambda *_: None)


async def _compare(binary: Path, gguf: Path, embedder: Path, *, rounds: int, only: str, unified: bool) -> None:
    vocabulary = Vocabulary(str(gguf))
    texts = Texts(openings(vocabulary))
    with running(starter=str(gguf), CORRAL_KV_UNIFIED=str(int(unified))) as server:
        keys = server.new_users(*(f"user{i}" for i in range(scenes.STREAMS)))
        corral = CorralPeer(port=server.port, keys=keys, model=MODEL)
        async with llama_server(binary, gguf, unified=unified) as (port, process):
            peers: list[scenes.AnyPeer] = [corral, LlamaServerPeer(port=port)]
            samples = await _with_renderer(gguf, vocabulary, server, only, peers, rounds, texts)
            _memory(samples, server, process)
            samples |= await _alternate(
                _chosen([scenes.json_one_stream, scenes.json_eight_streams], only), peers, rounds, texts
            )
            _memory_of_runner(samples, server, process, what="memory of the runner, grammars too (MiB)")
        if only in scenes.embeddings.__name__:
            samples |= await _embeddings(binary, embedder, server, keys, rounds, texts)
    _print(samples, binary)


async def _with_renderer(
    gguf: Path,
    vocabulary: Vocabulary,
    server: Server,
    only: str,
    peers: list[scenes.AnyPeer],
    rounds: int,
    texts: Texts,
) -> Samples:
    renderer = Renderer(model_path=str(gguf))
    prompts = scenes.Prompts(renderer, Engines(vocabulary))
    try:
        return await _alternate(_scenes(server, prompts, only), peers, rounds, texts)
    finally:
        renderer.close()


async def _embeddings(binary: Path, gguf: Path, server: Server, keys: list[str], rounds: int, texts: Texts) -> Samples:
    """Both with the same file; Corral through a model made of it."""
    model = await asyncio.to_thread(_made_of, server, gguf)
    async with llama_server(binary, gguf, unified=True, embeddings=True) as (port, _):
        peers: list[scenes.AnyPeer] = [CorralPeer(port=server.port, keys=keys, model=model), LlamaServerPeer(port=port)]
        return await _alternate([scenes.embeddings], peers, rounds, texts)


def _made_of(server: Server, gguf: Path) -> str:
    name, data = "embedder", gguf.read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    server.call("POST", f"/api/blobs/{digest}", content=data).raise_for_status()
    body = {"model": name, "files": {"model.gguf": digest}, "stream": False}
    server.call("POST", "/api/create", json=body).raise_for_status()
    return name


def _scenes(server: Server, prompts: scenes.Prompts, only: str) -> list[Scene]:
    shared = scenes.Shared(prepare=lambda peer, text: _with_system(server, peer, text))
    every: list[Scene] = [
        scenes.first_token, scenes.one_stream, scenes.eight_streams, scenes.beside_a_prefill,
        shared.in_turn, shared.at_once, scenes.second_turn, scenes.model_list,
        prompts.long_chat,
    ]  # fmt: skip
    return _chosen(every, only)


def _chosen(every: list[Scene], only: str) -> list[Scene]:
    return [scene for scene in every if only in scene.__name__]


async def _with_system(server: Server, peer: scenes.AnyPeer, text: str) -> str:
    """A model with this SYSTEM that everybody may use; the peer has no such thing and is sent the text each time."""
    if isinstance(peer, LlamaServerPeer):
        return ""
    name = "shared-system"
    answer = server.call("POST", "/api/create", json={"model": name, "from": MODEL, "system": text, "stream": False})
    answer.raise_for_status()
    return name


async def _alternate(chosen: list[Scene], peers: list[scenes.AnyPeer], rounds: int, texts: Texts) -> Samples:
    """Every scene on every peer in every round, in changing order; a first round warms up and is not counted."""
    samples: Samples = defaultdict(lambda: defaultdict(list))
    for number in range(-1, rounds):
        for scene in chosen:
            for peer, figures in [found async for found in _beside(scene, peers, texts, turn=number)]:
                for name, value in figures.items() if number >= 0 else ():
                    samples[name][peer.name].append(value)
        print(f"round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    return samples


async def _beside(
    scene: Scene, peers: list[scenes.AnyPeer], texts: Texts, *, turn: int
) -> AsyncIterator[tuple[scenes.AnyPeer, scenes.Figures]]:
    """A scene on all peers, with the same texts, which no scene had before: a step of one, then a step of the other."""
    theirs = [texts.again() for _ in peers]
    under_way = [(peer, scene(peer, own)) for peer, own in zip(peers, theirs, strict=True)]
    while under_way:
        for peer, steps in under_way[:: 1 if turn % 2 else -1]:
            figures = await anext(steps, None)
            await asyncio.sleep(PAUSE_SECONDS)
            if figures is None:
                under_way.remove((peer, steps))
            else:
                yield peer, figures
        turn += 1
    texts.number = max(own.number for own in theirs)


MARKS = {
    "web": ("uvicorn",),
    "inference worker": ("celery", "inference."),
    "render child": ("apps.inference.prompt",),
}


def _memory(samples: Samples, server: Server, process: psutil.Process) -> None:
    for name, marks in MARKS.items():
        for pid in server.pids(*marks):
            samples[f"memory of the {name} (MiB)"]["corral"].append(resident(psutil.Process(pid)) / MEGA)
    _memory_of_runner(samples, server, process, what="memory of the runner (MiB)")


def _memory_of_runner(samples: Samples, server: Server, process: psutil.Process, *, what: str) -> None:
    for pid in server.pids("apps.inference.runner"):
        samples[what]["corral"].append(resident(psutil.Process(pid)) / MEGA)
    samples[what]["llama-server"].append(resident(process) / MEGA)


def _print(samples: Samples, binary: Path) -> None:
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{datetime.date.today()}, {machine}\n")
    print(f"corral: {our_build_line()}\npeer: {build_line(binary)}\n")
    print("| figure | corral | llama-server | ratio | in pairs | to reach |\n|---|---|---|---|---|---|")
    for name, by_peer in samples.items():
        ours, theirs = (statistics.median(by_peer[peer]) if by_peer[peer] else None for peer in PEERS)
        ratio = f"{ours / theirs:.2f}" if ours and theirs else ""
        digits = 2 if "of the free rate" in name else 1
        cells = [f"{value:.{digits}f}" if value is not None else "" for value in (ours, theirs)]
        print(f"| {name} | {cells[0]} | {cells[1]} | {ratio} | {_in_pairs(name, by_peer)} | {TARGETS.get(name, '')} |")


def _in_pairs(name: str, by_peer: dict[str, list[float]]) -> str:
    """The median of what each step of both gives, a ratio or a difference as the target is: a machine whose speed
    changes from minute to minute moves the medians apart more than the two halves of a step. Where pairs are many, with
    the standard error of that median."""
    pairs = list(zip(*(by_peer[peer] for peer in PEERS), strict=False))
    if not pairs:
        return ""
    if TARGETS.get(name, "").endswith("ms"):
        found, digits = [ours - theirs for ours, theirs in pairs], "+.1f"
    else:
        found, digits = [ours / theirs for ours, theirs in pairs], ".2f"
    error = f" ± {_error(found):{digits[-3:]}}" if len(found) >= MANY else ""
    return f"{statistics.median(found):{digits}}{error}"


def _error(found: list[float]) -> float:
    """The standard error of the median, by how far the middle half is spread: single pairs go far astray."""
    first, _, third = statistics.quantiles(found, n=4)
    return float(1.2533 * (third - first) / 1.349 / len(found) ** 0.5)


if __name__ == "__main__":
    main()
