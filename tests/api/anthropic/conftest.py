"""The models and callers of this dialect's tests, and a runner that answers what the test wrote."""

import httpx
import pytest

from apps.accounts.models import User
from tests.api.ollama.conftest import Caller, MakeModel, alice, caller, charlie, make_model
from tests.api.openai.conftest import only_request, runner

__all__ = ["Caller", "MakeModel", "alice", "caller", "charlie", "make_model", "only_request", "runner"]


@pytest.fixture
def api(caller: Caller, alice: User, make_model: MakeModel) -> httpx.Client:  # noqa: F811
    """alice's client, beside models of hers that can do one thing each."""
    make_model("plain", alice)
    make_model("emb", alice, capabilities=["embedding"])
    make_model("think", alice, capabilities=["completion", "thinking"])
    make_model("able", alice, capabilities=["completion", "tools"])
    make_model("seer", alice, capabilities=["completion", "vision"])
    return caller(alice)
