"""Holding one sequence to its grammar, by llguidance: which tokens may come next, and which must.

A state belongs to one sequence and follows what was said, whatever becomes of the memory behind it: a sequence that
loses its slot or shifts its context goes on under the same grammar.
"""

import json
from collections import deque

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from numpy.typing import NDArray

from apps.inference.engine.grammar import Grammar, Written, refused
from apps.inference.engine.schemas import Data

Mask = NDArray[np.uint8]  # one bit a token, the lowest first

# One space, or one line end and its indentation: what models write, and no endless run of either.
WHITESPACE = r"[ \t]?|\r?\n[ \t]{0,64}"
# States take 1 to 2 kB each: a hundred megabytes at worst. Errors with a parser's inside would be no sentence.
LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)
OPTIONS = {"whitespace_flexible": True, "whitespace_pattern": WHITESPACE, "coerce_one_of": False, "lenient": False}
REASON_CHARACTERS = 300
STARTS = (b"{", b"[{")  # of replies whose schemas grow too large only there


class Broken(Exception):
    """The grammar came to a state that its limits do not allow; the sequence cannot go on."""


class Constraint:
    """What one sequence may say. `mask`, then `take` what was chosen; None as a mask allows every token.

    `closed` is true once nothing may follow: the sequence is over, and the model need not be asked.
    """

    def __init__(self, matcher: LLMatcher, tokenizer: LLTokenizer, grammar: Grammar) -> None:
        self._matcher, self._tokenizer = matcher, tokenizer
        self._bits = np.zeros(4 * (-(-tokenizer.vocab_size // 32)), dtype=np.uint8)
        self._due: deque[int] = deque()  # of a tag that is being written
        self._tail = b""
        tags = grammar.thinking
        self._closing = tags.closing.encode() if tags else b""
        self._opening = self._tokens(tags.opening) if tags else []
        self._thinks = bool(tags) and not self._opening
        self._closing_ids = self._tokens(tags.closing) if tags else []

    @property
    def closed(self) -> bool:
        return not self._thinks and self._matcher.is_stopped()

    def mask(self) -> Mask | None:
        """The tokens that may come next; written over by the next call. Raises Broken."""
        if self._due:
            return self._only(self._due[0])
        if self._thinks:
            return None
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        if self._opening:
            self._bits[self._opening[0] >> 3] |= 1 << (self._opening[0] & 7)
        return self._bits

    def forced(self) -> list[int]:
        """Tokens that must follow, as far as that is known without the model."""
        if self._due or self._thinks or self._opening:
            return list(self._due)
        return list(self._matcher.compute_ff_tokens())

    def instead_of_end(self, token: int) -> int:
        """What is said where the model would end with `token`: a thought is closed first, and the answer follows."""
        if not self._thinks or self._due:
            return token
        self._due.extend(self._closing_ids)
        return self._due[0]

    def take(self, token: int, piece: bytes) -> None:
        """Add what was said. Raises Broken."""
        if self._due:
            self._due.popleft()
        if self._thinks:
            return self._listen(token, piece)
        if self._opening:
            first, *rest = self._opening
            self._opening = []
            if token == first:
                self._thinks, self._due = True, deque(rest)
                return
        if not self._matcher.consume_token(token):
            self._check()

    def _listen(self, token: int, piece: bytes) -> None:
        """Look for the end of the thought, in the text or as a token that has none."""
        self._tail += piece
        at = self._tail.find(self._closing)
        if at < 0 and [token] != self._closing_ids:
            self._tail = self._tail[-len(self._closing) :]
            return
        self._thinks = False
        self._due.clear()
        rest = self._tail[at + len(self._closing) :].lstrip() if at >= 0 else b""
        if rest:  # its token went on behind the tag
            self._matcher.try_consume_tokens(self._tokenizer.tokenize_bytes(rest))
            self._check()

    def _tokens(self, tag: str) -> list[int]:
        return self._tokenizer.tokenize_str(tag, parse_special=True)

    def _only(self, token: int) -> Mask:
        self._bits[:] = 0
        self._bits[token >> 3] = 1 << (token & 7)
        return self._bits

    def _check(self) -> None:
        if self._matcher.is_error():
            raise Broken(f"the reply's format could not be held to: {_sentence(self._matcher.get_error())}")


def constrain(grammar: Grammar, tokenizer: LLTokenizer) -> Constraint:
    """The state before the first token. Takes from a millisecond to some hundred. Raises Problem with the reason."""
    schema = grammar.as_schema()
    matcher = _matcher(LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=OPTIONS), tokenizer)  # type: ignore[arg-type]
    begins = not matcher.is_error() and any(matcher.compute_bitmask())
    for probe in (matcher, *(_after(matcher, tokenizer, start) for start in STARTS if begins)):
        if probe.is_error():
            raise refused(_sentence(probe.get_error()))
    if not begins:
        raise refused("no reply can satisfy it")
    if grammar.written:
        matcher = _matcher(LLMatcher.grammar_from_lark(_among_text(schema, grammar.written, tokenizer)), tokenizer)
        if matcher.is_error():
            raise refused(_sentence(matcher.get_error()))
    return Constraint(matcher, tokenizer, grammar)


def _matcher(source: str, tokenizer: LLTokenizer) -> LLMatcher:
    return LLMatcher(tokenizer, source, log_level=0, limits=LIMITS)


def _among_text(call: Data, written: Written, tokenizer: LLTokenizer) -> str:
    """Calls among text, in llguidance's Lark, read as apps/inference/parsing does: a reply that begins with a brace, or
    with a fence and a brace, is one call. A tag that is one special token of the vocabulary is no text there; any other
    ends the text before it as soon as it is whole."""
    rules = [
        "%llguidance {}",
        f"start: bare | FIRST{' | calls TEXT' if written.opening else ''}",
        'bare: BLANK? call BLANK? | BLANK? FENCE BLANK? call BLANK? "```" BLANK?',
        f"call: %json {json.dumps({'x-guidance': OPTIONS, **call})}",
        r"BLANK: /[ \t\r\n]{1,8}/",
        r"FENCE: /```(json)?[ \t]*\r?\n/",
        r"FIRST: TEXT & ~/[ \t\r\n]*(```(json)?[ \t]*\r?\n[ \t\r\n]*)?\{(.|\n)*/",
        r"TEXT: /(.|\n)*/",
    ]
    if written.opening:
        closing = _tag(written.closing, tokenizer)
        rules += ["calls: first tagged (more tagged)*", f"tagged: BLANK? call BLANK? {closing}".rstrip()]
        texts = {"first": "FIRST", "more": "TEXT"}
        rules += [_up_to(name, text, written.opening, tokenizer) for name, text in texts.items()]
    return "\n".join(rules) + "\n"


def _up_to(rule: str, text: str, tag: str, tokenizer: LLTokenizer) -> str:
    special = _is_special(tag, tokenizer)
    return f"{rule}: {text} {tag}" if special else f"{rule}[lazy]: {text} {json.dumps(tag)}"


def _tag(tag: str, tokenizer: LLTokenizer) -> str:
    return tag if not tag or _is_special(tag, tokenizer) else json.dumps(tag)


def _is_special(tag: str, tokenizer: LLTokenizer) -> bool:
    tokens = tokenizer.tokenize_str(tag, parse_special=True)
    return len(tokens) == 1 and tokenizer.is_special_token(tokens[0]) and tag[:1] == "<" and tag[-1:] == ">"


def _after(matcher: LLMatcher, tokenizer: LLTokenizer, start: bytes) -> LLMatcher:
    """A copy that has taken the text, if it may: some limits show only inside an object."""
    copy = matcher.deep_copy()
    for token in tokenizer.tokenize_bytes(start):
        if copy.validate_tokens([token]) and copy.consume_token(token):
            copy.compute_bitmask()
    return copy


def _sentence(error: str) -> str:
    """The library's reason without its tracebacks and its own options."""
    if "coerce_one_of" in error:
        return "the alternatives of a oneOf must exclude one another (anyOf may overlap)"
    if error.startswith("panic") or "items; max is" in error:
        return "the schema is too large"
    lines = [line.strip() for line in error.replace("<non-verbose/>", "").splitlines()]
    lines = [line for line in lines if line and not line.startswith("Backtrace")]
    return " ".join(lines)[:REASON_CHARACTERS] or "no reason was given"
