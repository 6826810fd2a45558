"""The contract's checks of queue, hosts and origins on a running server."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.api.ollama.checks import check
from tests.api.ollama.speaking import chat, loaded
from tests.server import Server, running

BUSY = "server busy, please try again.  maximum pending requests exceeded"


@check(1)
def test_heads_have_no_body(live: httpx.Client) -> None:
    for path in ("/", "/api/version", "/api/tags"):
        head = live.head(path)
        assert (head.status_code, head.content) == (200, b"")


@check(115)
@pytest.mark.slow
def test_a_full_queue_says_so(gguf_path: Path) -> None:
    with running(starter=str(gguf_path), CORRAL_MAX_QUEUE="1", CORRAL_NUM_PARALLEL="1") as server:
        with ThreadPoolExecutor(8) as pool:
            body = chat(stream=False, options={"num_predict": 60})
            replies = list(pool.map(lambda _: server.call("POST", "/api/chat", json=body), range(8)))
        refused = [reply for reply in replies if reply.status_code == 503]
        assert refused
        assert all(reply.json() == {"error": BUSY} and reply.headers["Retry-After"] for reply in refused)
        assert {reply.status_code for reply in replies} == {200, 503}


@check(116)
def test_a_larger_context_is_loaded_and_shown(live: httpx.Client) -> None:
    for size in (2048, 6144):
        body = chat(stream=False, options={"num_ctx": size, "num_predict": 1})
        assert live.post("/api/chat", json=body).status_code == 200
        assert max(row["context_length"] for row in loaded(live)) >= size
    assert 6144 in [row["context_length"] for row in loaded(live)]


@check(117)
def test_pages_of_this_machine_may_call_and_others_may_not(live: httpx.Client) -> None:
    near = live.get("/api/tags", headers={"Origin": "http://localhost:3000"})
    assert near.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    for reply in (
        live.get("/api/tags", headers={"Origin": "http://evil.example"}),
        live.post("/api/chat", json=chat(), headers={"Origin": "http://evil.example"}),
    ):
        assert (reply.status_code, reply.content) == (403, b"")
    assert "Access-Control-Allow-Origin" not in live.get("/api/tags").headers


@check(118)
@pytest.mark.parametrize(("host", "status"), [("evil.example", 403), ("foo.local", 200)])
def test_a_foreign_host_is_refused_on_loopback(server: Server, live: httpx.Client, host: str, status: int) -> None:
    assert live.get("/api/tags", headers={"Host": host}).status_code == status
