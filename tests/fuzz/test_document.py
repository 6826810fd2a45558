"""schemathesis over the OpenAPI document: no error that the contract does not list, no hang, no growth of memory.

The same requests each time. Pulling and pushing are left out, as they reach for other servers.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fuzz.calls import ELSEWHERE, Fuzz, memory
from tests.server import Server, running

INFERENCE = {
    "/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/v1/chat/completions", "/v1/completions",
    "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens",
}  # fmt: skip
SUICIDE = {"DELETE /api/corral/keys/{pk}"}  # of the key that asks
MEGABYTE = 2**20
BOUNDS = {"web": 48 * MEGABYTE, "runner": 64 * MEGABYTE, "worker": 48 * MEGABYTE}


def is_inference(method: str, path: str) -> bool:
    return path in INFERENCE


def is_safe(method: str, path: str) -> bool:
    return path not in ELSEWHERE | INFERENCE and f"{method} {path}" not in SUICIDE


def is_readable(method: str, path: str) -> bool:
    return method in ("GET", "HEAD") and is_safe(method, path)


@pytest.fixture(scope="module")
def alone(gguf_path: Path) -> Iterator[Server]:
    """A server that nobody else asks, so that its memory is ours to measure."""
    with running(starter=str(gguf_path)) as server:
        yield server


def test_a_few_requests_of_each_kind_are_answered(server: Server) -> None:
    fuzz = Fuzz(server, server.new_user("fuzz"))
    fuzz.run(is_inference, examples=6)
    fuzz.run(is_readable, examples=4)
    assert_varied(fuzz)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_requests_of_each_kind_are_answered_and_leave_no_memory_behind(alone: Server) -> None:
    fuzz = Fuzz(alone, alone.key)
    fuzz.run(is_inference, examples=24)  # what is made on demand (grammars, vectors) is there now
    before = memory(alone)
    fuzz.run(is_inference, examples=24)
    Fuzz(alone, alone.admin_key).run(is_safe, examples=12)
    grown = {kind: after - before[kind] for kind, after in memory(alone).items()}
    assert_varied(fuzz)
    assert all(before.values()) and all(grown[kind] < bound for kind, bound in BOUNDS.items()), grown
    assert httpx.get(f"{alone.url}/readyz").status_code == 200


def assert_varied(fuzz: Fuzz) -> None:
    """Each endpoint that prompts a model has served and refused: requests were not all sound and not all broken."""
    for path in INFERENCE:
        seen = fuzz.seen[f"POST {path}"]
        assert 200 in seen and {400, 404} & set(seen), (path, seen)
