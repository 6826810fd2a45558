"""Names and tenants: alice owns, bob is in her group, charlie must see nothing."""

from collections.abc import Callable

import pytest
from django.db.models import ProtectedError

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import copies, deletes, grants, resolve, show
from apps.registry.models import Model
from tests import factories
from tests.gguf_files import tiny
from tests.registry.conftest import People

Make = Callable[..., Model]


def refused(code: str, call: Callable[..., object], *args: object, **named: object) -> str:
    with pytest.raises(Problem) as caught:
        call(*args, **named)
    assert caught.value.code == code
    return caught.value.message


def listed(user: User) -> list[str]:
    return [str(entry["name"]) for entry in show.listing(user)]


def test_what_alice_makes_is_hers_alone(make: Make, people: People) -> None:
    made = make("m", people.alice)
    assert (made.full_name.full(), made.owner_user, made.published) == ("local/alice/m:latest", people.alice, False)
    assert listed(people.alice) == ["m:latest"]
    assert listed(people.root) == ["alice/m:latest"]
    assert listed(people.bob) == listed(people.charlie) == []
    for typed in ("m", "alice/m", "local/alice/m"):
        assert resolve.find(typed, people.alice) == made
        assert refused("not_found", resolve.find, typed, people.charlie) == f"model '{typed}' not found"


def test_an_absent_model_and_a_hidden_one_read_alike(make: Make, people: People) -> None:
    make("m", people.alice)
    for call in (resolve.find, resolve.version, resolve.target, resolve.writable):
        hidden = refused("not_found", call, "alice/m", people.charlie)
        absent = refused("not_found", call, "alice/n", people.charlie)
        assert hidden == absent.replace("/n", "/m")


def test_a_grant_lets_bob_use_and_not_change(make: Make, people: People) -> None:
    made = make("m", people.alice)
    grants.give(model=made, to=people.bob, by=people.alice)
    assert listed(people.bob) == ["alice/m:latest"]
    assert resolve.version("alice/m", people.bob).name == "alice/m:latest"
    refused("not_found", resolve.find, "m", people.bob)
    refused("forbidden", deletes.delete, "alice/m", user=people.bob)
    refused("forbidden", resolve.target, "alice/m", people.bob)
    refused("forbidden", resolve.target, "alice/other", people.bob)
    refused("forbidden", grants.give, model=made, to=people.charlie, by=people.bob)
    refused("not_found", grants.give, model=made, to=people.charlie, by=people.charlie)
    grants.withdraw(model=made, to=people.bob, by=people.alice)
    assert listed(people.bob) == []


def test_a_grant_to_a_group_reaches_its_members(make: Make, people: People) -> None:
    grants.give(model=make("m", people.alice), to=people.crew, by=people.alice)
    assert listed(people.bob) == ["alice/m:latest"]
    assert listed(people.charlie) == []


def test_a_groups_namespace_is_its_members(make: Make, people: People) -> None:
    made = make("crew/m", people.alice)
    assert made.owner_group == people.crew
    assert listed(people.bob) == ["crew/m:latest"]
    assert resolve.target("CREW/M", people.bob).name == made.full_name
    refused("not_found", resolve.target, "crew/m", people.charlie)
    refused("not_found", resolve.target, "crew/new", people.charlie)
    deletes.delete("crew/m", user=people.bob)
    assert listed(people.alice) == []


def test_what_an_admin_makes_is_the_librarys_and_everybodys(make: Make, people: People) -> None:
    made = make("m", people.root)
    assert (made.full_name.full(), made.published, made.owner_user) == ("local/library/m:latest", True, None)
    assert listed(people.charlie) == ["m:latest"]
    assert resolve.find("library/m", people.charlie) == resolve.find("m", people.charlie) == made
    refused("forbidden", deletes.delete, "m", user=people.charlie)
    refused("forbidden", resolve.target, "library/new", people.charlie)
    grants.publish(model=made, by=people.root, published=False)
    assert listed(people.charlie) == []
    refused("not_found", resolve.target, "library/new", people.charlie)
    refused("forbidden", grants.publish, model=made, by=people.alice)


def test_mine_comes_before_the_librarys_and_both_have_a_name(make: Make, people: People) -> None:
    library = make("m", people.root)
    mine = make("m", people.alice, content=tiny(seed=1))
    assert resolve.find("m", people.alice) == mine
    assert resolve.find("library/m", people.alice) == library
    assert resolve.find("m", people.bob) == library
    assert sorted(listed(people.alice)) == ["library/m:latest", "m:latest"]
    assert resolve.version("library/m", people.alice).name == "library/m:latest"


def test_the_default_registrys_comes_last(make: Make, people: People) -> None:
    pulled = make("registry.ollama.ai/library/p", people.root)
    assert resolve.find("p", people.alice) == resolve.find("library/p", people.alice) == pulled
    local = make("p", people.alice)
    assert resolve.find("p", people.alice) == local
    assert resolve.find("registry.ollama.ai/library/p", people.alice) == pulled
    assert resolve.version("library/p", people.alice).name == "library/p:latest"


def test_names_are_compared_without_case_and_keep_their_first_spelling(make: Make, people: People) -> None:
    first = make("Foo:Bar", people.alice)
    again = make("foo:bar", people.alice, content=tiny(seed=1))
    assert (again.pk, again.full_name) == (first.pk, first.full_name)
    assert resolve.find("ALICE/FOO:BAR", people.alice) == again


def test_a_namespace_of_nobody_is_not_to_be_written_but_by_an_admin(people: People, make: Make) -> None:
    refused("not_found", resolve.target, "nobody/m", people.alice)
    refused("forbidden", resolve.target, "example.com/alice/m", people.alice)
    assert make("nobody/m", people.root).owner_user is None
    assert make("alice/m", people.root, content=tiny(seed=1)).owner_user == people.alice


def test_a_malformed_name_is_invalid_and_not_absent(people: People) -> None:
    for call in (resolve.find, resolve.version, resolve.target):
        assert refused("invalid", call, "a b", people.alice) == "invalid model name"


def test_a_version_is_all_that_inference_needs(make: Make, people: People) -> None:
    make(
        "m:v1",
        people.alice,
        system="You are Mario\0.",
        parameters={"temperature": 0.5},
        messages=({"role": "user", "content": "hi"},),
    )
    version = resolve.version("M:V1", people.alice)
    assert (version.typed, version.name, version.canonical) == ("M:V1", "m:v1", "registry.ollama.ai/alice/m:v1")
    assert (version.system, version.messages) == ("You are Mario\0.", (("user", "hi"),))
    assert (version.params, version.template) == ({"temperature": 0.5}, "")
    assert version.capabilities == ("tools", "completion")
    assert version.weights.startswith("sha256:") and version.weights_size > 1000 and len(version.digest) == 64
    assert version.info["llama.block_count"] == 1 and version.info["vocab_size"] == 1500
    assert "tokenizer.chat_template" not in version.info
    assert resolve.version("m:v1:local", people.alice).digest == version.digest


def test_who_owns_models_cannot_be_deleted_under_them(make: Make, people: People) -> None:
    make("m", people.alice)
    with pytest.raises(ProtectedError):
        people.alice.delete()
    assert listed(people.root) == ["alice/m:latest"]


def test_the_newcomer_who_takes_a_freed_name_sees_nothing_old(make: Make, people: People) -> None:
    make("m", people.charlie)
    copies.copy(source="charlie/m", destination="kept", user=people.root)
    deletes.delete("charlie/m", user=people.root)
    people.charlie.delete()
    newcomer = factories.user("charlie")
    assert listed(newcomer) == ["kept:latest"], "only what the library publishes"
