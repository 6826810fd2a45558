"""tags, ps, me and status in this process: who sees what, and in which shape."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from django.utils import timezone as clock

from apps.accounts.models import User
from apps.api.ollama import wire
from apps.inference.models import Replica, ReplicaState, Worker
from apps.registry.models import Model
from tests.api.ollama.conftest import Caller, MakeModel
from tests.api.ollama.recordings import body_of, shape


def names(client: httpx.Client, path: str = "/api/tags") -> list[str]:
    return [entry["name"] for entry in client.get(path).json()["models"]]


def test_tags_have_the_recorded_shape(caller: Caller, alice: User, make_model: MakeModel) -> None:
    make_model("qwen2.5-coder", None, tag="0.5b")
    reply = caller(alice).get("/api/tags")
    assert shape(reply.json()) == shape(body_of("tags"))
    assert reply.json()["models"][0]["details"] == body_of("tags")["models"][0]["details"]
    assert caller(alice).head("/api/tags").status_code == 200


def test_nobody_sees_anothers_models(caller: Caller, alice: User, charlie: User, make_model: MakeModel) -> None:
    make_model("hers", alice)
    assert names(caller(alice)) == ["hers:latest"]
    assert caller(charlie).get("/api/tags").json() == {"models": []}


def test_what_is_loaded_is_shown_to_those_who_may_see_the_model(
    caller: Caller, alice: User, charlie: User, make_model: MakeModel
) -> None:
    _load(make_model("hers", alice), keep_alive=-1)
    row = caller(alice).get("/api/ps").json()["models"][0]
    golden = body_of("ps")["models"][0]
    assert shape(row) == shape(golden)
    assert row["details"] == golden["details"]
    assert (row["name"], row["size"], row["context_length"]) == ("hers:latest", 1000, 4096)
    assert datetime.fromisoformat(row["expires_at"]) > clock.now() + timedelta(days=100 * 365)
    assert caller(charlie).get("/api/ps").json() == {"models": []}


def _load(model: Model, *, keep_alive: float) -> None:
    """A replica that holds the model, as rows."""
    weights = model.manifest.layers.get()
    worker = Worker.objects.create(name="w", host="h")
    Replica.objects.create(
        worker=worker, weights=weights.blob_id, model=str(model), context=4096, slots=1, state=ReplicaState.READY,
        need_bytes=1000, keep_alive=keep_alive,
    )  # fmt: skip


def test_me_is_the_caller(caller: Caller, alice: User) -> None:
    reply = caller(alice).post("/api/me")
    assert (reply.status_code, reply.json()["name"]) == (200, "alice")
    assert len(reply.json()["id"]) == 36


def test_no_cloud_is_here(caller: Caller) -> None:
    assert caller().get("/api/status").json() == {"cloud": {"disabled": True, "source": "config"}}


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 120000, tzinfo=UTC), "2026-01-02T03:04:05.12Z"),
        (datetime(2026, 1, 2, 3, 4, 50, tzinfo=UTC), "2026-01-02T03:04:50Z"),
        (datetime(2026, 1, 2, 3, 0, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00Z"),
    ],
)
def test_points_in_time_are_utc(when: Any, text: str) -> None:
    assert wire.moment(when) == text


def test_what_json_cannot_say_is_a_bug_and_not_a_text() -> None:
    with pytest.raises(TypeError):
        wire.dumps({"a": object()})
