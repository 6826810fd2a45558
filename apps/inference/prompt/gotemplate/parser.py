"""Tokens as a tree, by the rules of Go's text/template/parse and with its words for what is wrong."""

from collections.abc import Iterator

from apps.inference.prompt.gotemplate import lexer, nodes
from apps.inference.prompt.gotemplate.cursor import Scope
from apps.inference.prompt.gotemplate.lexer import Token
from apps.inference.prompt.gotemplate.limits import TOO_LONG, Limits, TemplateError
from apps.inference.prompt.gotemplate.pipelines import PipelineParser
from apps.inference.prompt.gotemplate.quoting import quote

_BRANCHES: dict[str, type[nodes.If] | type[nodes.With] | type[nodes.Range]] = {
    "if": nodes.If,
    "with": nodes.With,
    "range": nodes.Range,
}


class _End:
    """An `{{end}}`, or an `{{else}}`: what closes a list of nodes."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __str__(self) -> str:
        return f"{{{{{self.word}}}}}"


def parse(source: str, *, functions: frozenset[str], limits: Limits) -> dict[str, nodes.Body]:
    """Every template of the source by name; the source's own is "". Raises TemplateError."""
    if len(source) > limits.source:
        raise TemplateError(TOO_LONG)
    return _Parser(lexer.tokens(source), functions=functions, depth=limits.depth).run()


def _empty(body: nodes.Body) -> bool:
    return all(isinstance(node, nodes.Text) and not node.text.strip() for node in body)


class _Parser(PipelineParser):
    def __init__(self, tokens: Iterator[Token], *, functions: frozenset[str], depth: int) -> None:
        super().__init__(tokens, functions=functions, depth=depth)
        self._ranges = 0
        self._trees: dict[str, nodes.Body] = {}

    def run(self) -> dict[str, nodes.Body]:
        body: list[nodes.Node] = []
        while self._peek().kind != lexer.EOF:
            if self._defines():
                self._definition()
                continue
            node = self._text_or_action()
            if isinstance(node, _End):
                raise self._error(f"unexpected {node}")
            body.append(node)
        self._add("", tuple(body))
        return self._trees

    def _add(self, name: str, body: nodes.Body) -> None:
        if name not in self._trees or _empty(self._trees[name]):
            self._trees[name] = body
        elif not _empty(body):
            raise self._error(f"template: multiple definition of template {quote(name)}")

    def _defines(self) -> bool:
        if self._peek().kind != lexer.LEFT:
            return False
        place = self._place + 1
        while self._at(place).kind == lexer.SPACE:
            place += 1
        return self._at(place).kind == "define"

    def _definition(self) -> None:
        context = "define clause"
        self._next()
        self._next_word()
        name = self._text_of(self._expect(lexer.STRING, lexer.RAW_STRING, context=context))
        self._expect(lexer.RIGHT, context=context)
        self._add(name, self._closed(context))

    def _closed(self, context: str) -> nodes.Body:
        """A template's body up to its end, where only its own variables are known."""
        outside = self._variables, self._ranges
        self._variables, self._ranges = Scope(), 0
        body, end = self._list()
        if end.word != "end":
            raise self._error(f"unexpected {end} in {context}")
        self._variables, self._ranges = outside
        return body

    def _list(self) -> tuple[nodes.Body, _End]:
        self._deeper()
        body: list[nodes.Node] = []
        while self._skip().kind != lexer.EOF:
            node = self._text_or_action()
            if isinstance(node, _End):
                self._depth += 1
                return tuple(body), node
            body.append(node)
        raise self._error("unexpected EOF")

    def _text_or_action(self) -> nodes.Node | _End:
        token = self._next_word()
        if token.kind == lexer.TEXT:
            return nodes.Text(token.position, token.value)
        if token.kind != lexer.LEFT:
            raise self._unexpected(token, "input")
        self._action_line = token.line
        node = self._action()
        self._action_line = 0
        return node

    def _action(self) -> nodes.Node | _End:
        token = self._skip()
        if token.kind in _BRANCHES:
            self._next()
            return self._branch(token)
        keywords = {
            "block": self._block,
            "break": self._leap,
            "continue": self._leap,
            "else": self._else,
            "end": self._end,
            "template": self._template,
        }
        if token.kind in keywords:
            self._next()
            return keywords[token.kind](token)
        return nodes.Action(token.position, self._pipeline("command", end=lexer.RIGHT))

    def _end(self, _token: Token) -> _End:
        self._expect(lexer.RIGHT, context="end")
        return _End("end")

    def _else(self, _token: Token) -> _End:
        if self._skip().kind not in ("if", "with"):
            self._expect(lexer.RIGHT, context="else")
        return _End("else")

    def _leap(self, token: Token) -> nodes.Node:
        self._expect(lexer.RIGHT, context=f"{{{{{token.kind}}}}}")
        if not self._ranges:
            raise self._error(f"{{{{{token.kind}}}}} outside {{{{range}}}}")
        return (nodes.Break if token.kind == "break" else nodes.Continue)(token.position)

    def _branch(self, token: Token) -> nodes.Node:
        known = self._variables.mark()
        pipe = self._pipeline(token.kind, end=lexer.RIGHT)
        self._ranges += token.kind == "range"
        body, end = self._list()
        self._ranges -= token.kind == "range"
        otherwise = None if end.word == "end" else self._otherwise(token.kind)
        self._variables.leave(known)
        return _BRANCHES[token.kind](pipe.position, pipe, body, otherwise)

    def _otherwise(self, kind: str) -> nodes.Body:
        """What stands behind an `{{else}}`; an `{{else if}}` is an if inside it that shares its end."""
        if self._peek().kind == kind != "range":
            self._deeper()
            inner = self._branch(self._next())
            self._depth += 1
            return (inner,)
        body, end = self._list()
        if end.word != "end":
            raise self._error(f"expected end; found {end}")
        return body

    def _block(self, token: Token) -> nodes.Node:
        context = "block clause"
        name = self._expect(lexer.STRING, lexer.RAW_STRING, context=context)
        pipe = self._pipeline(context, end=lexer.RIGHT)
        self._add(self._text_of(name), self._closed(context))
        return nodes.Call(token.position, name.value, self._text_of(name), pipe)

    def _template(self, token: Token) -> nodes.Node:
        context = "template clause"
        name = self._expect(lexer.STRING, lexer.RAW_STRING, context=context)
        if self._skip().kind == lexer.RIGHT:
            self._next()
            return nodes.Call(token.position, name.value, self._text_of(name), None)
        pipe = self._pipeline(context, end=lexer.RIGHT)
        return nodes.Call(token.position, name.value, self._text_of(name), pipe)
