"""Runs a parsed template over data, as Go's text/template does, within limits."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from apps.inference.prompt.gotemplate import nodes, printing, values
from apps.inference.prompt.gotemplate.evaluation import CONTEXT, Evaluation
from apps.inference.prompt.gotemplate.limits import TOO_DEEP, TOO_MUCH_TEXT, Limits, TemplateError
from apps.inference.prompt.gotemplate.quoting import quote, readable

Leap = type[nodes.Break] | type[nodes.Continue] | None


class Execution(Evaluation):
    """One run: walks the nodes and writes."""

    def __init__(
        self, *, trees: Mapping[str, nodes.Body], source: str, data: Mapping[str, Any], limits: Limits
    ) -> None:
        super().__init__(source=source, data=data, limits=limits)
        self._trees = trees
        self._data = data
        self._pieces: list[str] = []
        self._writable = limits.output
        self._branches: dict[type, Callable[..., Leap]] = {
            nodes.If: self._if,
            nodes.With: self._with,
            nodes.Range: self._range,
            nodes.Call: self._template,
        }

    def run(self) -> str:
        """Raises TemplateError."""
        try:
            self._walk(self._trees[""], self._data)
        except RecursionError:
            raise TemplateError(TOO_DEEP) from None
        return readable("".join(self._pieces))

    def _write(self, text: str) -> None:
        self._writable -= len(text)
        if self._writable < 0:
            raise TemplateError(TOO_MUCH_TEXT)
        self._pieces.append(text)

    def _walk(self, body: nodes.Body, dot: Any) -> Leap:
        """Writes what the nodes say. Gives the `break` or `continue` that ended them early."""
        self._deeper()
        leap: Leap = None
        for node in body:
            if isinstance(node, nodes.Text):
                self._spend(1)
                self._write(node.text)
            elif isinstance(node, nodes.Action):
                self._action(node, dot)
            elif isinstance(node, nodes.Break | nodes.Continue):
                leap = type(node)
                break
            elif leap := self._branches[type(node)](node, dot):
                break
        self._depth += 1
        return leap

    def _action(self, node: nodes.Action, dot: Any) -> None:
        value = self._pipeline(node.pipe, dot)
        if node.pipe.declared:
            return
        if type(value) is str:
            self._write(value)
        elif callable(value):
            raise self._error(node, f"can't print {node} of type {values.type_name(value)}")
        else:
            self._write("<no value>" if value is None else printing.shown(value, self._allowance))

    def _if(self, node: nodes.If, dot: Any) -> Leap:
        known = len(self._variables)
        holds = values.truth(self._pipeline(node.pipe, dot))
        leap = self._either(node, dot, dot, holds)
        del self._variables[known:]
        return leap

    def _with(self, node: nodes.With, dot: Any) -> Leap:
        known = len(self._variables)
        value = self._pipeline(node.pipe, dot)
        leap = self._either(node, value, dot, values.truth(value))
        del self._variables[known:]
        return leap

    def _either(self, node: nodes.Branch, inner: Any, dot: Any, holds: bool) -> Leap:
        if holds:
            return self._walk(node.body, inner)
        return None if node.otherwise is None else self._walk(node.otherwise, dot)

    def _range(self, node: nodes.Range, dot: Any) -> Leap:
        known = len(self._variables)
        value = self._pipeline(node.pipe, dot)
        inside = len(self._variables)
        empty = True
        for key, item in self._pairs(node, value):
            empty = False
            self._spend(1)
            self._set_loop(node.pipe, key, item, inside)
            if self._walk(node.body, item) is nodes.Break:
                break
            del self._variables[inside:]
        leap = self._walk(node.otherwise, dot) if empty and node.otherwise is not None else None
        del self._variables[known:]
        return leap

    def _set_loop(self, pipe: nodes.Pipe, key: Any, item: Any, inside: int) -> None:
        """The variables of a range: the last is the item, one before it the key."""
        given = (item,) if len(pipe.declared) == 1 else (key, item)
        for place, (variable, value) in enumerate(zip(pipe.declared, given, strict=False)):
            if pipe.assigns:
                self._assign(variable, value)
            else:
                self._variables[inside - len(pipe.declared) + place] = (variable.name, value)

    def _pairs(self, node: nodes.Range, value: Any) -> Iterator[tuple[Any, Any]]:
        if value is None:
            return iter(())
        if isinstance(value, Mapping) and not values.is_struct(value):
            self._spend(len(value))
            return iter([(key, value[key]) for key in values.keys(value)])
        if values.is_list(value):
            return iter(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            if len(node.pipe.declared) > 1:
                raise self._error(_last(node.pipe), f"can't use {value} to iterate over more than one variable")
            return ((number, number) for number in range(value))
        raise self._error(
            _last(node.pipe), f"range can't iterate over {printing.shown(value, self._allowance)[:CONTEXT]}"
        )

    def _template(self, node: nodes.Call, dot: Any) -> Leap:
        if node.name not in self._trees:
            raise self._error(node, f"template {quote(node.name)} not defined")
        inner = None if node.pipe is None else self._pipeline(node.pipe, dot)
        outside = self._name, self._variables
        self._name, self._variables = node.name, [("$", inner)]
        self._walk(self._trees[node.name], inner)
        self._name, self._variables = outside
        return None


def _last(pipe: nodes.Pipe) -> nodes.Operand:
    """The node that gave a pipeline its value."""
    return pipe.commands[-1].args[0]
