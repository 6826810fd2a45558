"""What a model can do, and its human figures (wire contract, section 23). Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

COMPLETION, TOOLS, THINKING = "completion", "tools", "thinking"
EMBEDDING, VISION, AUDIO = "embedding", "vision", "audio"

QUANTIZATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0",
}  # fmt: skip


def quantization(file_type: Any) -> str:
    """The name of `general.file_type`. A missing one is `unknown`; so is 0, which cannot be told from missing."""
    if not isinstance(file_type, int) or isinstance(file_type, bool) or file_type == 0:
        return "unknown"
    return QUANTIZATIONS.get(file_type, "unknown")


def parameter_text(count: int) -> str:
    """8030261312 -> 8.0B, 630167424 -> 630.17M, as Ollama rounds them."""
    for unit, letter, digits in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0)):
        if count >= unit:
            return f"{count // unit}{letter}" if count % unit == 0 else f"{count / unit:.{digits}f}{letter}"
    return str(count)


def derive(
    *,
    config: Mapping[str, Any],
    metadata: Mapping[str, Any],
    template: str = "",
    projectors: Sequence[Mapping[str, Any]] = (),
) -> tuple[str, ...]:
    """The words of a model, in the contract's order. `template` is a Modelfile's; else the GGUF's Jinja counts."""
    architecture = metadata.get("general.architecture", "")
    words = [str(word) for word in config.get("capabilities") or ()]
    if not template:
        words += _from_jinja(str(metadata.get("tokenizer.chat_template", "")))
    words.append(EMBEDDING if f"{architecture}.pooling_type" in metadata else COMPLETION)
    words += [word for word in (VISION, AUDIO) if f"{architecture}.{word}.block_count" in metadata]
    words += [AUDIO if projector.get("clip.has_audio_encoder") else VISION for projector in projectors]
    words += _from_go(template)
    if str(config.get("model_family", "")).lower() in {"gptoss", "gpt-oss"}:
        words.append(THINKING)
    return tuple(dict.fromkeys(words))


def _from_jinja(template: str) -> list[str]:
    words = [TOOLS] if "tools" in template or "tool_call" in template else []
    if "<think>" in template and "</think>" in template:
        return [*words, THINKING]
    splits = "split('</think>')" in template or 'split("</think>")' in template
    if splits and "reasoning_content" not in template and "<SPECIAL_12>" not in template:
        words.append(THINKING)
    return words


def _from_go(template: str) -> list[str]:
    """Variables that a Go template mentions between its braces; names compare without case."""
    actions = " ".join(re.findall(r"\{\{.*?\}\}", template, re.DOTALL)).lower()
    words = [TOOLS] if re.search(r"\.tools\b", actions) else []
    if re.search(r"\.suffix\b", actions):
        words.append("insert")
    return words + ([THINKING] if re.search(r"\.thinking\b", actions) else [])
