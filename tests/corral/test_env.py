import pytest
from corral import env
from django.core.exceptions import ImproperlyConfigured


@pytest.fixture(autouse=True)
def forget_what_is_asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "KNOWN", {})


def test_a_number_that_is_none_is_refused_by_the_name_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_THINGS", "many")
    with pytest.raises(ImproperlyConfigured, match="OLLAMA_THINGS='many' is not a whole number"):
        env.number("CORRAL_THINGS", 1, alias="OLLAMA_THINGS")


@pytest.mark.parametrize(("value", "bounds"), [("0", "at least 1"), ("9", "at most 8")])
def test_a_number_out_of_bounds_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str, bounds: str) -> None:
    monkeypatch.setenv("CORRAL_THINGS", value)
    with pytest.raises(ImproperlyConfigured, match=f"CORRAL_THINGS={value} must be.*{bounds}"):
        env.number("CORRAL_THINGS", 1, minimum=1, maximum=8)


def test_a_flag_that_is_neither_yes_nor_no_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_SWITCH", "perhaps")
    with pytest.raises(ImproperlyConfigured, match="CORRAL_SWITCH='perhaps'"):
        env.flag("CORRAL_SWITCH", True)


def test_a_choice_that_is_none_is_refused_with_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_COLOUR", "red")
    with pytest.raises(ImproperlyConfigured, match="CORRAL_COLOUR='red' is not one of blue, green"):
        env.text("CORRAL_COLOUR", "blue", choices=("blue", "green"))


@pytest.mark.parametrize("value", ["5m", "1h30m", "300", "-1", "1.5h", "500ms"])
def test_a_duration_is_taken_as_ollamas_users_write_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CORRAL_AWAKE", value)
    assert env.text("CORRAL_AWAKE", shape=env.DURATION) == value


@pytest.mark.parametrize("value", ["never", "5 minutes", "m", "5d"])
def test_a_duration_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CORRAL_AWAKE", value)
    with pytest.raises(ImproperlyConfigured, match=f"CORRAL_AWAKE='{value}' is not a duration"):
        env.text("CORRAL_AWAKE", shape=env.DURATION)


def test_a_url_that_is_refused_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "http://:hidden@cache")
    with pytest.raises(ImproperlyConfigured, match="^REDIS_URL is not a URL that begins with"):
        env.text("REDIS_URL", shape=env.REDIS)


def test_our_own_name_wins_over_the_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_THINGS", "2")
    monkeypatch.setenv("OLLAMA_THINGS", "3")
    assert env.number("CORRAL_THINGS", 1, alias="OLLAMA_THINGS") == 2
    monkeypatch.delenv("CORRAL_THINGS")
    assert env.number("CORRAL_THINGS", 1, alias="OLLAMA_THINGS") == 3


@pytest.mark.parametrize("value", ["", "  ", '""'])
def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CORRAL_THINGS", value)
    assert env.number("CORRAL_THINGS", 1) == 1


def test_blanks_and_quotes_around_a_value_are_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_PLACE", ' "/srv/models" ')
    assert env.text("CORRAL_PLACE") == "/srv/models"


def test_what_is_asked_for_is_known() -> None:
    env.flag("CORRAL_SWITCH", True, alias="OLLAMA_SWITCH")
    assert env.KNOWN["CORRAL_SWITCH"] == env.Known("CORRAL_SWITCH", True, "OLLAMA_SWITCH")
