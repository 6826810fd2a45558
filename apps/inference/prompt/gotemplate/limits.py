"""What a template may cost, and how its refusals are said."""

from dataclasses import dataclass


class TemplateError(Exception):
    """A template that cannot be parsed or executed. The text is for the caller; Go's own where Go has one."""


@dataclass(frozen=True)
class Limits:
    """Lengths are in characters. A step is one node executed, or a few thousand characters handled by a function.

    A conversation's length is the caller's, so each item of the lists in the data brings steps of its own.
    """

    source: int = 64 * 1024
    depth: int = 100
    steps: int = 50_000
    steps_per_item: int = 500
    output: int = 10 * 1024 * 1024


TOO_LONG = "The template is too long."
TOO_DEEP = "The template is nested too deeply."
TOO_MANY_STEPS = "The template takes too many steps."
TOO_MUCH_TEXT = "The template writes too much text."
