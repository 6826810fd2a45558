"""Where images stand among a prompt's tokens."""

from apps.inference.prompt.building import Builder
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.types import Message
from tests.inference.prompt.test_building import BRIEF
from tests.inference.prompt.words import Letters


def tokens(said: tuple[Message, ...], *, add_bos: bool = False, num_ctx: int = 9000) -> Prompt:
    job = PromptJob(kind="chat", num_ctx=num_ctx, messages=said)
    return Builder(Letters(BRIEF, add_bos=add_bos)).build(job)


def read(prompt: Prompt) -> str:
    """Letters, and numbers where images stand."""
    return "".join(chr(token) if token >= 0 else str(token) for token in prompt.tokens)


def test_an_image_is_one_number_below_zero_in_the_place_of_its_mark() -> None:
    said = (Message("user", "see [img] and [img]", images=("x", "x")), Message("user", "so?", images=("x",)))
    assert read(tokens(said)) == "u:see -1 and -2;u:-3so?;a:"


def test_the_first_token_is_added_once_however_many_stretches_there_are() -> None:
    assert read(tokens((Message("user", "hi", images=("x",)),), add_bos=True)) == "^u:-1hi;a:"


def test_a_prompt_that_begins_with_an_image_begins_with_the_first_token_all_the_same() -> None:
    job = PromptJob(kind="generate", num_ctx=900, prompt="what?", images=("x",), raw=True)
    assert read(Builder(Letters(BRIEF, add_bos=True)).build(job)) == "^-1what?"


def test_a_raw_prompt_says_itself_where_its_images_stand() -> None:
    job = PromptJob(kind="generate", num_ctx=900, prompt="a [img-1] b [img-0]", images=("x", "x"), raw=True)
    prompt = Builder(Letters(BRIEF)).build(job)
    assert (read(prompt), prompt.text) == ("a -2 b -1", "a [img-1] b [img-0]")


def test_a_mark_without_an_image_is_text() -> None:
    assert read(tokens((Message("user", "write [img-0]"),))) == "u:write [img-0];a:"
    assert read(tokens((Message("user", "no [img-7] here", images=("x",)),))) == "u:-1no [img-7] here;a:"


def test_images_keep_their_numbers_when_messages_before_them_are_dropped() -> None:
    said = tuple(Message("user", str(number), images=("x",)) for number in range(3))
    assert read(tokens(said, num_ctx=2 * 768 + 100)) == "u:-21;u:-32;a:"


def test_a_mark_of_a_dropped_image_is_text_when_no_image_is_left() -> None:
    said = (Message("user", "x" * 40, images=("x",)), Message("user", "[img-0]?"))
    prompt = tokens(said, num_ctx=60)
    assert (read(prompt), prompt.images) == ("u:[img-0]?;a:", 0)


def test_what_users_share_ends_before_the_first_image() -> None:
    job = PromptJob(
        kind="chat", num_ctx=900, version_system="Be brief.", messages=(Message("user", "hi", images=("x",)),)
    )
    prompt = Builder(Letters(BRIEF)).build(job)
    assert prompt.public_tokens == len("s:Be brief.;u:")
