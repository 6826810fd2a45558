"""LangChain's own standard tests of a chat model and of embeddings, for `langchain-ollama` against a running Corral.

The real model has half a billion parameters. What is marked as failing is what such a model does not do, never what
Corral does not.
"""

import gc
import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

from tests.clients.conftest import MODEL
from tests.server import Server

SMALL = "half a billion parameters: it "

UNRAISABLE = "pytest.PytestUnraisableExceptionWarning"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # LangChain never closes its clients
    pytest.mark.filterwarnings(f"ignore:Exception ignored in. <(socket|function _Selector):{UNRAISABLE}"),
]

for tests in (ChatModelIntegrationTests, EmbeddingsIntegrationTests):
    for standard in filter(inspect.iscoroutinefunction, vars(tests).values()):
        pytest.mark.asyncio(standard)  # overriding them is not allowed, marking them is


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """The sockets that LangChain leaves open go here, not in the middle of somebody else's test."""
    yield
    request.node.funcargs.clear()  # else the model of the last test lives until the very end
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def benchmark() -> None:
    pytest.skip("It replays recorded traffic, to measure LangChain.")


@pytest.fixture
def vcr() -> None:
    """Asked for beside `benchmark`, of a plugin that is switched off."""


@pytest.fixture(scope="module")
def access(house: Server) -> dict[str, Any]:
    return {
        "model": MODEL,
        "base_url": house.url,
        "client_kwargs": {"headers": {"Authorization": f"Bearer {house.key}"}, "timeout": 120},
    }


class TestChat(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _given(self, access: dict[str, Any]) -> None:
        self.access = access

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**self.access, "temperature": 0, "seed": 1, "repeat_penalty": 1.1, "num_predict": 256}

    @property
    def model_override_value(self) -> str:
        return f"library/{MODEL}"

    @property
    def has_tool_choice(self) -> bool:
        return False  # Ollama's API has no such field

    @property
    def supports_json_mode(self) -> bool:
        return True

    @pytest.mark.xfail(reason=SMALL + "explains how to call a function that takes nothing")
    def test_tool_calling_with_no_arguments(self, model: BaseChatModel) -> None:
        super().test_tool_calling_with_no_arguments(model)

    @pytest.mark.xfail(reason=SMALL + "calls the customer instead of the function")
    def test_unicode_tool_call_integration(self, model: BaseChatModel, **kw: Any) -> None:
        super().test_unicode_tool_call_integration(model, **kw)


class TestEmbeddings(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _given(self, access: dict[str, Any]) -> None:
        self.access = access

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OllamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return self.access
