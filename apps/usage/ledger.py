"""Writing the ledger. A row is written in the transaction that ends the run, so the two never disagree."""

import uuid
from dataclasses import asdict, dataclass

from apps import compiled
from apps.compiled import Question
from apps.usage.models import Usage


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Lengths in tokens, durations in milliseconds."""

    run_id: uuid.UUID
    user_id: int
    user_name: str
    key_id: int | None
    model: str
    version: str
    kind: str
    outcome: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    queue_ms: int = 0
    load_ms: int = 0
    prompt_ms: int = 0
    eval_ms: int = 0


def insertion(entry: Entry) -> Question:
    """The row's INSERT, for `together`."""
    return compiled.insertion(Usage(**asdict(entry)))
