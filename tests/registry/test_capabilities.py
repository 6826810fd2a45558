from typing import Any

import pytest

from apps.registry import capabilities, parameters

THINK = "{{ '<think>' }}…{{ '</think>' }}"


@pytest.mark.parametrize(
    ("metadata", "more", "words"),
    [
        ({}, {}, ("completion",)),
        ({"tokenizer.chat_template": "{% if tools %}"}, {}, ("tools", "completion")),
        ({"tokenizer.chat_template": "{{ tool_call }}" + THINK}, {}, ("tools", "thinking", "completion")),
        ({"tokenizer.chat_template": "content.split('</think>')"}, {}, ("thinking", "completion")),
        ({"tokenizer.chat_template": "content.split('</think>') reasoning_content"}, {}, ("completion",)),
        ({"general.architecture": "bert", "bert.pooling_type": 1}, {}, ("embedding",)),
        ({"general.architecture": "q", "q.vision.block_count": 1, "q.audio.block_count": 1}, {},
         ("completion", "vision", "audio")),
        ({}, {"projectors": [{}]}, ("completion", "vision")),
        ({}, {"projectors": [{"clip.has_audio_encoder": True}]}, ("completion", "audio")),
        ({"tokenizer.chat_template": "tools"}, {"template": "{{ .Prompt }} .Tools"}, ("completion",)),
        ({}, {"template": "{{ if .tools }}{{ end }}{{ .Suffix }}"}, ("completion", "tools", "insert")),
        ({}, {"config": {"capabilities": ["tools", "completion"]}}, ("tools", "completion")),
        ({}, {"config": {"model_family": "gptoss"}}, ("completion", "thinking")),
    ],
)  # fmt: skip
def test_what_a_model_can_do(metadata: dict[str, Any], more: dict[str, Any], words: tuple[str, ...]) -> None:
    assert capabilities.derive(**{"config": {}, "metadata": metadata, **more}) == words


@pytest.mark.parametrize(
    ("count", "text"),
    [(8030261312, "8.0B"), (7 * 10**9, "7B"), (22713216, "22.71M"), (630167424, "630.17M"), (5000000, "5M"),
     (1234, "1K"), (2000, "2K"), (999, "999"), (0, "0")],
)  # fmt: skip
def test_a_parameter_count_in_human_words(count: int, text: str) -> None:
    assert capabilities.parameter_text(count) == text


@pytest.mark.parametrize(
    ("value", "name"), [(15, "Q4_K_M"), (0, "unknown"), (None, "unknown"), (5, "unknown"), (1, "F16")]
)
def test_a_file_type_by_name(value: int | None, name: str) -> None:
    assert capabilities.quantization(value) == name


def test_parameters_are_shown_as_the_recording_shows_them() -> None:
    shown = parameters.table({"temperature": 0.5, "stop": ["a", 'b"'], "num_ctx": 1_000_000, "use_mmap": True})
    assert shown.splitlines() == [
        "num_ctx                        1e+06",
        'stop                           "a"',
        'stop                           "b\\""',
        "temperature                    0.5",
        "use_mmap                       true",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1.234567e+06"), (123456, "123456"), (0.0001, "0.0001"), (0.00001, "1e-05"), (-2.5e-7, "-2.5e-07"),
     (0, "0"), (1e22, "1e+22"), (-1, "-1")],
)  # fmt: skip
def test_numbers_read_as_go_prints_them(value: float, text: str) -> None:
    assert parameters.number(value) == text
