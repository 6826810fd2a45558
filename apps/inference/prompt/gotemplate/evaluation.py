"""What the pipelines of a template give: fields, variables and calls of functions, within limits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apps.inference.prompt.gotemplate import nodes, values
from apps.inference.prompt.gotemplate.comparing import FunctionError
from apps.inference.prompt.gotemplate.functions import FUNCTIONS, Function
from apps.inference.prompt.gotemplate.limits import TOO_DEEP, Allowance, Limits, TemplateError
from apps.inference.prompt.gotemplate.quoting import encoded, quote, readable

CONTEXT = 200  # characters of a node's or a value's text in an error
_VARIABLES_A_STEP = 16
_NONE_GIVEN: Any = object()  # the first command of a pipeline is given no value


class Evaluation:
    """The variables and the allowances of one run. `source` is what was parsed: errors name its lines."""

    def __init__(self, *, source: str, data: Mapping[str, Any], limits: Limits) -> None:
        self._source = source
        self._name = ""
        self._variables: list[tuple[str, Any]] = [("$", data)]
        items = sum(len(value) for value in data.values() if values.is_list(value))
        self._allowance = Allowance(limits, items=items)
        self._spend = self._allowance.spend
        self._depth = limits.depth
        self._commands: dict[type, Callable[..., Any]] = {
            nodes.Field: self._of_field,
            nodes.Variable: self._of_variable,
            nodes.Chain: self._of_chain,
            nodes.Identifier: self._of_function,
            nodes.Pipe: self._of_pipe,
        }

    # --- limits and errors

    def _deeper(self) -> None:
        self._depth -= 1
        if self._depth < 0:
            raise TemplateError(TOO_DEEP)

    def _error(self, node: object, text: str) -> TemplateError:
        position = getattr(node, "position", 0)
        line = self._source.count("\n", 0, position) + 1
        column = len(encoded(self._source[self._source.rfind("\n", 0, position) + 1 : position]))
        context = str(node)
        context = context if len(context) <= CONTEXT else context[:CONTEXT] + "..."
        where = f"template: :{line}:{column}: executing {quote(self._name)} at <{context}>"
        return TemplateError(readable(f"{where}: {text}"))

    # --- pipelines

    def _pipeline(self, pipe: nodes.Pipe, dot: Any) -> Any:
        value = _NONE_GIVEN
        for command in pipe.commands:
            value = self._command(command, dot, value)
        for variable in pipe.declared:
            if pipe.assigns:
                self._assign(variable, value)
            else:
                self._variables.append((variable.name, value))
        return value

    def _assign(self, variable: nodes.Variable, value: Any) -> None:
        self._spend(len(self._variables) // _VARIABLES_A_STEP)
        for place in range(len(self._variables) - 1, -1, -1):
            if self._variables[place][0] == variable.name:
                self._variables[place] = (variable.name, value)
                return
        raise self._error(variable, f"undefined variable: {variable.name}")

    def _command(self, command: nodes.Command, dot: Any, final: Any) -> Any:
        self._spend(1)
        first = command.args[0]
        evaluate = self._commands.get(type(first))
        if evaluate is not None:
            return evaluate(first, command.args, dot, final)
        self._no_arguments(first, command.args, final)
        if isinstance(first, nodes.Nil):
            raise self._error(first, "nil is not a command")
        return self._value(first, dot)

    def _no_arguments(self, node: nodes.Operand, args: Sequence[nodes.Operand], final: Any) -> None:
        if len(args) > 1 or final is not _NONE_GIVEN:
            raise self._error(node, f"can't give argument to non-function {node}")

    def _of_field(self, node: nodes.Field, args: Sequence[nodes.Operand], dot: Any, final: Any) -> Any:
        return self._fields(dot, node, node.names, len(args) > 1 or final is not _NONE_GIVEN)

    def _of_variable(self, node: nodes.Variable, args: Sequence[nodes.Operand], _dot: Any, final: Any) -> Any:
        value = self._variable(node)
        if node.names:
            return self._fields(value, node, node.names, len(args) > 1 or final is not _NONE_GIVEN)
        self._no_arguments(node, args, final)
        return value

    def _of_chain(self, node: nodes.Chain, args: Sequence[nodes.Operand], dot: Any, final: Any) -> Any:
        if isinstance(node.operand, nodes.Nil):
            raise self._error(node, "indirection through explicit nil in .")
        value = self._value(node.operand, dot)
        return self._fields(value, node, node.names, len(args) > 1 or final is not _NONE_GIVEN)

    def _of_pipe(self, node: nodes.Pipe, args: Sequence[nodes.Operand], dot: Any, final: Any) -> Any:
        self._no_arguments(node, args, final)
        return self._inner(node, dot)

    def _inner(self, pipe: nodes.Pipe, dot: Any) -> Any:
        self._deeper()
        value = self._pipeline(pipe, dot)
        self._depth += 1
        return value

    # --- values

    def _value(self, node: nodes.Operand, dot: Any) -> Any:
        """An operand as an argument."""
        if isinstance(node, nodes.Literal):
            return self._literal(node)
        if isinstance(node, nodes.Dot):
            return dot
        if isinstance(node, nodes.Nil):
            return None
        if isinstance(node, nodes.Pipe):
            return self._inner(node, dot)
        return self._commands[type(node)](node, (node,), dot, _NONE_GIVEN)

    def _literal(self, node: nodes.Literal) -> Any:
        if node.overflows:
            raise self._error(node, f"{node.written} overflows int")
        return node.value

    def _variable(self, node: nodes.Variable) -> Any:
        self._spend(len(self._variables) // _VARIABLES_A_STEP)
        for name, value in reversed(self._variables):
            if name == node.name:
                return value
        raise self._error(node, f"undefined variable: {node.name}")

    def _fields(self, value: Any, node: nodes.Operand, names: Sequence[str], has_arguments: bool) -> Any:
        """Fields of fields. A first nil is a missing value and gives nil; one on the way is an error."""
        if value is None:
            return None
        if type(value) is dict and len(names) == 1 and not has_arguments:
            return value.get(names[0])  # what most templates do most of the time
        for place, name in enumerate(names):
            value = self._field(value, name, node, has_arguments and place == len(names) - 1)
        return value

    def _field(self, value: Any, name: str, node: nodes.Operand, has_arguments: bool) -> Any:
        if isinstance(value, Mapping):
            struct = values.is_struct(value)
            if has_arguments:
                what = (
                    "has arguments but cannot be invoked as function" if struct else "is not a method but has arguments"
                )
                raise self._error(node, f"{name} {what}")
            if not struct or name in value:
                return value.get(name)
        if value is None:
            raise self._error(node, f"nil pointer evaluating interface {{}}.{name}")
        raise self._error(node, f"can't evaluate field {name} in type {values.type_name(value)}")

    # --- functions

    def _of_function(self, node: nodes.Identifier, args: Sequence[nodes.Operand], dot: Any, final: Any) -> Any:
        if node.name in ("and", "or"):
            return self._shortest(node, args, dot, final)
        function = FUNCTIONS[node.name]
        count = len(args) - 1 + (final is not _NONE_GIVEN)
        self._check_count(node, count, function.least, function.most)
        self._spend(len(args))
        given = [self._value(arg, dot) for arg in args[1:]]
        if final is not _NONE_GIVEN:
            given.append(final)
        self._check_texts(node, args, function, given)
        self._spend(sum(map(values.size, given)) // values.CHARACTERS_A_STEP)
        try:
            result = function.call(given, self._allowance)
        except FunctionError as error:
            raise self._error(node, f"error calling {node.name}: {error}") from None
        if type(result) is str:
            self._allowance.make(len(result))
        return result

    def _check_count(self, node: nodes.Identifier, count: int, least: int, most: int | None) -> None:
        wanted = f"at least {least}" if most is None else str(least)
        if count < least or (most is not None and count > most):
            raise self._error(node, f"wrong number of args for {node.name}: want {wanted} got {count}")

    def _check_texts(
        self, node: nodes.Identifier, args: Sequence[nodes.Operand], function: Function, given: Sequence[Any]
    ) -> None:
        texts = len(given) if function.texts < 0 else function.texts
        for place, value in enumerate(given[:texts]):
            if isinstance(value, str):
                continue
            arg = args[place + 1] if place + 1 < len(args) else node
            if isinstance(arg, nodes.Literal | nodes.Nil):
                raise self._error(arg, f"expected string; found {arg}")
            found = "invalid value" if value is None else "wrong type for value"
            got = "" if value is None else f"; got {values.type_name(value)}"
            raise self._error(arg, f"{found}; expected string{got}")

    def _shortest(self, node: nodes.Identifier, args: Sequence[nodes.Operand], dot: Any, final: Any) -> Any:
        """`and` gives its first false argument, `or` its first true one, else the last; the rest is not evaluated."""
        self._check_count(node, len(args) - 1 + (final is not _NONE_GIVEN), 1, None)
        value: Any = None
        for arg in args[1:]:
            self._spend(1)
            value = self._value(arg, dot)
            if values.truth(value) == (node.name == "or"):
                return value
        return value if final is _NONE_GIVEN else final
