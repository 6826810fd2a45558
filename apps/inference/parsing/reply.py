"""How to read what a model says: made beside the prompt, used where the text arrives."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """`calls` names the shape of tool calls (forms.py); empty where no tools are offered. "harmony" is named even then,
    as its channels must be read in any case.

    `tools` are the names offered. `texts` are those of their parameters that take text, each as "tool.parameter": the
    shapes that write every value bare need them to tell "5" from 5. `call_tag` is the text before the JSON in a
    template that has a marker of its own (contract, section 20.2). `thinking` is the opening and the closing tag, None
    where nothing is split off (channels always are); `thinks_already` says that the prompt ended inside. `forced`
    calls are held to a grammar and come as bare JSON.
    """

    calls: str = ""
    tools: tuple[str, ...] = ()
    call_tag: str = ""
    thinking: tuple[str, str] | None = None
    thinks_already: bool = False
    forced: bool = False
    texts: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """All of it is text: no parser is needed."""
        return not (self.calls or self.thinking)

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Reply":
        tags = data.get("thinking")
        lists = {name: tuple(data.get(name, ())) for name in ("tools", "texts")}
        return cls(**{**data, **lists, "thinking": (tags[0], tags[1]) if tags else None})
