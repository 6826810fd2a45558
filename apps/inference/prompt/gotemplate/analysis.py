"""What a template says about itself, read from its tree without running it. Source: contract, 19.3, 20, 23.2."""

from collections.abc import Iterable, Iterator

from apps.inference.prompt.gotemplate import nodes
from apps.inference.prompt.gotemplate.limits import TemplateError


def names(body: nodes.Body) -> Iterator[str]:
    """Every field's name, as it is written. Raises TemplateError for a `{{template}}` that is given nothing."""
    for node in _within(body):
        if isinstance(node, nodes.Call) and node.pipe is None:
            raise TemplateError("undefined template specified")
        if isinstance(node, nodes.Field | nodes.Variable | nodes.Chain):
            yield from node.names


def _within(body: Iterable[object]) -> Iterator[object]:
    """All nodes, outer before inner, in the order of the source."""
    for node in body:
        yield node
        yield from _within(_parts(node))


def _parts(node: object) -> Iterable[object]:
    if isinstance(node, nodes.Branch):
        return (node.pipe, *node.body, *(node.otherwise or ()))
    if isinstance(node, nodes.Action):
        return (node.pipe,)
    if isinstance(node, nodes.Call):
        return () if node.pipe is None else (node.pipe,)
    if isinstance(node, nodes.Pipe):
        return node.commands
    if isinstance(node, nodes.Command):
        return node.args
    return (node.operand,) if isinstance(node, nodes.Chain) else ()


def mentions(node: object, field: str) -> bool:
    found = (node, *_within(_parts(node)))
    return any(isinstance(each, nodes.Field | nodes.Variable) and field in each.names for each in found)


# --- up to a field (19.3)


def until(body: nodes.Body, field: str) -> nodes.Body:
    """Without all that stands behind the first use of the field; what encloses it stays."""
    return _Cut(field).body(body)


class _Cut:
    def __init__(self, field: str) -> None:
        self._field = field
        self._reached = False

    def body(self, body: nodes.Body) -> nodes.Body:
        kept: list[nodes.Node] = []
        for node in body:
            if self._reached:
                break
            kept.append(self._node(node))
        return tuple(kept)

    def _node(self, node: nodes.Node) -> nodes.Node:
        if isinstance(node, nodes.Action | nodes.Call):
            self._reached = self._uses(node.pipe)
            return node
        if isinstance(node, nodes.If | nodes.With | nodes.Range):
            return self._branch(node)
        return node

    def _branch(self, node: nodes.If | nodes.With | nodes.Range) -> nodes.Node:
        """A condition asks for the field, but does not write it."""
        inner = self.body(node.body)
        otherwise = None if node.otherwise is None else self.body(node.otherwise)
        return type(node)(node.position, node.pipe, inner, otherwise)

    def _uses(self, pipe: nodes.Pipe | None) -> bool:
        return pipe is not None and mentions(pipe, self._field)


# --- the marker of tool calls (20.2)


def call_tag(body: nodes.Body) -> str | None:
    """The first text inside the first `{{ if .ToolCalls }}`, up to a brace. None: there is no such block."""
    block = next((node for node in _within(body) if isinstance(node, nodes.If) and _asks_for_calls(node)), None)
    if block is None:
        return None
    text = _first_text(block.body)
    return "" if text is None else text.strip().replace("\r\n", "\n").partition("{")[0].strip()


def _asks_for_calls(node: nodes.If) -> bool:
    args = (arg for command in node.pipe.commands for arg in command.args)
    return any(isinstance(arg, nodes.Field | nodes.Variable) and "ToolCalls" in arg.names for arg in args)


def _first_text(body: nodes.Body) -> str | None:
    """The first text of the nodes; what an action writes before it makes it unknowable."""
    for node in body:
        if isinstance(node, nodes.Text):
            return node.text
        if isinstance(node, nodes.Branch):
            inside = _first_text(node.body)
            return inside if inside is not None or node.otherwise is None else _first_text(node.otherwise)
        if isinstance(node, nodes.Action) and not node.pipe.declared:
            return None
    return None


# --- the tags around thinking (20.1)


def thinking_tags(body: nodes.Body) -> tuple[str, str] | None:
    """The texts that begin and end the block in which a message's `.Thinking` is written, in a range over `.Messages`.

    The last such block counts, as in Ollama. None: the template does not show how thinking is marked.
    """
    tags = [(_stripped(block[0]), _stripped(block[-1])) for block in _thinking_blocks(body, of_messages=False)]
    return tags[-1] if tags and all(tags[-1]) else None


def _stripped(node: nodes.Node) -> str:
    return node.text.strip() if isinstance(node, nodes.Text) else ""


def _thinking_blocks(body: nodes.Body, *, of_messages: bool) -> Iterator[nodes.Body]:
    for node in body:
        inner = mentions(node.pipe, "Messages") if isinstance(node, nodes.Range) else of_messages
        if isinstance(node, nodes.Action) and inner and _thinks(node.pipe):
            yield body
        elif isinstance(node, nodes.With) and inner and node.body and _thinks(node.pipe):
            yield node.body
        elif isinstance(node, nodes.Branch):
            for part in (node.body, node.otherwise or ()):
                yield from _thinking_blocks(part, of_messages=inner)


def _thinks(pipe: nodes.Pipe) -> bool:
    fields = (node for node in _within((pipe,)) if isinstance(node, nodes.Field | nodes.Variable))
    return any(node.names[:1] == ("Thinking",) for node in fields)
