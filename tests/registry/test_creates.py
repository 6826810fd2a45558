"""Making models: the statuses, the layers, the errors, and that a create which ends early leaves nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from apps.accounts.models import User
from apps.audit.models import Entry
from apps.errors import Problem
from apps.registry import blobs, creates, digests, drafts, garbage, gguf, manifest, resolve, show, specs, tasks
from apps.registry.models import Blob, Layer, Manifest, Model
from apps.registry.specs import CreateSpec
from apps.streams import jobs
from apps.streams.log import Entry as Frame
from tests.gguf_files import tiny, tiny_parts
from tests.registry.conftest import People

Make = Callable[..., Model]
Upload = Callable[[bytes, User], str]


def steps(spec: CreateSpec, user: User) -> list[str]:
    """The statuses of a create; a Problem is the last one, as `!status message`."""
    said: list[str] = []
    try:
        drafts.build(spec=spec, user=user, target=resolve.target(spec.target, user), report=said.append)
    except Problem as problem:
        said.append(f"!{problem.status} {problem.message}")
    return said


def nothing_is_left() -> bool:
    return not (Model.objects.exists() or Manifest.objects.exists() or Layer.objects.exists())


def test_an_uploaded_file_becomes_a_model(upload: Upload, people: People) -> None:
    digest = upload(tiny(), people.alice)
    said = steps(CreateSpec("m", files={"tiny.gguf": digest}), people.alice)
    assert said == ["parsing GGUF", f"using existing layer {digest}", "writing manifest", "success"]
    row = resolve.find("m", people.alice).manifest
    assert row.config == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "12K",
        "file_type": "Q4_K_M",
        "architecture": "amd64",
        "os": "linux",
    }
    assert digests.of(bytes(row.body)) == f"sha256:{row.digest}"
    assert [layer.blob_id for layer in row.layers.all()] == [digest]


def test_the_layers_of_a_derived_model_come_in_the_contracts_order(make: Make, people: People) -> None:
    """The digests of the small layers are those of the recording create-from."""
    base = make("base", people.alice)
    weights = base.manifest.document.layers[0].digest
    spec = CreateSpec(
        "mario",
        from_="base",
        system="You are mario from Super Mario Bros.",
        parameters={"temperature": 0.5, "stop": ["a", "b"]},
        messages=({"role": "user", "content": "hi"},),
        licenses=("MIT",),
    )
    small = [
        "sha256:1741cf59ce26ff01ac614d31efc700e21e44dd96aed60a7c91ab3f47e440ef94",
        "sha256:e5dcffe836b6ec8a58e492419b550e65fb8cbdc308503979e5dacb33ac7ea3b7",
        "sha256:7e91c8ceb6d93d477c35f33b1a3c7a4905205763fa39ec908d2b576e5a006449",
        "sha256:c8a55c91ab61e4cbd8b7d69c629abb2f800c2735dd0104dd05f6027f61db768f",
    ]
    created = [f"creating new layer {digest}" for digest in small]
    assert steps(spec, people.alice) == [f"using existing layer {weights}", *created, "writing manifest", "success"]
    document = resolve.find("mario", people.alice).manifest.document
    assert [layer.digest for layer in document.layers] == [weights, *small]
    assert document.layers[0].source == "base:latest"
    again = steps(spec, people.alice)
    assert again[1:5] == [f"using existing layer {digest}" for digest in small]


def test_a_layer_of_somebody_i_cannot_see_reads_as_new(make: Make, people: People) -> None:
    make("secret", people.alice, system="The password is swordfish.")
    make("m", people.charlie, content=tiny(seed=1))
    said = steps(CreateSpec("n", from_="m", system="The password is swordfish."), people.charlie)
    assert said[1].startswith("creating new layer")


def test_new_values_replace_or_join_the_bases(make: Make, people: People) -> None:
    make("a", people.alice, system="one", parameters={"top_k": 1, "seed": 7}, licenses=("MIT",),
         messages=({"role": "user", "content": "x"},))  # fmt: skip
    made = make("b", people.alice, from_="a", system="two", parameters={"top_k": 2}, licenses=("BSD", "MIT"))
    assert made.manifest.texts == {
        "system": "two",
        "params": {"seed": 7, "top_k": 2},
        "license": ["MIT", "BSD"],
        "messages": [{"role": "user", "content": "x"}],
    }
    kinds = [layer.media_type for layer in made.manifest.document.layers]
    assert kinds == [manifest.WEIGHTS, manifest.LICENSE, manifest.MESSAGES, manifest.SYSTEM, manifest.LICENSE,
                     manifest.PARAMS]  # fmt: skip
    untouched = make("c", people.alice, from_="b")
    assert untouched.manifest.texts == made.manifest.texts


def test_a_template_replaces_the_bases_and_decides_what_the_model_can(make: Make, people: People) -> None:
    base = make("base", people.alice)
    assert base.manifest.capabilities == ["tools", "completion"]
    made = make("a", people.alice, from_="base", template="{{ .System }} {{ .Prompt }}{{ .Suffix }}")
    assert made.manifest.capabilities == ["completion", "insert"]
    assert resolve.version("a", people.alice).template == "{{ .System }} {{ .Prompt }}{{ .Suffix }}"
    again = make("b", people.alice, from_="a", template="{{ .Tools }}{{ .Prompt }}", system="s")
    kinds = [layer.media_type for layer in again.manifest.document.layers]
    assert kinds == [manifest.WEIGHTS, manifest.TEMPLATE, manifest.SYSTEM]
    assert again.manifest.texts["template"] == "{{ .Tools }}{{ .Prompt }}"


def test_the_template_that_show_prints_for_none_counts_as_none_unless_there_is_one(make: Make, people: People) -> None:
    base = make("base", people.alice)
    assert make("a", people.alice, from_="base", template="{{ .Prompt }}").manifest.texts == {}
    make("own", people.alice, from_="base", template="{{ .Prompt }}!")
    assert make("b", people.alice, from_="own", template="{{ .Prompt }}").manifest.texts["template"] == "{{ .Prompt }}"
    assert base.manifest.capabilities == ["tools", "completion"]


def test_info_goes_into_the_config(make: Make, people: People) -> None:
    info = {"capabilities": ["thinking"], "model_family": "own", "quantization_level": "Q9", "context_length": 10.0}
    made = make("m", people.alice, info=info)
    assert (made.manifest.config["model_family"], made.manifest.config["file_type"]) == ("own", "Q9")
    assert made.manifest.capabilities == ["thinking", "tools", "completion"]
    assert show.listing(people.alice)[0]["details"]["context_length"] == 10


def test_a_projector_makes_a_model_see(upload: Upload, people: People) -> None:
    weights = upload(tiny(), people.alice)
    eyes = upload(tiny(architecture="clip", seed=1), people.alice)
    steps(CreateSpec("m", files={"a-eyes.gguf": eyes, "b.gguf": weights}), people.alice)
    row = resolve.find("m", people.alice).manifest
    assert [layer.media_type for layer in row.document.layers] == [manifest.WEIGHTS, manifest.PROJECTOR]
    assert row.capabilities == ["tools", "completion", "vision"]


@pytest.mark.parametrize("name", ["m.gguf", "m"])
def test_a_file_that_is_no_gguf_is_refused(name: str, upload: Upload, people: People) -> None:
    digest = upload(b"hello blob", people.alice)
    said = steps(CreateSpec("m", files={name: digest}), people.alice)
    assert (
        said
        == {
            "m.gguf": ["parsing GGUF", "!400 supplied file was not in GGUF format"],
            "m": ["!400 unknown type"],
        }[name]
    )
    assert nothing_is_left()


def test_a_file_of_somebody_else_is_as_absent_as_none(upload: Upload, people: People) -> None:
    digest = upload(tiny(), people.alice)
    absent = "sha256:" + "0" * 64
    for wanted in (digest, absent):
        said = steps(CreateSpec("m", files={"m.gguf": wanted}), people.bob)
        assert said == ["parsing GGUF", f'!400 blob "{wanted}" not found']
    assert nothing_is_left()


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ({"general.type": "adapter"},
         "m.gguf is an adapter: name it under adapters, and its base under from or files"),
        ({"split.count": 3},
         "the split GGUF file cannot be put together: m.gguf is a part of one, and its name does not end in "
         "-00001-of-0000N.gguf"),
    ],
)  # fmt: skip
def test_a_gguf_that_cannot_be_served_yet_is_refused(
    extra: dict[str, Any], error: str, upload: Upload, people: People
) -> None:
    digest = upload(tiny(extra=extra), people.alice)
    said = steps(CreateSpec("m", files={"m.gguf": digest}), people.alice)
    assert said == ["parsing GGUF", f"!400 {error}"]


def test_the_parts_of_a_split_gguf_become_one_layer(upload: Upload, people: People) -> None:
    files = {name: upload(data, people.alice) for name, data in tiny_parts(tensors=1).items()}
    said = steps(CreateSpec("m", files=files), people.alice)
    assert said[:4] == ["parsing GGUF"] * 3 + ["merging split GGUF"] and said[-1] == "success"
    model = resolve.find("m", people.alice)
    (layer,) = model.manifest.document.of_type(manifest.WEIGHTS)
    assert any(line == f"creating new layer {layer.digest}" for line in said)
    assert [tensor.name for tensor in gguf.read(blobs.path(layer.digest)).tensors] == [
        tensor.name for tensor in gguf.parse(tiny(), size=10**6).tensors
    ]


def test_a_split_gguf_that_lacks_a_part_leaves_nothing(upload: Upload, people: People) -> None:
    files = {name: upload(data, people.alice) for name, data in tiny_parts(tensors=1).items()}
    files.pop("tiny-00002-of-00003.gguf")
    said = steps(CreateSpec("m", files=files), people.alice)
    assert (
        said[-1] == "!400 the split GGUF file cannot be put together: all 3 parts are needed, and part 2 is not there"
    )
    assert nothing_is_left()


def test_an_unknown_base_reads_as_a_pull_that_failed(make: Make, people: People) -> None:
    make("m", people.alice)
    for base in ("nope", "alice/m"):
        said = steps(CreateSpec("x", from_=base), people.charlie)
        assert said == ["pulling manifest", "!500 pull model manifest: file does not exist"]


def test_quantizing_says_why_not(make: Make, people: People) -> None:
    make("q4", people.alice)
    assert steps(CreateSpec("x", from_="q4", quantize="Q8_0"), people.alice) == [
        "!500 quantization is only supported for F16, BF16 and F32 models"
    ]


def test_both_bodies_make_the_same_model(make: Make, people: People) -> None:
    make("base", people.alice)
    old = specs.from_body({"name": "old", "modelfile": "FROM base\nSYSTEM You are Mario\nPARAMETER stop a"})
    new = specs.from_body({"model": "new", "from": "base", "system": "You are Mario", "parameters": {"stop": ["a"]}})
    for spec in (old, new):
        steps(spec, people.alice)
    assert resolve.find("old", people.alice).manifest == resolve.find("new", people.alice).manifest


def test_a_create_that_is_stopped_leaves_only_garbage(make: Make, people: People, store: Path) -> None:
    make("base", people.alice)
    before = Blob.objects.count()
    for stop_at in ("using existing", "creating new", "writing manifest"):

        def report(status: str, stop_at: str = stop_at) -> None:
            if status.startswith(stop_at):
                raise jobs.Cancelled

        with pytest.raises(jobs.Cancelled):
            drafts.build(
                spec=CreateSpec("x", from_="base", system=f"stopped {stop_at}"),
                user=people.alice,
                target=resolve.target("x", people.alice),
                report=report,
            )
    assert [model.name for model in Model.objects.all()] == ["base"]
    assert Manifest.objects.count() == 1
    Blob.objects.update(touched_at="2020-01-01T00:00Z")
    garbage.collect()
    assert Blob.objects.count() == before == len(list((store / "blobs").iterdir()))


def test_a_base_that_vanishes_half_way_fails_with_a_sentence(make: Make, people: People) -> None:
    base = make("base", people.alice)

    def report(status: str) -> None:
        if status == "writing manifest":
            Model.objects.filter(pk=base.pk).delete()
            Manifest.objects.all().delete()
            Blob.objects.filter(digest=base.manifest.document.layers[0].digest).delete()

    with pytest.raises(Problem, match="not found"):
        drafts.build(
            spec=CreateSpec("x", from_="base", system="s"),
            user=people.alice,
            target=resolve.target("x", people.alice),
            report=report,
        )
    assert nothing_is_left()


def test_a_name_that_changed_hands_meanwhile_is_left_alone(make: Make, people: People) -> None:
    made = make("m", people.alice)
    target = resolve.target("m", people.alice)
    Model.objects.filter(pk=made.pk).update(owner_user=people.bob)
    with pytest.raises(Problem) as caught:
        drafts.build(spec=CreateSpec("m", from_="x", files={"t.gguf": made.manifest.document.layers[0].digest}),
                     user=None, target=target, report=lambda status: None)  # fmt: skip
    assert caught.value.code == "conflict"


def test_who_made_and_who_deleted_a_model_is_on_record(make: Make, people: People) -> None:
    made = make("m", people.alice)
    entry = Entry.objects.latest("id")
    assert (entry.actor_id, entry.action, entry.target) == (people.alice.pk, "model.create", "local/alice/m:latest")
    assert entry.detail == {"digest": made.manifest.digest}


@pytest.mark.django_db(transaction=True)
def test_a_create_is_a_job_with_a_log(make: Make, people: People, services: None) -> None:
    make("base", people.alice)
    assert jobs.HANDLERS["create"] is creates.run, tasks
    job = creates.start(user=people.alice, spec=CreateSpec("m", from_="base", system="a\0b"))
    jobs.run(job.id)
    job.refresh_from_db()
    assert (job.state, job.error) == ("done", None)
    assert resolve.version("m", people.alice).system == "a\0b"
    statuses = [entry.data["status"] for entry in entries(job) if entry.kind == "progress"]
    assert statuses[-2:] == ["writing manifest", "success"]
    assert entries(job)[-1].kind == "end"


@pytest.mark.django_db(transaction=True)
def test_a_create_that_fails_ends_its_log_with_the_error(people: People, services: None, store: Path) -> None:
    job = creates.start(user=people.alice, spec=CreateSpec("m", from_="nope"))
    jobs.run(job.id)
    last = entries(job)[-1]
    assert (last.kind, last.data["message"], last.data["status"]) == (
        "error", "pull model manifest: file does not exist", 500,
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_create_into_anothers_namespace_never_becomes_a_job(make: Make, people: People) -> None:
    make("m", people.root)
    with pytest.raises(Problem) as caught:
        creates.start(user=people.alice, spec=CreateSpec("library/m", from_="m"))
    assert caught.value.code == "forbidden"
    assert not jobs.Job.objects.exists()


def entries(job: jobs.Job) -> list[Frame]:
    with redis.Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        raw = client.xrange(f"log:{{{job.log_id}}}")
    return [Frame(offset, fields["k"], json.loads(fields["d"])) for offset, fields in raw]
