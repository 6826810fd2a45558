"""The guide's older bodies of /api/create: a whole Modelfile, or a path to one in a folder that is allowed."""

from pathlib import Path
from typing import Any

import pytest

from apps.api.ollama.bodies import CreateRequest, Message
from apps.api.ollama.modelfiles import MAX_MODELFILE_BYTES, spec_of
from apps.errors import Problem

TEXT = "FROM plain\nSYSTEM You are Mario\nPARAMETER temperature 0.5\nMESSAGE user hi\n"


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.MODELFILE_DIRS = [str(tmp_path / "allowed")]
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "Modelfile").write_text(TEXT)
    (tmp_path / "secret").write_text(TEXT)
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "allowed"


def test_a_modelfile_and_a_path_to_it_mean_the_same(folder: Path) -> None:
    by_text = spec_of(CreateRequest(name="mario", modelfile=TEXT))
    assert by_text == spec_of(CreateRequest(name="mario", path=str(folder / "Modelfile")))
    assert (by_text.target, by_text.from_, by_text.system) == ("mario", "plain", "You are Mario")
    assert by_text.parameters == {"temperature": 0.5}


@pytest.mark.parametrize("path", ["../secret", "link", "Modelfile/../../secret", "/etc/passwd", ""])
def test_a_path_out_of_the_folder_is_refused_without_saying_what_is_there(folder: Path, path: str) -> None:
    with pytest.raises(Problem) as raised:
        spec_of(CreateRequest(model="x", path=str(folder / path) if path else "Modelfile"))
    assert raised.value.status == 400
    assert raised.value.message.startswith("path must name a Modelfile in a folder")


def test_what_is_no_file_or_too_long_is_refused(folder: Path) -> None:
    (folder / "long").write_bytes(b"#" * (MAX_MODELFILE_BYTES + 1))
    for name in ("missing", "long"):
        with pytest.raises(Problem, match="path does not name a Modelfile"):
            spec_of(CreateRequest(model="x", path=str(folder / name)))


def test_from_wins_over_a_modelfile_and_a_path(folder: Path) -> None:
    spec = spec_of(CreateRequest(model="x", base="plain", modelfile="FROM other", path="/etc/passwd", system="S"))
    assert (spec.from_, spec.system) == ("plain", "S")


def test_messages_are_stored_with_their_roles_in_lower_case() -> None:
    spec = spec_of(CreateRequest(model="x", base="plain", messages=(Message(role="USER", content="hi"),)))
    assert list(spec.messages) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("how", ["template", "modelfile"])
def test_a_template_that_is_none_is_refused_before_a_job_begins(how: str) -> None:
    fields = {
        "template": {"base": "plain", "template": "{{ .Prompt"},
        "modelfile": {"modelfile": "FROM m\nTEMPLATE {{"},
    }
    with pytest.raises(Problem, match="template error: template: :1: unclosed action"):
        spec_of(CreateRequest(model="x", **fields[how]))


def test_a_template_that_is_one_goes_into_the_spec() -> None:
    spec = spec_of(CreateRequest(model="x", base="plain", template="{{ range .Messages }}{{ .Content }}{{ end }}"))
    assert spec.template == "{{ range .Messages }}{{ .Content }}{{ end }}"


@pytest.mark.parametrize(
    "fields",
    [{"system": "a\x00"}, {"parameters": {"stop": ["\x00"]}}, {"license": ("\x00",)}, {"info": {"\x00": 1}}],
)
def test_a_nul_is_refused_wherever_it_stands(fields: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="U\\+0000"):
        spec_of(CreateRequest(model="x", base="plain", **fields))
