"""A second name for what a name means now (wire contract, section 10.1). No bytes are copied."""

from django.db import transaction

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import commits, locks, resolve
from apps.registry.models import Manifest, Model
from apps.registry.names import ModelName


def copy(*, source: str, destination: str, user: User) -> Model:
    """Raises Problem: "invalid" for a malformed name, "not_found" for a source out of sight, and as resolve.target."""
    for label, text in (("source", source), ("destination", destination)):
        _check(label, text)
    try:
        original = resolve.find(source, user)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        raise _missing(source) from None
    with transaction.atomic():
        locks.hold(f"manifest {original.manifest.digest}")
        row = Manifest.objects.filter(pk=original.manifest_id).select_for_update().first()
        if row is None:
            raise _missing(source)
        return commits.point(resolve.target(destination, user), row, actor=user, action="model.copy")


def _missing(source: str) -> Problem:
    return Problem("not_found", f'model "{source}" not found')


def _check(label: str, text: str) -> None:
    try:
        ModelName.parse(text)
    except Problem:
        raise Problem("invalid", f"{label} {_go_quoted(text)} is invalid") from None


def _go_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
