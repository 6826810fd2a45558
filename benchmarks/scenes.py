"""The scenes: each runs one load against one peer and returns its figures by name."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.loads import Answer, CorralPeer, LlamaServerPeer, Message
from benchmarks.words import prose

AnyPeer = CorralPeer | LlamaServerPeer
Figures = dict[str, float]
STREAMS = 8
LENGTH = 128
TOGETHER = "eight users of one SYSTEM"


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def numbers_from(start: int) -> str:
    """A text that this model continues for as long as it is let."""
    return f"{prose(20)}\n" + ", ".join(str(number) for number in range(start, start + 6)) + ","


async def one_stream(peer: AnyPeer) -> Figures:
    answer = await peer.complete(numbers_from(100), tokens=LENGTH)
    return {"one stream, tokens/s": answer.rate, "one stream, longest gap (ms)": 1000 * answer.longest_gap}


async def eight_streams(peer: AnyPeer) -> Figures:
    begun = time.perf_counter()
    answers = await asyncio.gather(
        *(peer.complete(numbers_from(100 * (i + 1)), tokens=LENGTH, user=i) for i in range(STREAMS))
    )
    seconds = max(answer.ended for answer in answers) - begun
    return {
        "eight streams, tokens/s": sum(answer.tokens for answer in answers) / seconds,
        "eight streams, longest gap (ms)": 1000 * max(answer.longest_gap for answer in answers),
    }


async def first_token(peer: AnyPeer) -> Figures:
    answer = await peer.chat([user(prose(40))], tokens=4)
    return {"time to first token, 60-token prompt (ms)": 1000 * answer.first}


async def beside_a_prefill(peer: AnyPeer) -> Figures:
    """A stream runs while a prompt of 1,500 tokens is prefilled beside it."""
    running = asyncio.create_task(peer.complete(numbers_from(100), tokens=320))
    await asyncio.sleep(1.5)
    sent = time.perf_counter()
    long = await peer.chat([user(prose(1500))], tokens=4, user=1)
    stream = await running
    gaps = [b - a for a, b in zip(stream.pieces, stream.pieces[1:], strict=False) if b > sent and a < long.pieces[0]]
    return {
        "beside a 1,500-token prefill, longest gap (ms)": 1000 * max(gaps),
        "the long prompt's own first token (ms)": 1000 * long.first,
    }


def _median_first(answers: list[Answer]) -> float:
    return 1000 * statistics.median(answer.first for answer in answers)


@dataclass(frozen=True)
class Shared:
    """Eight users of one model with a SYSTEM of 900 tokens. `prepare` makes that model where the peer has models."""

    prepare: Callable[[AnyPeer, str], Awaitable[str]]

    async def ask(self, peer: AnyPeer, text: str, model: str, i: int) -> Answer:
        question = [user(f"Question {i}: name the {i}th thing.")]
        messages = question if model else [system(text), *question]
        return await peer.chat(messages, tokens=4, user=i, model=model)

    async def in_turn(self, peer: AnyPeer) -> Figures:
        text = prose(900)
        model = await self.prepare(peer, text)
        answers = [await self.ask(peer, text, model, i) for i in range(STREAMS)]
        return {f"{TOGETHER} in turn, first token after the first user (ms)": _median_first(answers[1:])}

    async def at_once(self, peer: AnyPeer) -> Figures:
        text = prose(900)
        model = await self.prepare(peer, text)
        answers = list(await asyncio.gather(*(self.ask(peer, text, model, i) for i in range(STREAMS))))
        return {f"{TOGETHER} at once, median first token (ms)": _median_first(answers)}


async def second_turn(peer: AnyPeer) -> Figures:
    """A conversation goes on after somebody else's request."""
    opening = user(prose(400))
    await peer.chat([opening], tokens=4, user=0)
    await peer.chat([user(prose(100))], tokens=4, user=1)
    again = await peer.chat([opening, {"role": "assistant", "content": "Yes."}, user("And then?")], tokens=4, user=0)
    return {"second turn after somebody else's request, first token (ms)": 1000 * again.first}


async def model_list(peer: AnyPeer) -> Figures:
    seconds, clients = 3.0, 4
    stop = time.perf_counter() + seconds
    done = 0

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < stop:
            await peer.list_models()
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return {"model list, requests/s": done / seconds}
