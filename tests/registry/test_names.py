import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Problem
from apps.registry import names
from apps.registry.names import DEFAULT_REGISTRY, ModelName

PART = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "host", "namespace", "model", "tag"),
    [
        ("m", "local", "library", "m", "latest"),
        ("_why/_the:_x", "local", "_why", "_the", "_x"),
        ("host:5000/ns/model:tag", "host:5000", "ns", "model", "tag"),
        ("hf.co/user/repo:Q4_K_M", "hf.co", "user", "repo", "Q4_K_M"),
        ("https://example.com/ns/m", "example.com", "ns", "m", "latest"),
        ("LOCAL/alice/m", "local", "alice", "m", "latest"),
    ],
)
def test_a_name_is_read_from_the_right(text: str, host: str, namespace: str, model: str, tag: str) -> None:
    assert ModelName.parse(text) == ModelName(host, namespace, model, tag)


@pytest.mark.parametrize(
    "text",
    ["", "-m", "a b", "m:", ":t", "/m", "//", "a//m", "ns.x/m", "a/b/c/d", "x" * 81, "m:" + "t" * 81, "m@sha256:a", "é",
     "m\n", "m:t\n", "\u0661", "n:s/m", "m\0"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="^invalid model name$"):
        ModelName.parse(text)


def test_a_name_remembers_which_parts_were_typed() -> None:
    assert ModelName.parse("m").given == {"model"}
    assert ModelName.parse("a/m:t").given == {"namespace", "model", "tag"}


@given(host=PART, namespace=PART, model=PART, tag=PART)
def test_a_full_name_reads_back_as_itself(host: str, namespace: str, model: str, tag: str) -> None:
    name = ModelName.parse(f"{host}/{namespace}/{model}:{tag}")
    assert ModelName.parse(name.full()) == name


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_a_problem(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except Problem as problem:
        assert problem.code == "invalid"
    else:
        assert all(part.isascii() and part for part in (name.host, name.namespace, name.model, name.tag))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (ModelName("local", "alice", "m"), "m:latest"),
        (ModelName("local", "Alice", "m"), "m:latest"),
        (ModelName("local", "library", "m"), "m:latest"),
        (ModelName("local", "bob", "m", "v1"), "bob/m:v1"),
        (ModelName(DEFAULT_REGISTRY, "library", "m"), "m:latest"),
        (ModelName(DEFAULT_REGISTRY, "me", "m", "v1"), "me/m:v1"),
        (ModelName("host", "library", "m", "t"), "host/library/m:t"),
    ],
)
def test_the_short_form_for_alice(name: ModelName, short: str) -> None:
    assert name.short("alice") == short


def test_names_that_would_look_alike_are_told_apart() -> None:
    mine, library = ModelName("local", "alice", "m"), ModelName("local", "library", "m")
    pulled, bobs = ModelName(DEFAULT_REGISTRY, "library", "m"), ModelName("local", "bob", "m")
    theirs = ModelName(DEFAULT_REGISTRY, "bob", "m")
    assert names.shorten([theirs, pulled, bobs, library, mine], "alice") == {
        mine: "m:latest",
        library: "library/m:latest",
        pulled: f"{DEFAULT_REGISTRY}/library/m:latest",
        bobs: "bob/m:latest",
        theirs: f"{DEFAULT_REGISTRY}/bob/m:latest",
    }


@given(
    st.lists(
        st.builds(
            ModelName,
            st.sampled_from(["local", DEFAULT_REGISTRY, "h"]),
            st.sampled_from(["alice", "library", "bob"]),
            st.sampled_from(["m", "n"]),
            st.sampled_from(["latest", "v"]),
        ),
        unique_by=lambda n: n.key,
    )
)
def test_no_two_models_are_shown_under_one_name(listed: list[ModelName]) -> None:
    shown = names.shorten(listed, "alice")
    assert len(set(shown.values())) == len(listed)


def test_the_canonical_name_reads_like_ollamas() -> None:
    assert ModelName.parse("x").canonical() == "registry.ollama.ai/library/x:latest"
    assert ModelName.parse("alice/m").canonical() == "registry.ollama.ai/alice/m:latest"


def test_the_ending_local_is_cut_off_and_a_cloud_is_not_served() -> None:
    assert names.without_source(" m:local ") == "m"
    assert names.without_source("m:7b:LOCAL") == "m:7b"
    assert names.without_source("alice/m:7b") == "alice/m:7b"
    for text in ("m:cloud", "m:120b-cloud"):
        with pytest.raises(Problem, match="ollama cloud is disabled"):
            names.without_source(text)
    with pytest.raises(Problem, match='^use either :local or :cloud, not both: "foo:cloud:local"$'):
        names.without_source("foo:cloud:local")
