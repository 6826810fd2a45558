"""A store of its own for each test, and the three people: alice owns, bob is in her group, charlie sees nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.accounts.models import Group, User
from apps.registry import blobs, digests, drafts, resolve
from apps.registry.models import Model
from apps.registry.specs import CreateSpec
from tests import factories
from tests.gguf_files import tiny
from tests.minilm import minilm  # noqa: F401  (the fixture)


@pytest.fixture
def store(settings: Any, tmp_path: Path) -> Path:
    settings.DATA = tmp_path
    return tmp_path / "store"


@dataclass(frozen=True)
class People:
    root: User
    alice: User
    bob: User
    charlie: User
    crew: Group


@pytest.fixture
def people(db: None) -> People:
    alice, bob = factories.user("alice"), factories.user("bob")
    crew = factories.group("crew", members=[bob], owners=[alice])
    return People(factories.admin(), alice, bob, factories.user("charlie"), crew)


@pytest.fixture
def upload(store: Path) -> Callable[[bytes, User], str]:
    def upload(content: bytes, user: User) -> str:
        return blobs.write([content], expected=digests.of(content), user=user).digest

    return upload


@pytest.fixture
def make(store: Path, upload: Callable[[bytes, User], str]) -> Callable[..., Model]:
    """`make("m", alice)` uploads a tiny GGUF as alice and creates the model; other fields go into the spec."""

    def make(name: str, user: User, *, content: bytes | None = None, **fields: Any) -> Model:
        if "from_" not in fields:
            fields["files"] = {"tiny.gguf": upload(content or tiny(), user)}
        spec = CreateSpec(target=name, **fields)
        target = resolve.target(name, user)
        return drafts.build(spec=spec, user=user, target=target, report=lambda status: None)

    return make
