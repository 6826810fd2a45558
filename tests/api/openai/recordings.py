"""The golden exchanges of tests/wire/openai.jsonl by name, and event streams as what they say."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[2] / "wire" / "openai.jsonl"

EXCHANGES: dict[str, dict[str, Any]] = {
    exchange["name"]: exchange for exchange in map(json.loads, _FILE.read_text("utf-8").splitlines())
}


def body_of(name: str) -> Any:
    return EXCHANGES[name]["response"]["body"]


def data(lines: Iterable[str]) -> list[Any]:
    """What the `data:` lines of a stream hold; "[DONE]" stays a text, a line that was cut in recording is left out."""
    texts = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [text if text == "[DONE]" else json.loads(text) for text in texts if not text.endswith("…")]


def names(lines: Iterable[str]) -> list[str]:
    return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]


def holds(said: Any, golden: Any) -> bool:
    """Whether `said` has all keys of `golden` with values of the same kinds. It may have more: clients ignore them."""
    if isinstance(golden, dict):
        return isinstance(said, dict) and all(key in said and holds(said[key], golden[key]) for key in golden)
    if isinstance(golden, list) and golden:
        return isinstance(said, list) and bool(said) and holds(said[0], golden[0])
    if isinstance(golden, int | float) and not isinstance(golden, bool):
        return isinstance(said, int | float) and not isinstance(said, bool)
    return type(said) is type(golden)
