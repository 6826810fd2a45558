"""The golden exchanges of tests/wire, by name, and event streams as what they say."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_WIRE = Path(__file__).parents[2] / "wire"


def _named(file: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in map(json.loads, (_WIRE / file).read_text("utf-8").splitlines())}


EXCHANGES = _named("anthropic.jsonl")  # recorded with Ollama
FRAMES = _named("anthropic-frames.jsonl")  # by hand: frames, the events they become, the message in one piece


def body_of(name: str) -> Any:
    return EXCHANGES[name]["response"]["body"]


def events(lines: Iterable[str]) -> list[dict[str, Any]]:
    """What a stream's lines say: two lines an event and an empty one behind, the name and the type the same."""
    said = list(lines)
    assert len(said) % 3 == 0 and not any(said[2::3]), said
    pairs = list(zip(said[::3], said[1::3], strict=True))
    parsed: list[dict[str, Any]] = [json.loads(data.removeprefix("data: ")) for _, data in pairs]
    assert [f"event: {event['type']}" for event in parsed] == [name for name, _ in pairs]
    return parsed


def holds(said: Any, golden: Any) -> bool:
    """Whether `said` has all keys of `golden` with values of the same kinds. It may have more: clients ignore them."""
    if isinstance(golden, dict):
        return isinstance(said, dict) and all(key in said and holds(said[key], golden[key]) for key in golden)
    if isinstance(golden, list) and golden:
        return isinstance(said, list) and bool(said) and holds(said[0], golden[0])
    return type(said) is type(golden)
