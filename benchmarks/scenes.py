"""The scenes: each runs a load against one peer and yields its figures by name.

One that yields more than once can be set beside the other peer's at each step: a machine whose speed changes within a
minute is then the same for both.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from apps.inference import types
from apps.inference.prompt import conversation
from apps.inference.prompt.client import Renderer
from apps.inference.prompt.engines import Engines
from apps.inference.prompt.job import PromptJob
from benchmarks.loads import Answer, CorralPeer, LlamaServerPeer, Message, Schema
from benchmarks.words import Texts

AnyPeer = CorralPeer | LlamaServerPeer
Figures = dict[str, float]
STREAMS = 8
LENGTH = 128
AGAIN = 48  # how often a round asks for a first token: what it measures is small, and the machine is never quite quiet
TOGETHER = "eight users of one SYSTEM"
BEGINNINGS = (
    "Please", "Now", "Quickly", "Kindly", "First", "Then", "Just", "Also",
    "Next", "Today", "Once", "Simply", "Again", "Tell", "Well", "Finally",
    "Maybe", "Perhaps", "Could", "Would", "Here", "Soon", "Still", "Always",
)  # fmt: skip
TURNS = 200
SENTENCES, SENTENCE_TOKENS = 256, 30
PEOPLE: Schema = {
    "type": "array",
    "minItems": 60,  # more than is waited for: no stream ends early
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 24},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "city": {"type": "string", "maxLength": 24},
        },
        "required": ["name", "age", "city"],
        "additionalProperties": False,
    },
}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def numbers_from(start: int, texts: Texts) -> str:
    """A text that this model continues for as long as it is let."""
    return f"{texts.prose(20)}\n" + ", ".join(str(number) for number in range(start, start + 6)) + ","


async def one_stream(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    answer = await peer.complete(numbers_from(100, texts), tokens=LENGTH)
    yield {"one stream, tokens/s": answer.rate, "one stream, longest gap (ms)": 1000 * answer.longest_gap}


async def eight_streams(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    begun = time.perf_counter()
    answers = await asyncio.gather(
        *(peer.complete(numbers_from(100 * (i + 1), texts), tokens=LENGTH, user=i) for i in range(STREAMS))
    )
    seconds = max(answer.ended for answer in answers) - begun
    yield {
        "eight streams, tokens/s": sum(answer.tokens for answer in answers) / seconds,
        "eight streams, longest gap (ms)": 1000 * max(answer.longest_gap for answer in answers),
    }


async def first_token(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    for _ in range(AGAIN):
        answer = await peer.chat([user(texts.prose(40))], tokens=4)
        yield {"time to first token, 60-token prompt (ms)": 1000 * answer.first}


async def beside_a_prefill(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    """A stream runs while a prompt of 1,500 tokens is prefilled beside it."""
    running = asyncio.create_task(peer.complete(numbers_from(100, texts), tokens=320))
    await asyncio.sleep(1.5)
    sent = time.perf_counter()
    long = await peer.chat([user(texts.prose(1500))], tokens=4, user=1)
    stream = await running
    gaps = [b - a for a, b in zip(stream.pieces, stream.pieces[1:], strict=False) if b > sent and a < long.pieces[0]]
    yield {
        "beside a 1,500-token prefill, longest gap (ms)": 1000 * max(gaps),
        "the long prompt's own first token (ms)": 1000 * long.first,
    }


@dataclass(frozen=True)
class Shared:
    """Eight users of one model with a SYSTEM of 900 tokens; in turn each asks twice. `prepare` makes that model where
    the peer has models."""

    prepare: Callable[[AnyPeer, str], Awaitable[str]]

    async def ask(self, peer: AnyPeer, text: str, model: str, i: int) -> Answer:
        """No two questions begin alike: only the SYSTEM is shared. Corral reuses what a user wrote for nobody else; the
        peer would skip what the questions have in common."""
        question = [user(f"{BEGINNINGS[i]} name the {i}th thing.")]
        messages = question if model else [system(text), *question]
        return await peer.chat(messages, tokens=4, user=i, model=model)

    async def in_turn(self, peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
        text = texts.prose(900)
        model = await self.prepare(peer, text)
        await self.ask(peer, text, model, 0)
        for i in range(1, len(BEGINNINGS)):
            answer = await self.ask(peer, text, model, i)
            yield {f"{TOGETHER} in turn, first token after the first user (ms)": 1000 * answer.first}

    async def at_once(self, peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
        text = texts.prose(900)
        model = await self.prepare(peer, text)
        answers = list(await asyncio.gather(*(self.ask(peer, text, model, i) for i in range(STREAMS))))
        median = statistics.median(answer.first for answer in answers)
        yield {f"{TOGETHER} at once, median first token (ms)": 1000 * median}


async def second_turn(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    """A conversation goes on after somebody else's request."""
    opening = [user(texts.prose(400)), {"role": "assistant", "content": "Yes."}]
    await peer.chat(opening[:1], tokens=4, user=0)
    for beginning in BEGINNINGS:
        await peer.chat([user(texts.prose(100))], tokens=4, user=1)
        answer = await peer.chat([*opening, user(f"{beginning} say why.")], tokens=4, user=0)
        yield {"second turn after somebody else's request, first token (ms)": 1000 * answer.first}


