"""Requests made of the OpenAPI document that a running server hands out, and what no answer to them may be."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Final

import httpx
import psutil
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from apps.inference.types import LoadOptions
from tests.server import MODEL, Server

TIMEOUT: Final = 60.0  # seconds without a byte: a hang
ELSEWHERE: Final = {"/api/pull", "/api/push"}  # they reach for other servers
# How the contract's 500s begin; a file's Jinja template refuses in its own words, as a Go template does in Go's.
LISTED: Final = ('option "', "invalid format: ", "template: ", "The model's chat template ")
FINE: Final = {501, 503}  # not served; busy
BOUNDS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
HEAVY: Final = {"keep_alive", *(option.name for option in fields(LoadOptions))}  # they load the model anew
FEW: Final = 4

Chosen = Callable[[str, str], bool]


@dataclass
class Fuzz:
    """Sends requests with one key, and asserts what no answer may be. `seen` counts answers by endpoint and status."""

    server: Server
    key: str
    seen: dict[str, dict[int, int]] = field(default_factory=dict)

    def run(self, chosen: Chosen, *, examples: int) -> None:
        """`examples` requests to each chosen operation, always the same: half as the document says, half not."""
        document = self.server.call("GET", "/api/schema").json()
        document["paths"] = dict(_only(document["paths"], chosen))
        for result in schemathesis.openapi.from_dict(document).get_all_operations():
            operation = result.ok()
            sample = _sample(document["paths"][operation.path][operation.method])
            if sample and "{" not in operation.path:
                self._send(operation.Case(media_type="application/json"), sample)
            modes = [GenerationMode.POSITIVE]
            if operation.body:
                modes.append(GenerationMode.NEGATIVE)
            for mode in modes:
                self._send_all(operation.as_strategy(generation_mode=mode), sample, examples // len(modes))

    def _send_all(self, cases: st.SearchStrategy[Case], sample: Mapping[str, Any] | None, examples: int) -> None:
        @settings(
            max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=cases, mixed=st.sampled_from([True, True, False]))
        def send(case: Case, mixed: bool) -> None:
            self._send(case, blended(sample, case.body) if mixed and sample else case.body)

        with suppress(Unsatisfiable):  # nothing wrong can be made where anything is right, as the bytes of a blob
            send()

    def _send(self, case: Case, body: Any) -> None:
        headers = {"Content-Type": case.media_type or "application/json", "Authorization": f"Bearer {self.key}"}
        about = f"{case.operation.label} {_written(gentle(body))!r:.3000}"
        try:
            reply = httpx.request(
                case.method, self.server.url + case.formatted_path, params=_flat(case.query), timeout=TIMEOUT,
                content=_written(gentle(body)), headers=headers,
            )  # fmt: skip
        except httpx.TimeoutException as error:
            raise AssertionError(f"{about}\nNothing came for {TIMEOUT} seconds") from error
        answers = self.seen.setdefault(case.operation.label, {})
        answers[reply.status_code] = answers.get(reply.status_code, 0) + 1
        assert_told(reply, about=about)


def assert_told(reply: httpx.Response, *, about: str) -> None:
    """A server's error is one that the contract lists, and what is refused is refused with a sentence."""
    about = f"{about}\n{reply.status_code} {reply.text:.1000}"
    if reply.status_code == 500:
        assert _sentence(reply).startswith(LISTED), about
    else:
        assert reply.status_code < 500 or reply.status_code in FINE, about
    if reply.status_code >= 400 and reply.headers.get("Content-Type", "").startswith("application/json"):
        assert reply.request.method == "HEAD" or _sentence(reply), about


def _sentence(reply: httpx.Response) -> str:
    """In each dialect's envelope."""
    error = reply.json()["error"]
    return str(error["message"] if isinstance(error, dict) else error)


def blended(sample: Mapping[str, Any], made: Any) -> Any:
    """A body that works, and in it a few fields that were made up; or what was made up, if it is no object."""
    if not isinstance(made, dict):
        return made
    named = [name for name in made if name.isascii() and name.isidentifier() and name != "model"]
    return {**sample, **{name: made[name] for name in named[:3]}}


def gentle(body: Any) -> Any:
    """The same, short of work: the model that is there, few tokens, nothing that would load it anew."""
    if not isinstance(body, dict):
        return body
    body = {name: value for name, value in body.items() if name not in HEAVY}
    if isinstance(options := body.get("options"), dict):
        kept = {name: value for name, value in options.items() if name not in HEAVY}
        body["options"] = {**kept, "num_predict": few(kept.get("num_predict", FEW))}
    elif not body.get("options"):
        body["options"] = {"num_predict": FEW}
    return {**dict.fromkeys(BOUNDS, FEW), **body, **{name: few(body[name]) for name in BOUNDS if name in body}}


def few(value: Any) -> Any:
    """No bound, and a bound that is none, would let the model talk on until its context is full."""
    bounded = value is not None and not (isinstance(value, int | float) and not 0 <= value <= FEW)
    return value if bounded else FEW


def _only(paths: Mapping[str, Any], chosen: Chosen) -> Iterator[tuple[str, Any]]:
    for path, methods in paths.items():
        if kept := {method: what for method, what in methods.items() if chosen(method.upper(), path)}:
            yield path, kept


def _sample(operation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document's own example of a body, with the model that is there."""
    content = operation.get("requestBody", {}).get("content", {}).values()
    for example in (kind["example"] for kind in content if isinstance(kind.get("example"), dict)):
        return example | {name: MODEL for name in ("model", "from", "source") if name in example}
    return None


def _written(body: Any) -> bytes | None:
    if isinstance(body, bytes | None):
        return body
    if isinstance(body, dict | list | str | int | float):
        return json.dumps(body).encode("utf-8", "surrogatepass")
    return None  # schemathesis' word for no body at all


def _flat(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if isinstance(value, str | int | float)}


def memory(server: Server) -> dict[str, int]:
    """Bytes that each kind of process holds for itself alone."""
    kinds = {"web": ("uvicorn",), "runner": ("apps.inference.runner",), "worker": ("celery", "inference@")}
    return {kind: sum(held(pid) for pid in server.pids(*marks)) for kind, marks in kinds.items()}


def held(pid: int) -> int:
    said = psutil.Process(pid).memory_info()
    return int(said.rss - said.shared)
