"""The loads, as async functions over one small HTTP client. Times are in seconds, measured at the client.

A peer is spoken to in its own dialect: Corral through /api/chat, llama-server through /v1/chat/completions.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, str]
Schema = dict[str, Any]


@dataclass
class Answer:
    """When a request was sent, when each piece of text came, how many tokens were made."""

    sent: float
    pieces: list[float] = field(default_factory=list)
    tokens: int = 0
    ended: float = 0.0

    @property
    def first(self) -> float:
        return self.pieces[0] - self.sent

    @property
    def rate(self) -> float:
        """Tokens a second from the first piece to the last."""
        return (self.tokens - 1) / (self.pieces[-1] - self.pieces[0])

    @property
    def longest_gap(self) -> float:
        return max(b - a for a, b in zip(self.pieces, self.pieces[1:], strict=False))


async def request(port: int, method: str, path: str, body: bytes = b"", headers: str = "") -> AsyncIterator[bytes]:
    """The body's lines of one HTTP/1.1 exchange on loopback. The client is as small as can be: it shares the cores."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    status = await reader.readline()
    chunked = False
    while (line := await reader.readline()) not in (b"\r\n", b""):
        chunked = chunked or line.lower().startswith(b"transfer-encoding: chunked")
    if b" 200 " not in status:
        raise RuntimeError(f"{path}: {status.decode().strip()} {(await reader.read()).decode()[:500]}")
    buffer = b""
    async for data in _body(reader, chunked=chunked):
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            yield line
    if buffer:
        yield buffer
    writer.close()


async def _whole(port: int, path: str, body: bytes, headers: str = "") -> Any:
    return json.loads(b"".join([line async for line in request(port, "POST", path, body, headers)]))


async def _body(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    if not chunked:
        yield await reader.read()
        return
    while size := int((await reader.readline()).strip() or b"0", 16):
        yield await reader.readexactly(size)
        await reader.readline()


@dataclass
class CorralPeer:
    """`keys` are those of the users; `model` is what they ask for. Spoken to through /api/chat and /api/generate."""

    port: int
    keys: Sequence[str]
    model: str
    name: str = "corral"

    async def chat(self, messages: Sequence[Message], *, tokens: int, user: int = 0, model: str = "") -> Answer:
        return await self._ask("/api/chat", {"messages": list(messages)}, tokens=tokens, user=user, model=model)

    async def complete(self, prompt: str, *, tokens: int, user: int = 0, schema: Schema | None = None) -> Answer:
        what: dict[str, Any] = {"prompt": prompt, "raw": True} | ({"format": schema} if schema else {})
        return await self._ask("/api/generate", what, tokens=tokens, user=user)

    async def embed(self, texts: Sequence[str], *, user: int = 0) -> int:
        """How many vectors came."""
        body = json.dumps({"model": self.model, "input": list(texts)}).encode()
        return len((await _whole(self.port, "/api/embed", body, self._headers(user)))["embeddings"])

    async def list_models(self) -> None:
        async for _ in request(self.port, "GET", "/api/tags", headers=self._headers(0)):
            pass

    async def _ask(self, path: str, what: dict[str, Any], *, tokens: int, user: int, model: str = "") -> Answer:
        options = {"temperature": 0, "num_predict": tokens}
        body = json.dumps({"model": model or self.model, "options": options, **what}).encode()
        answer = Answer(time.perf_counter())
        async for line in request(self.port, "POST", path, body, self._headers(user)):
            data = json.loads(line)
            if "error" in data:
                raise RuntimeError(data["error"])
            if data["message"]["content"] if "message" in data else data["response"]:
                answer.pieces.append(time.perf_counter())
            if data["done"]:
                answer.tokens = data["eval_count"]
        answer.ended = time.perf_counter()
        return answer

    def _headers(self, user: int) -> str:
        return f"Authorization: Bearer {self.keys[user % len(self.keys)]}\r\n"


@dataclass
class LlamaServerPeer:
    """It has no users and no models to name. Spoken to through /v1/chat/completions and /completion."""

    port: int
    name: str = "llama-server"

    async def chat(self, messages: Sequence[Message], *, tokens: int, user: int = 0, model: str = "") -> Answer:
        return await self._ask("/v1/chat/completions", {"messages": list(messages), "max_tokens": tokens})

    async def complete(self, prompt: str, *, tokens: int, user: int = 0, schema: Schema | None = None) -> Answer:
        what = {"prompt": prompt, "n_predict": tokens} | ({"json_schema": schema} if schema else {})
        return await self._ask("/completion", what)

    async def embed(self, texts: Sequence[str], *, user: int = 0) -> int:
        """How many vectors came."""
        body = json.dumps({"input": list(texts)}).encode()
        return len((await _whole(self.port, "/v1/embeddings", body))["data"])

    async def list_models(self) -> None:
        async for _ in request(self.port, "GET", "/v1/models"):
            pass

    async def _ask(self, path: str, what: dict[str, Any]) -> Answer:
        body = json.dumps({"stream": True, "temperature": 0, "cache_prompt": True, **what}).encode()
        answer = Answer(time.perf_counter())
        async for line in request(self.port, "POST", path, body):
            if not line.startswith(b"data: {"):
                continue
            data: Any = json.loads(line[6:])
            text = data.get("content") or "".join(
                choice["delta"].get("content") or "" for choice in data.get("choices", ())
            )
            if text:
                answer.pieces.append(time.perf_counter())
            if "timings" in data:
                answer.tokens = data["timings"]["predicted_n"]
        answer.ended = time.perf_counter()
        return answer
