"""A runner from its load to its end."""

import os
import signal
import time
from pathlib import Path

from apps.inference import estimate
from tests.inference.runner.conftest import MakeRunner, Runner, Tokenise
from tests.inference.test_estimate import QWEN

STORY = "Tell me a very long story about a horse.\n"


def test_a_run_streams_its_text_and_then_ends(loaded: Runner, tokenise: Tokenise) -> None:
    tokens = tokenise("The capital of France is")
    run = loaded.start(tokens, want_context=True)
    assert loaded.wait("started", run)["fence"] == 1
    end = loaded.wait("ended", run)
    assert "Paris" in loaded.text(run)
    assert (end["reason"], end["error"], end["prompt_tokens"], end["output_tokens"]) == ("length", None, len(tokens), 8)
    assert len(end["output_ids"]) == 8 and end["prompt_ns"] > 0 and end["eval_ns"] > 0


def test_output_ids_are_told_only_where_wanted(loaded: Runner, tokenise: Tokenise) -> None:
    assert "output_ids" not in loaded.wait("ended", loaded.start(tokenise("2 + 2 =")))


def test_a_cancel_command_ends_the_run(loaded: Runner, tokenise: Tokenise) -> None:
    run = loaded.start(tokenise(STORY), limits={"num_predict": 400})
    loaded.wait("started", run)
    loaded.send({"do": "cancel", "run": run})
    assert loaded.wait("ended", run)["reason"] == "cancelled"


def test_a_cancel_beside_the_log_ends_the_run(loaded: Runner, tokenise: Tokenise) -> None:
    run = loaded.start(tokenise(STORY), limits={"num_predict": 400})
    loaded.wait("started", run)
    loaded.log.cancel(run)
    end = loaded.wait("ended", run)
    assert end["reason"] == "cancelled" and end["output_tokens"] < 400


def test_a_run_whose_log_was_taken_over_is_dropped(loaded: Runner, tokenise: Tokenise) -> None:
    run = loaded.start(tokenise(STORY), limits={"num_predict": 400})
    loaded.wait("started", run)
    assert loaded.log.claim(run, 2)
    before = loaded.text(run)
    end = loaded.wait("ended", run)
    assert (end["reason"], end["error"]["code"], loaded.text(run)) == ("error", "conflict", before)


def test_a_run_without_a_log_is_dropped(loaded: Runner, tokenise: Tokenise) -> None:
    loaded.send({"do": "run", "run": "x", "log": "none", "fence": 1, "tokens": tokenise(STORY), "share_key": "u"})
    assert loaded.wait("ended", "x")["error"]["code"] == "conflict"


def test_a_prompt_that_is_too_long_is_refused_with_a_sentence(loaded: Runner) -> None:
    run = loaded.start([9] * 600, limits={"shift": False})
    assert "longer than the context length" in loaded.wait("ended", run)["error"]["message"]


def test_ready_says_what_it_took(make_runner: MakeRunner, gguf_path: Path) -> None:
    runner = make_runner()
    runner.load(gguf_path)
    assert runner.wait("progress", seconds=60)["fraction"] <= 1
    memory = runner.wait("ready", seconds=60)["memory"]
    need = estimate.need({**QWEN, "tensor_bytes": gguf_path.stat().st_size}, context=512, slots=2)
    assert memory["kv"] == need.kv
    assert 0.9 < need.weights / memory["weights"] < 1.1
    assert 0.8 < need.compute / memory["compute"] < 1.5
    assert memory["kv"] < memory["rss"] < need.total
    runner.send({"do": "stop"})
    assert runner.gone() == 0


def test_a_file_that_is_no_model_fails_with_a_sentence(make_runner: MakeRunner, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"GGUF" + os.urandom(4096))
    runner = make_runner()
    runner.load(garbage)
    failed = runner.wait("failed")
    assert failed["code"] == "invalid" and "could not be loaded" in failed["message"]
    assert str(tmp_path) not in failed["message"]
    assert runner.gone() == 1


def test_a_file_that_is_not_there_fails_with_a_sentence(make_runner: MakeRunner, tmp_path: Path) -> None:
    runner = make_runner()
    runner.load(tmp_path / "nothing.gguf")
    assert "cannot be read" in runner.wait("failed")["message"]


def test_it_ends_when_its_pipe_closes_even_in_the_middle_of_a_load(make_runner: MakeRunner, gguf_path: Path) -> None:
    runner = make_runner()
    runner.load(gguf_path)
    assert runner.process.stdin
    runner.process.stdin.close()
    started = time.monotonic()
    runner.gone()
    assert time.monotonic() - started < 5


def test_it_ends_when_its_pipe_closes_while_it_answers(
    make_runner: MakeRunner, gguf_path: Path, tokenise: Tokenise
) -> None:
    runner = make_runner()
    runner.load(gguf_path)
    run = runner.start(tokenise(STORY), limits={"num_predict": 400})
    runner.wait("started", run, seconds=60)
    assert runner.process.stdin
    runner.process.stdin.close()
    assert runner.gone(seconds=5) == 0


def test_a_kill_closes_the_events(make_runner: MakeRunner, gguf_path: Path, tokenise: Tokenise) -> None:
    runner = make_runner()
    runner.load(gguf_path)
    runner.wait("started", runner.start(tokenise(STORY)), seconds=60)
    runner.process.send_signal(signal.SIGKILL)
    assert runner.gone() == -signal.SIGKILL


def test_it_gives_up_its_rights(make_runner: MakeRunner, gguf_path: Path) -> None:
    runner = make_runner()
    runner.load(gguf_path, shared_user=65534 if os.geteuid() == 0 else None)
    runner.wait("ready", seconds=60)
    status = Path(f"/proc/{runner.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert f"Uid:\t{65534 if os.geteuid() == 0 else os.geteuid()}\t" in status
    assert "Max core file size        0" in Path(f"/proc/{runner.process.pid}/limits").read_text()
