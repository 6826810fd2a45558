"""Models as rows and callers over HTTP, in this process: everything but what a model says."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from apps.accounts.models import User
from apps.registry import manifest
from apps.registry.models import Blob, Layer, Manifest, Model
from tests import factories
from tests.server import Server

INFO = {
    "general.architecture": "qwen2",
    "qwen2.context_length": 32768,
    "qwen2.embedding_length": 896,
    "qwen2.block_count": 24,
    "qwen2.attention.head_count": 14,
    "qwen2.attention.head_count_kv": 2,
    "parameter_count": 630167424,
    "tensor_bytes": 485_000_000,
    "vocab_size": 151936,
}
CONFIG = {
    "model_format": "gguf",
    "model_family": "qwen2",
    "model_families": ["qwen2"],
    "model_type": "630.17M",
    "file_type": "Q4_K_M",
}

Caller = Callable[..., httpx.Client]
MakeModel = Callable[..., Model]


@pytest.fixture
def alice(db: None) -> User:
    return factories.user("alice")


@pytest.fixture
def charlie(db: None) -> User:
    return factories.user("charlie")


@pytest.fixture
def caller(db: None) -> Iterator[Caller]:
    """`caller(user, scopes=…)`: an HTTP client with a key of that user; `caller()`: one without a key."""
    clients: list[httpx.Client] = []

    def make(user: User | None = None, **kw: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {factories.api_key(user, **kw)}"} if user else {"X-Forwarded-For": "::9"}
        transport = httpx.WSGITransport(app=WSGIHandler(), raise_app_exceptions=False)
        clients.append(httpx.Client(transport=transport, base_url="http://localhost", headers=headers))
        return clients[-1]

    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)  # as Django's own test client does: they would end the transaction
    yield make
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    for client in clients:
        client.close()


@pytest.fixture
def make_model(db: None) -> MakeModel:
    """A model as rows: its weights are a blob without a file."""
    return _make_model


@pytest.fixture
def api(caller: Caller, alice: User, make_model: MakeModel) -> httpx.Client:
    """alice's client, beside her models: `plain`, `emb` and `think` as section 26 of the contract names them.

    `able` can do all that text may be asked for, `eyes` sees images.
    """
    make_model("plain", alice)
    make_model("emb", alice, capabilities=["embedding"])
    make_model("think", alice, capabilities=["completion", "thinking"])
    make_model("able", alice, capabilities=["completion", "tools", "insert", "thinking"])
    make_model("eyes", alice, capabilities=["completion", "vision"])
    return caller(alice)


def _make_model(
    name: str, owner: User | None, *, tag: str = "latest", capabilities: list[str] | None = None, **texts: Any
) -> Model:
    weights = _blob(b"GGUF " + name.encode())
    config = _blob(b"config " + name.encode())
    document = manifest.Document(
        manifest.Layer(manifest.CONFIG, config.digest, config.size),
        (manifest.Layer(manifest.WEIGHTS, weights.digest, weights.size),),
    )
    body = document.dump()
    row = Manifest.objects.create(
        digest=hashlib.sha256(body).hexdigest(), body=body, size=document.size, config_blob=config, config=CONFIG,
        texts=texts, info=INFO, capabilities=capabilities or ["completion"],
    )  # fmt: skip
    Layer.objects.create(manifest=row, position=0, media_type=manifest.WEIGHTS, blob=weights)
    namespace = owner.username if owner else "library"
    return Model.objects.create(
        namespace=namespace, name=name, tag=tag, manifest=row, owner_user=owner, published=owner is None
    )


def _blob(content: bytes) -> Blob:
    return Blob.objects.create(digest=f"sha256:{hashlib.sha256(content).hexdigest()}", size=len(content))


MODEL = "qwen2.5-coder:0.5b"


@pytest.fixture(scope="session")
def live(server: Server) -> Iterator[httpx.Client]:
    """The admin's client to a whole running server that holds MODEL."""
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=120) as client:
        yield client
