"""What a replica will need, before it is loaded. What it then takes is compared in tests/inference/runner."""

from typing import Any

from apps.inference import estimate

QWEN: dict[str, Any] = {
    "general.architecture": "qwen2",
    "qwen2.block_count": 24,
    "qwen2.embedding_length": 896,
    "qwen2.feed_forward_length": 4864,
    "qwen2.attention.head_count": 14,
    "qwen2.attention.head_count_kv": 2,
    "tensor_bytes": 485_000_000,
    "vocab_size": 151_936,
}


def test_the_cache_grows_with_context_and_slots() -> None:
    one, many = (estimate.need(QWEN, context=context, slots=slots) for context, slots in ((1024, 1), (2048, 4)))
    assert one.kv == 1024 * 24 * 2 * (64 + 64) * 2
    assert many.kv == 8 * one.kv
    assert many.parked == many.kv // 8


def test_a_quantised_cache_is_smaller() -> None:
    half, eighth = (estimate.need(QWEN, context=1024, slots=1, kv_type=kind).kv for kind in ("f16", "q8_0"))
    assert eighth == half * 34 // 64


def test_key_and_value_lengths_are_taken_from_the_file_where_it_says_them() -> None:
    wide = {**QWEN, "qwen2.attention.key_length": 128, "qwen2.attention.value_length": 128}
    assert estimate.need(wide, context=64, slots=1).kv == 2 * estimate.need(QWEN, context=64, slots=1).kv


def test_a_larger_batch_needs_more_up_to_the_whole_context() -> None:
    usual, large = (estimate.need({**QWEN, "batch": batch}, context=1024, slots=8) for batch in (512, 2**20))
    assert usual == estimate.need(QWEN, context=1024, slots=8)
    assert large == estimate.need({**QWEN, "batch": 8192}, context=1024, slots=8)
    assert large.compute > 4 * usual.compute


def test_a_file_that_says_little_still_gives_a_number() -> None:
    need = estimate.need({"tensor_bytes": 100}, context=1024, slots=1)
    assert need.weights == 100 and need.total > 100
