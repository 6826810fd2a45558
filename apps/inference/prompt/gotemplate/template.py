"""A template that was parsed: executed any number of times, and asked about itself."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from apps.inference.prompt.gotemplate import analysis, nodes, parser
from apps.inference.prompt.gotemplate.execution import Execution
from apps.inference.prompt.gotemplate.functions import NAMES
from apps.inference.prompt.gotemplate.limits import Limits

DEFAULT_LIMITS = Limits()


class Template:
    """Made by `parse`. Immutable."""

    def __init__(self, source: str, trees: Mapping[str, nodes.Body]) -> None:
        self.source = source
        self._trees = trees

    @classmethod
    def parse(cls, source: str, *, limits: Limits = DEFAULT_LIMITS) -> Self:
        """Raises TemplateError with Go's text (`template: :1: unclosed action`) or a sentence about a limit."""
        template = cls(source, parser.parse(source, functions=NAMES, limits=limits))
        _ = template.variables  # refuses what Ollama refuses when it looks for them
        return template

    @cached_property
    def variables(self) -> frozenset[str]:
        """The fields used anywhere, in lower case."""
        return frozenset(name.lower() for body in self._trees.values() for name in analysis.names(body))

    def execute(self, data: Mapping[str, Any], *, limits: Limits = DEFAULT_LIMITS) -> str:
        """Raises TemplateError with Go's text (`template: :1:3: executing "" at <.X.Y>: …`) or about a limit."""
        return Execution(trees=self._trees, source=self.source, data=data, limits=limits).run()

    def until(self, field: str) -> "Template":
        """The template without what stands behind the first action that writes the field (contract, 19.3)."""
        return Template(self.source, {**self._trees, "": analysis.until(self._trees[""], field)})

    @cached_property
    def call_tag(self) -> str | None:
        """What a model writes before the JSON of a tool call (contract, 20.2).

        "" where the template writes the call right away; None where it replays no calls.
        """
        return analysis.call_tag(self._trees[""])

    @cached_property
    def thinking_tags(self) -> tuple[str, str] | None:
        """What stands before and behind a message's thinking (contract, 20.1); None: not to be inferred."""
        return analysis.thinking_tags(self._trees[""])
