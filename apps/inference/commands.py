"""From a stored request to what the render child is asked, and from its prompt to what the runner is told."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from apps.errors import Problem
from apps.inference.parsing.forms import json_tags
from apps.inference.parsing.reply import Reply
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.types import Message, Request
from apps.registry.resolve import Version

FREE_CHOICES = ("auto", "none")  # of tools: whatever else is said constrains the call
IMAGE_BYTES = 256 << 20  # of all images that one run shows its model


def stored(request: Request, version: Version) -> dict[str, Any]:
    """What a run keeps until its end: the request beside what its version brings."""
    return {
        "request": request.as_data(),
        "system": version.system,
        "stored": [list(pair) for pair in version.messages],
        "template": version.template,
        "model": version.canonical,
    }


def prompt_job(request: Request, payload: Mapping[str, Any], *, context: int, share_key: str = "") -> PromptJob:
    """`payload` as `stored` made it; `context` in tokens; `share_key` says whose request it is."""
    version_template = str(payload["template"])
    return PromptJob(
        kind=request.kind,
        num_ctx=context,
        messages=request.messages,
        stored=tuple(Message(role, content) for role, content in payload["stored"]),
        version_system=payload["system"],
        system=request.system,
        prompt=request.prompt,
        raw=request.raw,
        context=request.context,
        truncate=request.limits.truncate,
        shift=request.limits.shift,
        num_keep=request.limits.num_keep,
        template=request.template or version_template,
        version_template=version_template,
        suffix=request.suffix,
        images=request.images,
        tools=request.tools,
        tool_choice=request.tool_choice,
        think=request.think,
        inputs=request.inputs,
        render_only=request.render_only,
        model=payload.get("model", ""),
        share_key=share_key,
    )


def command(request: Request, prompt: Prompt) -> dict[str, Any]:
    """The runner's command without what names the run (see apps.inference.runner.protocol)."""
    if request.kind == "embed":
        return {"do": "embed", "inputs": [list(tokens) for tokens in prompt.inputs], "dimensions": request.dimensions}
    limits = request.limits
    grammar = _grammar(request, prompt.reply)
    tokens, images = _shown(request, prompt)
    return {
        "do": "run",
        "tokens": tokens,
        "images": images,
        "public_tokens": prompt.public_tokens,
        "sampling": vars(request.sampling),
        "limits": {
            "num_predict": limits.num_predict,
            "num_keep": limits.num_keep,
            "stop": list(limits.stop),
            "shift": limits.shift,
        },
        "want_context": request.kind == "generate" and not request.raw,
        "reply": prompt.reply.as_data() if prompt.reply else None,
        "grammar": grammar,
        "logprobs": request.logprobs,
        "think_first": grammar is not None and _thinks(prompt.reply),
    }


def packed(command: Mapping[str, Any]) -> bytes:
    """A command as it goes to the runner: a line of JSON, and its images behind it."""
    images = command.get("images") or []
    plain = {**command, "images": [len(image) for image in images]} if images else command
    return b"".join([json.dumps(plain, separators=(",", ":")).encode(), b"\n", *images])


def words(prompt: Prompt) -> tuple[int, ...]:
    """Its tokens without the places of images: what a later request may bring back as its context."""
    return tuple(token for token in prompt.tokens if token >= 0) if prompt.images else prompt.tokens


def _shown(request: Request, prompt: Prompt) -> tuple[list[int], list[bytes]]:
    """The tokens and the images that stand among them, numbered without those that were dropped. Raises Problem."""
    if not prompt.images:
        return list(prompt.tokens), []
    sent = [image for message in request.messages for image in message.images] or request.images
    numbers = {place: number for number, place in enumerate(sorted({t for t in prompt.tokens if t < 0}, reverse=True))}
    images = [base64.b64decode(sent[-1 - place]) for place in numbers]
    if sum(map(len, images)) > IMAGE_BYTES:
        raise Problem("too_large", f"the images of a request may have {IMAGE_BYTES >> 20} MiB together at most")
    return [token if token >= 0 else -1 - numbers[token] for token in prompt.tokens], images


def forces_call(request: Request) -> bool:
    return bool(request.tools) and request.tool_choice not in FREE_CHOICES


def _grammar(request: Request, reply: Reply | None) -> dict[str, Any] | None:
    """A call that must come wins over a format, and a format over calls that may: no reply can be both."""
    if forces_call(request):
        return {"kind": "tools", "tools": list(request.tools), "choice": request.tool_choice}
    if request.format:
        return asdict(request.format) if request.format.kind == "schema" else {"kind": "json"}
    written = json_tags(reply) if reply and request.strict_tools and request.tool_choice == "auto" else None
    return None if written is None else {"kind": "strict", "tools": list(request.tools), "written": dict(written)}


def _thinks(reply: Reply | None) -> bool:
    return reply is not None and reply.thinking is not None
