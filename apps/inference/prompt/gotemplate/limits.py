"""What a template may cost, and how its refusals are said."""

from dataclasses import dataclass


class TemplateError(Exception):
    """A template that cannot be parsed or executed. The text is for the caller; Go's own where Go has one."""


@dataclass(frozen=True)
class Limits:
    """Lengths are in characters. A step is about a microsecond: a node executed, half a value written out, eight
    characters quoted or about a thousand copied.

    A conversation's length is the caller's, so each item of the lists in the data brings steps of its own.
    """

    source: int = 64 * 1024
    depth: int = 100
    steps: int = 50_000
    steps_per_item: int = 500
    output: int = 10 * 1024 * 1024


class Allowance:
    """What is left of one run's limits. All raise TemplateError where that is too little."""

    def __init__(self, limits: Limits, *, items: int = 0) -> None:
        self._steps = limits.steps + limits.steps_per_item * items
        self._characters = limits.output  # that functions may make, written or not

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TemplateError(TOO_MANY_STEPS)

    def fits(self, characters: int) -> None:
        """For a text that is still being made: nothing is taken, and nothing too long is made only to be refused."""
        if characters > self._characters:
            raise TemplateError(TOO_MUCH_TEXT)

    def make(self, characters: int) -> None:
        self.fits(characters)
        self._characters -= characters


TOO_LONG = "The template is too long."
TOO_DEEP = "The template is nested too deeply."
TOO_MANY_STEPS = "The template takes too many steps."
TOO_MUCH_TEXT = "The template writes too much text."
