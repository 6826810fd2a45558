"""The render child: `python -m apps.inference.prompt.child MODEL ANSWERS_FD`. No Django.

A line of JSON in, a line of JSON out; the first line out says that it is ready, or why not. Answers have a file
descriptor of their own, so that nothing printed by native code can mix with them. It logs nothing.
"""

import json
import os
import sys
from typing import IO, Any

import orjson

from apps.errors import Problem
from apps.inference.engine.vocabulary import Vocabulary, VocabularyError
from apps.inference.prompt import limits, modelfile, template
from apps.inference.prompt.building import Builder
from apps.inference.prompt.job import PromptJob

LOADING_SECONDS = 60
EXTRA_BYTES = 768 * 1024**2


def main(path: str, answers: IO[bytes]) -> None:
    limits.before_loading(seconds=LOADING_SECONDS)
    try:
        vocabulary = Vocabulary(path)
    except VocabularyError as error:
        return _write(answers, {"error": str(error)})
    template.rehearse()
    modelfile.rehearse()
    limits.after_loading(extra_bytes=EXTRA_BYTES)
    try:
        with limits.deadline(LOADING_SECONDS / 2):
            builder = Builder(vocabulary)
    except limits.OutOfTime:
        return _write(answers, {"error": "its chat template takes too long to compile"})
    _write(answers, {"ready": True})
    _ = vocabulary.seam  # the first job need not wait until it is found
    _serve(builder, answers)


def _serve(builder: Builder, answers: IO[bytes]) -> None:
    for line in sys.stdin.buffer:
        answer = _answer(builder, line)
        _write(answers, answer)
        if answer.get("last"):
            return


def _answer(builder: Builder, line: bytes) -> dict[str, Any]:
    """`last` says that this process ends now: what ran out of memory may not have given it back."""
    seconds = 0.0
    try:
        asked = json.loads(line)
        seconds = asked["deadline"]
        with limits.deadline(seconds):
            return {"prompt": builder.build(PromptJob.from_data(asked["job"])).as_data()}
    except Problem as problem:
        return {"problem": problem.as_data()}
    except VocabularyError as error:
        return {"problem": Problem("invalid", str(error)).as_data()}
    except limits.OutOfTime:
        return _failed(f"Preparing the prompt took longer than {seconds:g} seconds.")
    except MemoryError:
        return {**_failed("Preparing the prompt needs more memory than it may have."), "last": True}


def _failed(sentence: str) -> dict[str, Any]:
    return {"problem": Problem("invalid", sentence, status=500).as_data()}


def _write(answers: IO[bytes], answer: dict[str, Any]) -> None:
    answers.write(_line(answer) + b"\n")
    answers.flush()


def _line(answer: dict[str, Any]) -> bytes:
    """Thousands of tokens are written in a twentieth of json's time. What is no Unicode, as half of a surrogate pair in
    a text, orjson refuses."""
    try:
        return orjson.dumps(answer)
    except TypeError:
        return json.dumps(answer, separators=(",", ":")).encode()


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[2]), "wb") as out:
        main(sys.argv[1], out)
