"""The pipelines inside a template's actions, as trees."""

from collections.abc import Iterator

from apps.inference.prompt.gotemplate import lexer, nodes, numbers
from apps.inference.prompt.gotemplate.cursor import Cursor, Scope
from apps.inference.prompt.gotemplate.lexer import Token
from apps.inference.prompt.gotemplate.quoting import quote

_OPERANDS = frozenset(
    [lexer.BOOL, lexer.CHAR_CONSTANT, ".", lexer.FIELD, lexer.IDENTIFIER, lexer.NUMBER, "nil", lexer.RAW_STRING]
    + [lexer.STRING, lexer.VARIABLE, lexer.LEFT_PAREN]
)


class PipelineParser(Cursor):
    def __init__(self, tokens: Iterator[Token], *, functions: frozenset[str], depth: int) -> None:
        super().__init__(tokens, depth=depth)
        self._functions = functions
        self._variables = Scope()

    def _pipeline(self, context: str, *, end: str) -> nodes.Pipe:
        self._deeper()
        position = self._skip().position
        declared, assigns = self._declarations(context)
        commands: list[nodes.Command] = []
        while (token := self._skip()).kind in _OPERANDS:
            commands.append(self._command())
        self._next()
        if token.kind != end:
            raise self._unexpected(token, context)
        self._check(commands, context)
        self._depth += 1
        return nodes.Pipe(position, tuple(commands), declared, assigns)

    def _check(self, commands: list[nodes.Command], context: str) -> None:
        if not commands:
            raise self._error(f"missing value for {context}")
        for stage, command in enumerate(commands[1:], start=2):
            if isinstance(command.args[0], nodes.Literal | nodes.Dot | nodes.Nil):
                raise self._error(f"non executable command in pipeline stage {stage}")

    def _declarations(self, context: str) -> tuple[tuple[nodes.Variable, ...], bool]:
        declared: list[nodes.Variable] = []
        while (variable := self._skip()).kind == lexer.VARIABLE:
            before = self._place
            self._next()
            sign = self._skip()
            if sign.kind not in (lexer.ASSIGN, lexer.DECLARE) and sign.value != ",":
                self._place = before
                break
            self._next()
            declared.append(nodes.Variable(variable.position, variable.value))
            self._variables.declare(variable.value)
            if sign.kind != lexer.CHAR:
                return tuple(declared), sign.kind == lexer.ASSIGN
            self._check_second(context, len(declared))
        return tuple(declared), False

    def _check_second(self, context: str, count: int) -> None:
        if context != "range" or count > 1:
            raise self._error(f"too many declarations in {context}")
        if self._skip().kind not in (lexer.VARIABLE, lexer.RIGHT, lexer.RIGHT_PAREN):
            raise self._error("range can only initialize variables")

    def _command(self) -> nodes.Command:
        position = self._skip().position
        args: list[nodes.Operand] = []
        while True:
            self._skip()
            operand = self._operand()
            if operand is not None:
                args.append(operand)
            token = self._next()
            if token.kind == lexer.SPACE:
                continue
            if token.kind in (lexer.RIGHT, lexer.RIGHT_PAREN):
                self._place -= 1
            elif token.kind != lexer.PIPE:
                raise self._unexpected(token, "operand")
            break
        if not args:
            raise self._error("empty command")
        return nodes.Command(position, tuple(args))

    def _operand(self) -> nodes.Operand | None:
        term = self._term()
        if term is None or self._peek().kind != lexer.FIELD:
            return term
        position, names = self._peek().position, []
        while self._peek().kind == lexer.FIELD:
            names.append(self._next().value[1:])
        if isinstance(term, nodes.Field):
            return nodes.Field(position, (*term.names, *names))
        if isinstance(term, nodes.Variable):
            return nodes.Variable(position, term.name, (*term.names, *names))
        if isinstance(term, nodes.Literal | nodes.Nil | nodes.Dot):
            raise self._error(f"unexpected . after term {quote(str(term))}")
        return nodes.Chain(position, term, tuple(names))

    def _term(self) -> nodes.Operand | None:
        token = self._next_word()
        if token.kind == lexer.IDENTIFIER:
            return self._function(token)
        if token.kind == ".":
            return nodes.Dot(token.position)
        if token.kind == "nil":
            return nodes.Nil(token.position)
        if token.kind == lexer.VARIABLE:
            return self._variable(token)
        if token.kind == lexer.FIELD:
            return nodes.Field(token.position, (token.value[1:],))
        if token.kind == lexer.LEFT_PAREN:
            return self._pipeline("parenthesized pipeline", end=lexer.RIGHT_PAREN)
        if token.kind in (lexer.BOOL, lexer.NUMBER, lexer.CHAR_CONSTANT, lexer.STRING, lexer.RAW_STRING):
            return self._literal(token)
        self._place -= 1
        return None

    def _function(self, token: Token) -> nodes.Operand:
        if token.value not in self._functions:
            raise self._error(f"function {quote(token.value)} not defined")
        return nodes.Identifier(token.position, token.value)

    def _variable(self, token: Token) -> nodes.Operand:
        if token.value not in self._variables:
            raise self._error(f"undefined variable {quote(token.value)}")
        return nodes.Variable(token.position, token.value)

    def _literal(self, token: Token) -> nodes.Operand:
        if token.kind == lexer.BOOL:
            return nodes.Literal(token.position, token.value, token.value == "true")
        if token.kind in (lexer.STRING, lexer.RAW_STRING):
            return nodes.Literal(token.position, token.value, self._text_of(token))
        try:
            read = numbers.character if token.kind == lexer.CHAR_CONSTANT else numbers.constant
            value = read(token.value)
        except ValueError as error:
            raise self._error(str(error)) from None
        overflows = isinstance(value, int) and value >= numbers.LARGEST
        return nodes.Literal(token.position, token.value, value, overflows)
