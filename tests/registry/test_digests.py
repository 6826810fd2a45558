import pytest

from apps.errors import Problem
from apps.registry import digests

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}", f"sha256:{HEX.upper()}"])
def test_each_spelling_means_the_same_digest(text: str) -> None:
    assert digests.parse(text) == f"sha256:{HEX}"


@pytest.mark.parametrize(
    "text", ["", "nonsense", HEX, f"sha256:{HEX}0", f"sha256:{HEX[1:]}", f"sha512:{HEX}", f"sha256:{HEX}\n"]
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="^invalid digest format$"):
        digests.parse(text)
