"""The golden exchanges of tests/wire, by name."""

import json
from pathlib import Path
from typing import Any

_WIRE = Path(__file__).parents[2] / "wire"


def _named(file: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in map(json.loads, (_WIRE / file).read_text("utf-8").splitlines())}


EXCHANGES = _named("ollama.jsonl")
FRAMES = _named("frames.jsonl")
PICTURE = (  # a PNG of 8 x 8 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC"
)


def body_of(name: str) -> Any:
    return EXCHANGES[name]["response"]["body"]


def shape(value: Any) -> Any:
    """Keys in their order and the kinds of their values: what a golden reply promises."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    return type(value).__name__
