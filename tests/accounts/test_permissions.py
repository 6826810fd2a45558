import pytest
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apps.accounts.access import Access
from apps.accounts.models import User
from apps.accounts.permissions import CanInfer, CanManageModels, IsAdmin, SignedIn
from apps.errors import Problem


def ask(permission: type[SignedIn], access: Access | None) -> None:
    view = APIView()
    request = view.initialize_request(APIRequestFactory().get("/"))
    request.auth = access
    assert permission().has_permission(request, view)


@pytest.mark.parametrize("permission", [SignedIn, CanInfer, CanManageModels, IsAdmin])
def test_nobody_is_told_how_to_get_a_key(permission: type[SignedIn]) -> None:
    with pytest.raises(Problem, match="Bearer corral_") as caught:
        ask(permission, None)
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("permission", "scope"), [(CanInfer, "infer"), (CanManageModels, "models"), (IsAdmin, "admin")]
)
def test_a_missing_scope_is_named_and_a_present_one_is_enough(permission: type[SignedIn], scope: str) -> None:
    user = User(username="root", is_superuser=True)
    with pytest.raises(Problem, match=f"'{scope}'") as caught:
        ask(permission, Access(user, frozenset({"infer", "models", "admin"}) - {scope}, "key", 1))
    assert caught.value.status == 403
    ask(permission, Access(user, frozenset({scope}), "key", 1))


def test_who_is_no_admin_is_told_so() -> None:
    with pytest.raises(Problem, match="only an admin"):
        ask(IsAdmin, Access(User(username="alice"), frozenset({"infer", "models"}), "session"))
