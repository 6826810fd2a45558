from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.accounts.models import User
from apps.audit.models import Entry
from apps.registry import blobs, digests, drafts, resolve
from apps.registry.models import Model
from apps.registry.specs import CreateSpec
from tests.api.corral.conftest import Caller, People
from tests.gguf_files import tiny

pytestmark = pytest.mark.urls("tests.api.small_urls")
As = Callable[..., Caller]


@pytest.fixture
def model(people: People, settings: Any, tmp_path: Path) -> Model:
    """alice's model `m`."""
    settings.DATA = tmp_path
    stored = blobs.write([tiny()], expected=digests.of(tiny()), user=people.alice)
    spec = CreateSpec(target="m", files={"tiny.gguf": stored.digest})
    target = resolve.target("m", people.alice)
    return drafts.build(spec=spec, user=people.alice, target=target, report=lambda status: None)


def sees(user: User, model: Model) -> bool:
    return Model.objects.visible_to(user).filter(pk=model.pk).exists()


def test_an_owner_shares_with_a_user_and_takes_it_back(people: People, as_: As, model: Model) -> None:
    alice = as_(people.alice)
    assert not sees(people.charlie, model)
    assert alice("post", "grants", {"model": "m", "user": "charlie"}).status_code == 201
    assert sees(people.charlie, model)
    assert [row["user"] for row in alice("get", "grants?model=m").json()["grants"]] == ["charlie"]
    assert alice("delete", "grants", {"model": "m", "user": "charlie"}).status_code == 204
    assert not sees(people.charlie, model)
    assert [row.action for row in Entry.objects.filter(action__startswith="grant.").order_by("id")] == [
        "grant.give",
        "grant.withdraw",
    ]


def test_a_grant_to_a_group_reaches_its_people(people: People, as_: As, model: Model) -> None:
    assert as_(people.alice)("post", "grants", {"model": "m", "group": "herd"}).status_code == 201
    assert sees(people.bob, model) and not sees(people.charlie, model)


def test_who_was_granted_a_model_can_neither_share_it_nor_list_its_grants(
    people: People, as_: As, model: Model
) -> None:
    as_(people.alice)("post", "grants", {"model": "m", "user": "bob"})
    bob = as_(people.bob)
    assert bob("post", "grants", {"model": "alice/m", "user": "charlie"}).status_code == 403
    assert bob("get", "grants?model=alice/m").status_code == 403
    assert as_(people.charlie)("get", "grants?model=alice/m").status_code == 404
    assert not sees(people.charlie, model)


@pytest.mark.parametrize("body", [{}, {"user": "bob", "group": "herd"}, {"user": ""}, {"user": 5, "group": []}])
def test_a_grant_names_one_user_or_one_group(people: People, as_: As, model: Model, body: dict[str, Any]) -> None:
    answer = as_(people.alice)("post", "grants", {"model": "m", **body})
    assert answer.status_code == 400 and answer.json()["error"]


def test_only_an_admin_publishes(people: People, as_: As, model: Model) -> None:
    assert as_(people.alice)("post", "publish", {"model": "m"}).status_code == 403
    assert as_(people.root)("post", "publish", {"model": "alice/m"}).json()["published"] is True
    assert sees(people.charlie, model)
    assert as_(people.root)("post", "publish", {"model": "alice/m", "published": False}).status_code == 200
    assert not sees(people.charlie, model)


def test_a_key_for_inference_alone_shares_nothing(people: People, as_: As, model: Model) -> None:
    narrow = as_(people.alice, ("infer",))
    assert narrow("post", "grants", {"model": "m", "user": "bob"}).status_code == 403
