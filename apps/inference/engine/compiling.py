"""Grammars are compiled on a thread of their own: the loop must not stand still for a schema, however large."""

import queue
import threading
from collections.abc import Callable

from llguidance import LLTokenizer

from apps.errors import Problem
from apps.inference.engine.grammar import Grammar
from apps.inference.engine.matching import Constraint, constrain

# The compiler recurses through references and would overflow a usual stack, which ends the process. What schemas.py
# lets pass fits many times over; memory is taken only where it is touched.
STACK_BYTES = 256 << 20

Done = Callable[[Constraint | Problem], None]
_starting = threading.Lock()


class Compiler:
    """The thread begins with the first grammar. It makes the model's tokenizer then, which takes most of a second."""

    def __init__(self, tokenizer: Callable[[], LLTokenizer]) -> None:
        self._tokenizer = tokenizer
        self._orders: queue.SimpleQueue[tuple[Grammar, Done]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def order(self, grammar: Grammar, done: Done) -> None:
        """`done` is called from the compiler's thread, with the constraint or why there is none."""
        self._orders.put((grammar, done))
        if self._thread is None:
            self._thread = _start(self._work)

    def _work(self) -> None:
        while True:
            grammar, done = self._orders.get()
            done(self._constraint(grammar))

    def _constraint(self, grammar: Grammar) -> Constraint | Problem:
        try:
            return constrain(grammar, self._tokenizer())
        except Problem as problem:
            return problem


def _start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name="grammars", daemon=True)
    with _starting:  # the size is every new thread's
        before = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    return thread
