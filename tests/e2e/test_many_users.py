"""Eight people at once, over real HTTP, decoded by one runner in one batch."""

import json
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import ollama
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.server import MODEL, Server, wait_for

GREEDY = {"temperature": 0, "seed": 1}


def chat(text: str, **options: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "options": {**GREEDY, **options}}


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(line["message"]["content"] for line in lines)


def loaded(server: Server) -> Counter[tuple[str, int]]:
    """How many replicas there are of each model and context."""
    return Counter((row["name"], row["context_length"]) for row in server.call("GET", "/api/ps").json()["models"])


def test_the_stock_python_client_streams_an_answer(server: Server) -> None:
    question = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    with ollama.Client(host=server.url, headers={"Authorization": f"Bearer {server.key}"}) as client:
        parts = list(client.chat(MODEL, question, stream=True, options={"temperature": 0, "num_predict": 12}))
    assert "Paris" in "".join(part.message.content or "" for part in parts)
    assert parts[-1].done and parts[-1].done_reason == "stop" and (parts[-1].eval_count or 0) >= 1


def test_eight_streams_at_once_end_with_eight_correct_answers(server: Server) -> None:
    before = loaded(server)
    keys = server.new_users(*(f"counter{i}" for i in range(8)))
    pairs = [(2 * i + 1, i + 2) for i in range(8)]

    def ask(i: int) -> list[dict[str, Any]]:
        a, b = pairs[i]
        question = f"What is {a} plus {b}? Answer with the number alone."
        return list(server.lines("/api/chat", chat(question, num_predict=24), key=keys[i]))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    for (a, b), lines in zip(pairs, answers, strict=True):
        assert str(a + b) in text_of(lines)
        assert lines[-1]["done"] and lines[-1]["done_reason"] in {"stop", "length"}
    new = loaded(server) - before  # what others loaded may expire in the meantime
    assert new.total() == (0 if any(name == MODEL for name, _ in before) else 1), "one replica serves all eight"


def test_the_second_turn_does_not_prefill_the_first_again(server: Server) -> None:
    opening = {"role": "user", "content": "Remember the word lighthouse. " * 12 + "Say yes."}
    first = list(
        server.lines("/api/chat", {"model": MODEL, "messages": [opening], "options": {**GREEDY, "num_predict": 4}})
    )
    history = [opening, {"role": "assistant", "content": text_of(first)}, {"role": "user", "content": "Which word?"}]
    list(server.lines("/api/chat", {"model": MODEL, "messages": history, "options": {**GREEDY, "num_predict": 4}}))
    run = server.call("GET", "/api/corral/runs").json()["runs"][0]
    assert run["cached_tokens"] >= 60, run


def test_a_conversation_stays_where_it_was_though_other_replicas_would_take_it(server: Server) -> None:
    for context in (4096, 6144, 8192):
        list(server.lines("/api/chat", chat("Hello.", num_ctx=context, num_predict=1)))
    key, cached = server.new_user("regular"), []
    for _ in range(4):
        list(server.lines("/api/chat", chat("Remember the word anchor. " * 12, num_predict=2), key=key))
        cached.append(server.call("GET", "/api/corral/runs", key=key).json()["runs"][0]["cached_tokens"])
    assert min(cached[1:]) > 60, cached


def test_nobody_reads_anothers_prefix(server: Server) -> None:
    secret = "The secret of this user is that the lighthouse keeper paints boats at night. " * 6
    body = chat(secret, num_predict=2)
    list(server.lines("/api/chat", body, key=server.key))
    stranger = server.new_user("stranger")
    list(server.lines("/api/chat", body, key=stranger))
    run = server.call("GET", "/api/corral/runs", key=stranger).json()["runs"][0]
    assert run["cached_tokens"] < 40, "only the version's own part may be shared"
    list(server.lines("/api/chat", body, key=stranger))
    again = server.call("GET", "/api/corral/runs", key=stranger).json()["runs"][0]
    assert again["cached_tokens"] > 60


def open_runs(server: Server) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = server.call("GET", "/api/corral/runs?state=open").json()["runs"]
    return runs


def start_raw(server: Server, body: dict[str, Any]) -> socket.socket:
    data = json.dumps(body).encode()
    client = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    client.sendall(head.encode() + data)
    return client


def test_a_client_that_leaves_frees_its_slot(server: Server) -> None:
    client = start_raw(server, chat("Count from 1 to 900, one number a line.", num_predict=2000))
    assert b"200" in client.recv(4096)
    wait_for(lambda: open_runs(server))
    client.close()
    wait_for(lambda: not open_runs(server), seconds=5)
    assert server.call("GET", "/api/corral/runs").json()["runs"][0]["outcome"] == "cancelled"


def test_a_client_that_leaves_while_its_prompt_is_prefilled_frees_its_slot(server: Server) -> None:
    words = " ".join(f"word{i}" for i in range(1100))
    client = start_raw(server, chat(words, num_predict=50))
    wait_for(lambda: any(run["state"] == "running" for run in open_runs(server)))
    client.close()
    wait_for(lambda: not open_runs(server), seconds=15)  # a chunk of the prompt is finished first
    run = server.call("GET", "/api/corral/runs").json()["runs"][0]
    assert run["outcome"] == "cancelled" and run["output_tokens"] == 0


