import pytest

from apps.accounts.models import User
from tests import factories


@pytest.fixture
def alice(db: None) -> User:
    return factories.user("alice")


@pytest.fixture
def bob(db: None) -> User:
    return factories.user("bob")


@pytest.fixture
def charlie(db: None) -> User:
    return factories.user("charlie")


@pytest.fixture
def root(db: None) -> User:
    return factories.admin()
