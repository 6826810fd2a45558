from collections.abc import Callable

import pytest

from apps import audit
from tests.api.corral.conftest import Caller, People

pytestmark = pytest.mark.urls("tests.api.small_urls")
As = Callable[..., Caller]


def test_the_trail_is_read_page_by_page_newest_first(people: People, as_: As) -> None:
    root = as_(people.root)
    for number in range(5):
        audit.record(actor=people.alice, action="thing.do", target=f"thing:{number}", detail={"n": number})
    seen: list[str] = []
    query, pages = "audit?action=thing.do&limit=2", 0
    while query:
        page = root("get", query).json()
        seen += [entry["target"] for entry in page["entries"]]
        query, pages = (f"audit?action=thing.do&limit=2&before={page['next']}" if page["next"] else ""), pages + 1
    assert seen == [f"thing:{number}" for number in (4, 3, 2, 1, 0)]
    assert pages == 3


def test_the_trail_is_searched_by_actor(people: People, as_: As) -> None:
    audit.record(actor=people.alice, action="a", target="x")
    audit.record(actor=people.bob, action="b", target="y")
    entries = as_(people.root)("get", "audit?actor=ALICE").json()["entries"]
    assert [(entry["actor_name"], entry["action"]) for entry in entries] == [("alice", "a")]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "before=-1", "before=" + "9" * 30, "actor=%00"])
def test_nonsense_in_the_query_is_a_400(people: People, as_: As, query: str) -> None:
    assert as_(people.root)("get", f"audit?{query}").status_code == 400
