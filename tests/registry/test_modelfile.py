import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Problem
from apps.registry import modelfile, specs
from apps.registry.modelfile import INSTRUCTIONS, ROLES, Command

LISTED = ", ".join(f'"{name}"' for name in INSTRUCTIONS[:-1])
COMMANDS = f'command must be one of {LISTED}, or "requires"'
MESSAGES = 'message role must be one of "system", "user", or "assistant"'
SHA = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no FROM line"),
        ("# FROM x\nSYSTEM a", "no FROM line"),
        ("FROM foo\nBAD x", f"(line 2): {COMMANDS}"),
        ("FROM foo\nMESSAGE User hi", f"(line 2): {MESSAGES}"),
        ("FROM foo\nMESSAGE tool hi", f"(line 2): {MESSAGES}"),
        ("FROM foo\nMESSAGE  user hi", f"(line 2): {MESSAGES}"),
        ('FROM foo\nSYSTEM "unterminated', "unexpected EOF"),
        ('FROM foo\nSYSTEM """unterminated"', "unexpected EOF"),
        ('FROM foo\nSYSTEM "a" b', "unexpected EOF"),
        ("SYSTEM", "unexpected EOF"),
        ("FROM", "unexpected EOF"),
        ("FROM foo\nMESSAGE user", "unexpected EOF"),
        ("FROM foo\nPARAMETER temperature", "unexpected EOF"),
        ("FROM foo\nPARAMETER temperature\n", "unexpected EOF: temperature"),
        ("FROM foo\nPARAMETER top-k 4", "unexpected EOF: top"),
        ("FROM foo\nPARAMETER\n", f"(line 3): {COMMANDS}"),
        ("FROM foo\nREQUIRES soon", "requires must be a valid semver (e.g. 0.14.0)"),
    ],
)
def test_a_mistake_is_told_in_the_parsers_words(text: str, error: str) -> None:
    with pytest.raises(Problem) as caught:
        modelfile.parse(text)
    assert caught.value.message == error


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SYSTEM hello world  ", "hello world"),
        ("system\thello", "hello"),
        ("  SYSTEM   a # not a comment", "a # not a comment"),
        ('SYSTEM "a  b "', "a  b "),
        ('SYSTEM """\nx\n"""', "\nx\n"),
        ('SYSTEM "x\r\ny"', "x\r\ny"),
        ('SYSTEM ""', ""),
        ('SYSTEM """"""', ""),
        ("SYSTEM 'a'", "'a'"),
        ('SYSTEM """say "hi" """', 'say "hi" '),
        ("SYSTEM a\0b\u200bc", "abc"),
        ("SYSTEM ", ""),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_a_value_is_taken_verbatim(line: str, value: str, newline: str) -> None:
    assert modelfile.parse(f"FROM m{newline}{line}") == [Command("from", "m"), Command("system", value)]


def test_utf_16_is_read_by_its_mark() -> None:
    text = "FROM m\nSYSTEM grüße"
    assert modelfile.decode(text.encode("utf-16")) == text
    assert modelfile.decode(b"\xfe\xff" + text.encode("utf-16-be")) == text
    assert modelfile.decode(b"\xef\xbb\xbf" + text.encode()) == text


PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=' \t\n"#'), max_size=40)


def spellable(value: str) -> bool:
    """Nothing can be escaped, so no line but the last may end as the value would."""
    return not any(line.rstrip(" \t").endswith('"""') for line in value.split("\n")[:-1])


VALUES = PRINTABLE.filter(spellable)
PLAIN = sorted(set(INSTRUCTIONS) - {"parameter", "message", "requires"})
COMMAND = st.one_of(
    st.builds(Command, st.sampled_from(PLAIN), VALUES),
    st.builds(Command, st.just("parameter"), VALUES, st.from_regex(r"[a-z0-9_]{1,9}", fullmatch=True)),
    st.builds(Command, st.just("message"), VALUES, st.sampled_from(ROLES)),
)


@given(st.lists(COMMAND, max_size=8))
def test_what_is_printed_reads_back_as_the_same_commands(commands: list[Command]) -> None:
    whole = [Command("from", "m"), *commands]
    assert modelfile.parse(modelfile.dump(whole)) == whole


@given(st.text(max_size=200))
def test_any_text_is_a_modelfile_or_a_problem(text: str) -> None:
    try:
        commands = modelfile.parse("FROM m\n" + text)
    except Problem as problem:
        assert problem.code == "invalid"
    else:
        assert commands[0] == Command("from", "m")


def test_a_modelfile_becomes_the_same_spec_as_a_body() -> None:
    text = (
        "FROM base\nSYSTEM You are Mario\nPARAMETER temperature 0.5\nPARAMETER top_k 3\nPARAMETER top_k 4\n"
        "PARAMETER use_mmap T\nPARAMETER stop ### User:\nPARAMETER stop b\nPARAMETER mirostat 2\n"
        'MESSAGE user hi: there\nMESSAGE assistant "yo\nyo"\nLICENSE MIT\nLICENSE BSD\nREQUIRES 0.14.0'
    )
    body = {
        "model": "mario",
        "from": "base",
        "system": "You are Mario",
        "parameters": {"temperature": 0.5, "top_k": 4, "use_mmap": True, "stop": ["### User:", "b"]},
        "messages": [{"role": "user", "content": "hi: there"}, {"role": "assistant", "content": "yo\nyo"}],
        "license": ["MIT", "BSD"],
        "requires": "0.14.0",
    }
    assert specs.from_body({"name": "mario", "modelfile": text}) == specs.from_body(body)


@pytest.mark.parametrize("source", [f"@{SHA}", SHA])
def test_a_from_line_may_name_an_uploaded_file(source: str) -> None:
    spec = specs.from_modelfile("m", f"FROM {source}")
    assert (spec.from_, dict(spec.files or {})) == ("", {"0.gguf": SHA})


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("PARAMETER tfs_z 1", "unknown parameter 'tfs_z'"),
        ("PARAMETER numa 1", "unknown parameter 'numa'"),
        ("PARAMETER top_k abc", "invalid int value [abc]"),
        ("PARAMETER top_k 1.5", "invalid int value [1.5]"),
        ("PARAMETER temperature abc", "invalid float value [abc]"),
        ("PARAMETER use_mmap yes", "invalid bool value [yes]"),
        ("ADAPTER @sha256:12", "invalid digest format"),
        ("ADAPTER x", "ADAPTER x: upload the file first (POST /api/blobs/sha256:…), then ADAPTER its digest"),
        ("DRAFT x", "this server does not serve DRAFT yet"),
        (
            "FROM ./model.gguf",
            "FROM ./model.gguf: upload the file first (POST /api/blobs/sha256:…), then FROM its digest",
        ),
    ],
)
def test_a_line_that_cannot_be_served_is_refused_by_name(line: str, error: str) -> None:
    with pytest.raises(Problem) as caught:
        specs.from_modelfile("m", f"FROM m\n{line}")
    assert (caught.value.message, caught.value.status) == (error, 400)
