"""The guide's older bodies of /api/create -> a CreateSpec. Whatever else a body says is checked by the registry."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.api.ollama.bodies import CreateRequest, Message
from apps.errors import Problem
from apps.inference.prompt.gotemplate import Template, TemplateError
from apps.registry import modelfile, specs
from apps.registry.specs import CreateSpec

MAX_MODELFILE_BYTES = 1024 * 1024
_PLAIN = ("role", "content")


def spec_of(body: CreateRequest) -> CreateSpec:
    """Raises Problem with the contract's texts, in its order of checks."""
    data = _as_data(body)
    if body.path and not (body.base or body.files is not None or body.modelfile):
        data["modelfile"] = _read(body.path)
    if _has_nul(data):
        raise Problem("invalid", "a model's texts must not contain the character U+0000")
    spec = specs.from_body(data)
    check_template(spec.template)
    return spec


def check_template(text: str) -> None:
    """Raises Problem("invalid") with the contract's text for what is no Go template."""
    try:
        Template.parse(text)
    except TemplateError as error:
        raise Problem("invalid", f"template error: {error}") from error


def _as_data(body: CreateRequest) -> dict[str, Any]:
    """The body by the wire's names, as the registry reads it."""
    data = {spec.metadata["name"] or spec.name: getattr(body, spec.name) for spec in fields(body)}
    return {**data, "messages": tuple(_plain(message) for message in body.messages)}


def _has_nul(value: Any) -> bool:
    """PostgreSQL's jsonb, which keeps the job's parameters, cannot hold it."""
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(_has_nul(item) for item in value)
    return isinstance(value, str) and "\x00" in value


def _plain(message: Message) -> dict[str, str]:
    for spec in fields(message):
        if spec.name not in _PLAIN and getattr(message, spec.name):
            raise Problem("invalid", f"messages.{spec.name} cannot be stored in a model yet")
    return {"role": message.role.lower(), "content": message.content}


def _read(path: str) -> str:
    """A Modelfile on the server's disk, only from folders that CORRAL_MODELFILE_DIRS names."""
    wanted = Path(path).expanduser()
    file = wanted.resolve()
    allowed = wanted.is_absolute() and any(file.is_relative_to(Path(d).resolve()) for d in settings.MODELFILE_DIRS)
    if not allowed:
        raise Problem(
            "invalid", "path must name a Modelfile in a folder that the server allows; send modelfile instead"
        )
    if not file.is_file() or file.stat().st_size > MAX_MODELFILE_BYTES:
        raise Problem("invalid", "path does not name a Modelfile")
    return modelfile.decode(file.read_bytes())