def test_a_slow_reader_loses_nothing_and_holds_up_nobody(server: Server) -> None:
    question = chat("Count from 1 to 200, one number a line.", num_predict=150)
    client = start_raw(server, {**question, "logprobs": True})  # of which every token has one
    client.settimeout(30)
    beginning = client.recv(200)
    quick = list(server.lines("/api/chat", chat("Say hello.", num_predict=8)))
    assert quick[-1]["done"]
    time.sleep(1.0)
    rest = b""
    while b'"done":true' not in rest:
        rest += client.recv(512)
        time.sleep(0.001)
    lines = [line for line in (beginning + rest).splitlines() if line.startswith(b"{")]
    said = [json.loads(line) for line in lines]
    tokens = sum(len(line.get("logprobs", ())) for line in said)
    assert said[-1]["eval_count"] - 1 <= tokens <= said[-1]["eval_count"]  # the one that ends it has none
    assert tokens > 20
    client.close()


def test_a_run_can_be_cancelled_by_its_owner_but_not_by_a_stranger(server: Server) -> None:
    stranger = server.new_user("meddler")
    lines: list[dict[str, Any]] = []
    body = chat("Count from 1 to 900, one number a line.", num_predict=2000)
    thread = threading.Thread(target=lambda: lines.extend(server.lines("/api/chat", body, key=server.key)))
    thread.start()
    run = wait_for(lambda: open_runs(server))[0]
    assert server.call("DELETE", f"/api/corral/runs/{run['id']}", key=stranger).status_code == 404
    assert server.call("DELETE", f"/api/corral/runs/{run['id']}", key=server.key).status_code == 204
    thread.join(10)
    assert not thread.is_alive()
    assert lines[-1] == {"error": "request canceled"}


def test_a_websocket_continues_where_it_was(server: Server) -> None:
    collected: list[dict[str, Any]] = []
    body = chat("Count from 1 to 30, one number a line.", num_predict=60)
    thread = threading.Thread(target=lambda: collected.extend(server.lines("/api/chat", body, key=server.key)))
    thread.start()
    run = wait_for(lambda: open_runs(server))[0]
    headers = {"Authorization": f"Bearer {server.key}"}
    url = f"ws://127.0.0.1:{server.port}/ws/streams/{run['stream']}"
    seen: list[dict[str, Any]] = []
    with connect(url, additional_headers=headers) as socket_:
        while len([entry for entry in seen if entry["kind"] == "text"]) < 3:
            seen.append(json.loads(socket_.recv(timeout=20)))
    with connect(f"{url}?from={seen[-1]['offset']}", additional_headers=headers) as socket_:
        for message in socket_:
            seen.append(json.loads(message))
    thread.join(30)
    told = "".join(entry["data"]["t"] for entry in seen if entry["kind"] == "text")
    assert told == text_of(collected) and seen[-1]["kind"] == "end"


def test_a_stranger_may_not_read_along(server: Server) -> None:
    list(server.lines("/api/chat", chat("Say hello.", num_predict=3), key=server.key))
    stream = server.call("GET", "/api/corral/runs", key=server.key).json()["runs"][0]["stream"]
    stranger = server.new_user("eavesdropper")
    url = f"ws://127.0.0.1:{server.port}/ws/streams/{stream}"
    headers = {"Authorization": f"Bearer {stranger}"}
    with connect(url, additional_headers=headers) as socket_, pytest.raises(ConnectionClosedError) as closed:
        socket_.recv(timeout=5)
    assert closed.value.rcvd and closed.value.rcvd.code == 4404


def test_a_key_that_may_not_infer_is_told_so(server: Server) -> None:
    secret = server.manage("create_key", "alice", "narrow", "--scopes", "models")
    answer = server.call("POST", "/api/chat", key=secret, json=chat("hi"))
    assert answer.status_code == 403 and "infer" in answer.json()["error"]


def test_a_proxy_on_this_machine_makes_nobody_the_admin(server: Server) -> None:
    answer = httpx.get(f"{server.url}/api/tags", headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.status_code == 401 and "key" in answer.json()["error"]
    assert httpx.get(f"{server.url}/api/tags").status_code == 200


def test_usage_is_written_for_every_run_also_cancelled_ones(server: Server) -> None:
    key = server.new_user("spender")
    list(server.lines("/api/chat", chat("Say hello.", num_predict=5), key=key))
    usage = server.call("GET", "/api/corral/usage", key=key).json()["usage"]
    assert [row["runs"] for row in usage] == [1]
    assert usage[0]["prompt_tokens"] > 10 and 1 <= usage[0]["output_tokens"] <= 5


@pytest.mark.parametrize("seconds", [60])
def test_keep_alive_shows_in_ps(server: Server, seconds: int) -> None:
    server.call("POST", "/api/generate", json={"model": MODEL, "keep_alive": seconds})
    loaded = {model["name"]: model for model in server.call("GET", "/api/ps").json()["models"]}
    assert loaded[MODEL]["context_length"] >= 4096
