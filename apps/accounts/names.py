"""The grammar of names: users and groups share it, because both own a namespace of models. Pure.

A name is compared without case and never changes. The database holds the same rules (migration 0002).
"""

import re

from apps.errors import Problem

MAX_LENGTH = 80
GRAMMAR = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,79}$"
RESERVED = frozenset({"library", "local"})

_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", re.ASCII)


def fits(name: object) -> bool:
    """Whether `name` could be anyone's at all. Also keeps NUL bytes and foreign scripts away from the database."""
    return isinstance(name, str) and _PATTERN.fullmatch(name) is not None


def check(name: str) -> str:
    """`name` itself, or Problem("invalid") saying what is wrong with it."""
    if not fits(name):
        raise Problem(
            "invalid",
            "a name has 1 to 80 characters: letters, digits, '_' and '-' (not first)",
        )
    if name.lower() in RESERVED:
        raise Problem("invalid", f"the name '{name}' is reserved")
    return name
