"""Model names: `[scheme://][host[:port]/][namespace/]model[:tag]` (wire contract, section 15). Pure.

What is made on this server lives under the host `local`; what was pulled keeps the host of its registry.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from apps.errors import Problem

LOCAL = "local"
LIBRARY = "library"
LATEST = "latest"
DEFAULT_REGISTRY = "registry.ollama.ai"

_PATTERNS = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}


@dataclass(frozen=True)
class ModelName:
    """A complete name. `given` says which parts were typed; the others hold defaults (host `local`)."""

    host: str
    namespace: str
    model: str
    tag: str = LATEST
    given: frozenset[str] = field(default=frozenset(_PATTERNS), compare=False)

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Raises Problem("invalid") with the contract's text when `text` is no name."""
        parts = _split(text)
        if not all(_PATTERNS[part].fullmatch(value) for part, value in parts.items()):
            raise Problem("invalid", "invalid model name")
        whole = {"host": LOCAL, "namespace": LIBRARY, "tag": LATEST, **parts}
        return cls(**whole, given=frozenset(parts))

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What two names are compared by: names differ in more than case."""
        return (self.host.lower(), self.namespace.lower(), self.model.lower(), self.tag.lower())

    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def canonical(self) -> str:
        """As Ollama writes a whole name (error texts): what is local reads as if it came from the default registry."""
        host = DEFAULT_REGISTRY if self.host == LOCAL else self.host
        return f"{host}/{self.namespace}/{self.model}:{self.tag}"

    def forms(self, viewer: str) -> list[str]:
        """The ways the user named `viewer` may write this name, shortest first, always with the tag."""
        forms = [self.full()]
        if self.host in (LOCAL, DEFAULT_REGISTRY):
            forms.insert(0, f"{self.namespace}/{self.model}:{self.tag}")
        if self._unqualified_for(viewer):
            forms.insert(0, f"{self.model}:{self.tag}")
        return forms

    def short(self, viewer: str = "") -> str:
        return self.forms(viewer)[0]

    def precedence(self, viewer: str) -> int:
        """Which of several names an ambiguous text means: mine, what is made here, the default registry's, the rest."""
        if self.host == LOCAL:
            return 0 if viewer and self.namespace.lower() == viewer.lower() else 1
        return 2 if self.host == DEFAULT_REGISTRY else 3

    def _unqualified_for(self, viewer: str) -> bool:
        namespace = self.namespace.lower()
        if self.host == LOCAL:
            return namespace == LIBRARY or (bool(viewer) and namespace == viewer.lower())
        return self.host == DEFAULT_REGISTRY and namespace == LIBRARY


def _split(text: str) -> dict[str, str]:
    """The parts that are there, from the right; a part that is promised by its separator and missing is empty."""
    parts: dict[str, str] = {}
    rest = text
    if rest.rfind(":") > rest.rfind("/"):
        rest, _, parts["tag"] = rest.rpartition(":")
    rest, slash, parts["model"] = rest.rpartition("/")
    if not slash:
        return parts
    rest, slash, parts["namespace"] = rest.rpartition("/")
    if not slash:
        return parts
    _, separator, host = rest.partition("://")
    parts["host"] = host if separator else rest
    if parts["host"].lower() == LOCAL:
        parts["host"] = LOCAL
    return parts


def shorten(names: Iterable[ModelName], viewer: str) -> dict[ModelName, str]:
    """For each name the shortest form that means it and no other of `names`."""
    taken: dict[str, ModelName] = {}
    shown: dict[ModelName, str] = {}
    for name in sorted(names, key=lambda name: (name.precedence(viewer), name.key)):
        forms = name.forms(viewer)
        for form in forms:
            taken.setdefault(form.lower(), name)
        shown[name] = next(form for form in forms if taken[form.lower()] == name)
    return shown


def without_source(text: str) -> str:
    """Cuts the reserved endings `:local` and `:cloud` / `-cloud` off a typed name (contract, section 15).

    Nothing runs in a cloud here: a cloud name raises Problem("forbidden") in Ollama's words.
    """
    rest, _, last = text.strip().rpartition(":")
    if last.lower() == LOCAL and rest:
        if _is_cloud(rest):
            raise Problem("invalid", f'use either :local or :cloud, not both: "{text}"')
        return rest
    if _is_cloud(text.strip()):
        raise Problem("forbidden", "ollama cloud is disabled: remote model is unavailable")
    return text.strip()


def _is_cloud(text: str) -> bool:
    rest, _, last = text.rpartition(":")
    return bool(rest) and "/" not in last and (last.lower() == "cloud" or last.lower().endswith("-cloud"))
