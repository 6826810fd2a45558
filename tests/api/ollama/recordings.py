"""The golden exchanges of tests/wire, by name."""

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[2] / "wire" / "ollama.jsonl"

EXCHANGES: dict[str, dict[str, Any]] = {
    exchange["name"]: exchange for exchange in map(json.loads, _FILE.read_text("utf-8").splitlines())
}


def body_of(name: str) -> Any:
    return EXCHANGES[name]["response"]["body"]


def shape(value: Any) -> Any:
    """Keys in their order and the kinds of their values: what a golden reply promises."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    return type(value).__name__
