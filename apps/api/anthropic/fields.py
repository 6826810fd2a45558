"""A JSON body, field by field, with mismatches named as Anthropic does: `messages.0.content: Field required`. Pure."""

from apps.api import fields
from apps.api.anthropic.errors import Refusal


class Fields(fields.Fields):
    TEXT, FLAG, NUMBER = "a valid string", "a valid boolean", "a valid number"
    INTEGER, LIST, OBJECT = "a valid integer", "a valid list", "an object"

    @classmethod
    def refused(cls, text: str, *, status: int = 400) -> Refusal:
        return Refusal(text, status=status)

    @classmethod
    def unreadable(cls, why: str) -> Refusal:
        return Refusal(f"The request body is not valid JSON: {why}")

    def wrong(self, name: str, expected: str) -> Refusal:
        return Refusal(f"{self.place(name)}: Input should be {expected}")

    def missing(self, name: str) -> Refusal:
        return Refusal(f"{self.place(name)}: Field required")

    def item(self, name: str, at: int) -> str:
        return f"{name}.{at}"

    def needed(self, name: str) -> str:
        """A text that must be there; it may be empty."""
        if self.given(name) is None:
            raise self.missing(name)
        return self.text(name)

    def texts(self, name: str) -> list[str]:
        values = self.list(name)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "a list of strings")
        return values
