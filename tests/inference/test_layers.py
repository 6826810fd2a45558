"""Versions with adapters or projectors, and models that only embed: which replica serves them, and how it is loaded."""

from dataclasses import replace
from typing import Any

import pytest

from apps.accounts import access
from apps.inference import estimate, runs
from apps.inference.agent import _load_command
from apps.inference.layers import EMBEDS_ONLY
from apps.inference.models import Replica, ReplicaState, Run, Worker
from apps.inference.types import LoadOptions, Request
from apps.registry.models import Blob
from tests import factories
from tests.inference.test_estimate import QWEN
from tests.inference.test_runs import ASK, WEIGHTS, version

pytestmark = pytest.mark.django_db(transaction=True)
LORA, OTHER, SIGHT = (f"sha256:{letter * 64}" for letter in "123")
BERT: dict[str, Any] = {
    "general.architecture": "bert",
    "bert.block_count": 6,
    "bert.context_length": 512,
    "bert.embedding_length": 384,
    "bert.feed_forward_length": 1536,
    "bert.attention.head_count": 12,
    "bert.pooling_type": 1,
    "tensor_bytes": 90_000_000,
    "vocab_size": 30522,
}


@pytest.fixture
def alice() -> access.Access:
    return access.by_session(factories.user("alice"))


@pytest.fixture(autouse=True)
def worker(db: None, settings: Any) -> Worker:
    settings.NUM_PARALLEL, settings.MAX_LOADED_MODELS = 4, 100
    return Worker.objects.create(name="one", host="here", memory_bytes=10**12)


def start(caller: access.Access, **layers: Any) -> Run:
    """A run as placement left it."""
    run = runs.start(access=caller, version=replace(version(), **layers), request=ASK)
    return Run.objects.select_related("replica").get(pk=run.pk)


def test_a_version_with_an_adapter_has_a_replica_of_its_own(alice: access.Access) -> None:
    plain, first, second = start(alice), start(alice, adapters=(LORA,)), start(alice, adapters=(OTHER,))
    assert len({plain.replica_id, first.replica_id, second.replica_id}) == 3
    assert start(alice, adapters=(LORA,)).replica_id == first.replica_id
    assert start(alice).replica_id == plain.replica_id


def test_so_has_one_with_a_projector(alice: access.Access) -> None:
    seeing, plain = start(alice, projectors=(SIGHT,)), start(alice)
    assert seeing.replica_id != plain.replica_id
    assert start(alice, projectors=(SIGHT,)).replica_id == seeing.replica_id


def test_the_runner_is_told_where_the_layers_are(alice: access.Access) -> None:
    replica = start(alice, adapters=(LORA, OTHER), projectors=(SIGHT,)).replica
    assert replica is not None and replica.weights_blob == WEIGHTS
    told = _load_command(replica)
    assert told["model_path"].endswith("d" * 64)
    assert [(each["path"][-64:], each["scale"]) for each in told["adapters"]] == [("1" * 64, 1.0), ("2" * 64, 1.0)]
    assert [path[-64:] for path in told["projectors"]] == ["3" * 64]
    assert told["embedding"] is False
    assert set(told["options"]) == {"num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "tensor_split"}


def test_layers_count_in_what_is_needed(alice: access.Access) -> None:
    Blob.objects.create(digest=LORA, size=123_456)
    with_it, without = start(alice, adapters=(LORA,)).replica, start(alice).replica
    assert with_it is not None and without is not None
    assert with_it.need_bytes == without.need_bytes + 123_456


def test_unloading_a_version_leaves_the_same_weights_with_other_layers(alice: access.Access) -> None:
    plain, tuned = start(alice).replica_id, start(alice, adapters=(LORA,)).replica_id
    Run.objects.all().delete()
    Replica.objects.update(state=ReplicaState.READY)
    runs.unload(access=alice, version=replace(version(), adapters=(LORA,)))
    assert Replica.objects.get(pk=plain).state == ReplicaState.READY
    assert Replica.objects.get(pk=tuned).state == ReplicaState.UNLOADING


def test_a_model_that_only_embeds_needs_no_cache_and_says_so_to_its_runner(alice: access.Access) -> None:
    bert = replace(version(), capabilities=("embedding",), info=BERT)
    asked = Request(kind="embed", inputs=("x",), load=LoadOptions())
    run = Run.objects.select_related("replica").get(pk=runs.start(access=alice, version=bert, request=asked).pk)
    assert run.context == 512
    assert run.replica is not None and _load_command(run.replica)["embedding"] is True
    assert run.replica.need_bytes < 350_000_000


def test_an_embedding_and_a_chat_share_a_generative_models_replica(alice: access.Access) -> None:
    chat = start(alice)
    embed = runs.start(access=alice, version=version(), request=Request(kind="embed", inputs=("x",)))
    assert Run.objects.get(pk=embed.pk).replica_id == chat.replica_id


def test_a_generative_model_keeps_room_for_an_embedding_context() -> None:
    need = estimate.need(QWEN, context=4096, slots=8)
    assert need.kv / 8 < need.embedding < need.kv / 8 + 400_000_000


def test_what_only_embeds_needs_no_more_for_more_slots() -> None:
    one, many = (estimate.need({**BERT, EMBEDS_ONLY: True}, context=512, slots=slots) for slots in (1, 8))
    assert one == many and one.kv == 0 and one.embedding > 4 * 512 * 30522


def test_a_model_that_sees_has_room_for_images_whatever_is_asked_for(alice: access.Access) -> None:
    small = Request(kind="chat", load=LoadOptions(num_ctx=512))
    contexts = [
        runs.start(access=alice, version=replace(version(), projectors=seen), request=small).context
        for seen in ((), (SIGHT,))
    ]
    assert contexts == [512, 2048]


def test_reading_images_needs_memory_of_its_own(alice: access.Access) -> None:
    seeing, plain = start(alice, projectors=(SIGHT,)), start(alice)
    more = [estimate.need(run.sizing, context=2048, slots=1).sight for run in (seeing, plain)]
    assert more == [estimate.SIGHT, 0]
