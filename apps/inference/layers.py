"""What makes one loaded copy of some weights differ from another, whatever a request asks for. Pure."""

import hashlib
from collections.abc import Sequence

# Options of a run and its replica that no request can name: the digests of what is loaded over and beside the weights,
# in order and with spaces between, and whether the model has nothing but embeddings.
LAYERS = ("adapters", "projectors")
EMBEDS_ONLY = "embeds_only"
# What a memory estimate knows of a run beside the GGUF's metadata: whether the model takes images, and the tokens that
# are computed at once.
SEES = "sees"
BATCH = "batch"


def key(weights: str, layers: Sequence[str]) -> str:
    """What a replica holds, as one text: the weights' digest, and behind a plus what stands for the layers."""
    if not layers:
        return weights
    return f"{weights}+{hashlib.sha256(' '.join(layers).encode()).hexdigest()[:16]}"


def weights_of(key: str) -> str:
    """The digest of the weights alone."""
    return key.partition("+")[0]
