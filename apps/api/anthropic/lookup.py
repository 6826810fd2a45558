"""A typed model name -> what the caller may see under it; what is another's reads like what does not exist."""

from rest_framework.request import Request

from apps.accounts import access
from apps.api import inference
from apps.api.anthropic.errors import Refusal
from apps.registry import capabilities, names, resolve
from apps.registry.names import ModelName
from apps.registry.resolve import Version


def version(typed: str, request: Request) -> Version:
    ModelName.parse(names.without_source(typed))
    return resolve.version(typed, access.of(request).user)


def check(version: Version, typed: str, **wanted: bool) -> None:
    """Refuses what the model cannot do: to chat at all, then each capability that is `wanted`."""
    inference.needs(version, capabilities.COMPLETION, words=lambda _: Refusal(f'"{typed}" does not support chat'))
    for capability in (name for name, asked in wanted.items() if asked):
        inference.needs(version, capability, words=lambda name: _lacking(version, typed, name))


def _lacking(version: Version, typed: str, capability: str) -> Refusal:
    if capability == capabilities.VISION:
        return Refusal(f'"{typed}" does not support images')
    return Refusal(f"{version.canonical} does not support {capability}")