async def model_list(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    seconds, clients = 3.0, 4
    stop = time.perf_counter() + seconds
    done = 0

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < stop:
            await peer.list_models()
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    yield {"model list, requests/s": done / seconds}


def people_from(start: int, texts: Texts) -> str:
    """A prompt that this model goes on with in JSON anyway."""
    return f"{texts.prose(20)}\n{start} people as a JSON list of objects with name, age and city:\n```json\n"


async def json_one_stream(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    free = await peer.complete(numbers_from(100, texts), tokens=LENGTH)
    held = await peer.complete(people_from(100, texts), tokens=LENGTH, schema=PEOPLE)
    yield {
        "one stream of JSON by schema, tokens/s": held.rate,
        "one stream of JSON by schema, of the free rate": held.rate / free.rate,
    }


async def json_eight_streams(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    free = await _together(peer, [numbers_from(100 * (i + 1), texts) for i in range(STREAMS)])
    held = await _together(peer, [people_from(100 * (i + 1), texts) for i in range(STREAMS)], PEOPLE)
    yield {
        "eight streams of JSON by schema, tokens/s": held,
        "eight streams of JSON by schema, of the free rate": held / free,
    }


async def _together(peer: AnyPeer, prompts: list[str], schema: Schema | None = None) -> float:
    """Tokens a second of eight streams, their prompts included."""
    begun = time.perf_counter()
    answers = await asyncio.gather(
        *(peer.complete(prompt, tokens=LENGTH, user=i, schema=schema) for i, prompt in enumerate(prompts))
    )
    return sum(answer.tokens for answer in answers) / (max(answer.ended for answer in answers) - begun)


async def embeddings(peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
    """Texts of some 20 words, 64 to a request, two requests at a time."""
    sentences = [texts.prose(SENTENCE_TOKENS) for _ in range(SENTENCES)]
    begun = time.perf_counter()
    counts = await asyncio.gather(*(_embed_all(peer, sentences[half::2], user=half) for half in range(2)))
    yield {"embeddings, sentences/s": sum(counts) / (time.perf_counter() - begun)}


async def _embed_all(peer: AnyPeer, texts: list[str], *, user: int) -> int:
    return sum([await peer.embed(texts[at : at + 64], user=user) for at in range(0, len(texts), 64)])


@dataclass(frozen=True)
class Prompts:
    """Prompts alone, without a model: the template by itself, and all that the render child does, over its pipe. The
    peer has no such thing to ask."""

    renderer: Renderer
    templates: Engines

    async def long_chat(self, peer: AnyPeer, texts: Texts) -> AsyncIterator[Figures]:
        """A conversation that was never seen before, and the same when it goes on."""
        if isinstance(peer, LlamaServerPeer):
            return
        rendered, first, next_turn = [], [], []
        for number in range(9):
            said = [f"{turn}: {texts.prose(20)}" for turn in range(TURNS + 1)]
            begun, goes_on = (_job(part, f"user {number}") for part in (said[: TURNS - 1], said))
            rendered.append(_milliseconds(self._render, begun))
            first.append(await asyncio.to_thread(_milliseconds, self._build, begun))
            next_turn.append(await asyncio.to_thread(_milliseconds, self._build, goes_on))
        yield {
            f"a chat of {TURNS} messages rendered (ms)": statistics.median(rendered),
            "rendered and tokenised, in the render child (ms)": statistics.median(first),
            "the same with its next two messages (ms)": statistics.median(next_turn),
        }

    def _render(self, job: PromptJob) -> None:
        if not self.templates.of(job).render(conversation.of(job)):
            raise RuntimeError("the prompt is empty")

    def _build(self, job: PromptJob) -> None:
        prompt = self.renderer.render(job)
        if not prompt.tokens or prompt.dropped_messages:
            raise RuntimeError("the chat did not fit")


def _job(said: list[str], user: str) -> PromptJob:
    roles = ("user", "assistant")
    messages = tuple(types.Message(roles[turn % 2], text) for turn, text in enumerate(said))
    return PromptJob(kind="chat", num_ctx=32768, messages=messages, share_key=user)


def _milliseconds(work: Callable[[PromptJob], None], job: PromptJob) -> float:
    begun = time.perf_counter()
    work(job)
    return 1000 * (time.perf_counter() - begun)
