"""A JSON body, field by field, with every mismatch named as OpenAI names it (contract, section 13). Pure.

fields = Fields.read(body)
fields.text("model"), fields.number("temperature"), fields.list("messages")
"""

from typing import Any

from apps.api import fields
from apps.api.fields import said
from apps.api.openai.errors import Refusal


class Fields(fields.Fields):
    @classmethod
    def refused(cls, text: str, *, status: int = 400) -> Refusal:
        return Refusal(text, status=status)

    @classmethod
    def unreadable(cls, why: str) -> Refusal:
        return Refusal(f"We could not parse the JSON body of your request: {why}")

    def wrong(self, name: str, expected: str) -> Refusal:
        place = self.place(name)
        text = f"Invalid type for '{place}': expected {expected}, but got {said(self.given(name))} instead."
        return Refusal(text, param=place, name="invalid_type")

    def missing(self, name: str) -> Refusal:
        place = self.place(name)
        return Refusal(f"Missing required parameter: '{place}'.", param=place, name="missing_required_parameter")

    def item(self, name: str, at: int) -> str:
        return f"{name}[{at}]"

    def between(self, name: str, low: int, high: int) -> int | None:
        value = self.integer(name)
        if value is not None and not low <= value <= high:
            place = self.place(name)
            raise Refusal(f"{place} must be between {low} and {high}", param=place, name="integer_out_of_range")
        return value


def go_type(value: Any) -> str:
    """The word that Ollama has for it in the few sentences that the contract fixes."""
    names = ((bool, "bool"), (str, "string"), (int | float, "float64"), (list, "[]interface {}"))
    if value is None:
        return "<nil>"
    return next((name for kind, name in names if isinstance(value, kind)), "map[string]interface {}")
