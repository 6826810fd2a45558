"""Which messages stand before the model."""

from apps.inference.prompt import conversation
from apps.inference.prompt.job import PromptJob
from apps.inference.types import Message

STORED = (Message("user", "1+1?"), Message("assistant", "2"))
ASK = Message("user", "2+2?")


def said(**job: object) -> list[tuple[str, str]]:
    found = conversation.of(PromptJob(num_ctx=64, **job))  # type: ignore[arg-type]
    return [(message.role, message.content) for message in found.messages]


def test_a_chat_begins_with_the_model_s_own_system_and_messages() -> None:
    assert said(kind="chat", version_system="Be brief.", stored=STORED, messages=(ASK,)) == [
        ("system", "Be brief."),
        ("user", "1+1?"),
        ("assistant", "2"),
        ("user", "2+2?"),
    ]


def test_a_first_system_message_replaces_the_model_s_and_stands_behind_its_messages() -> None:
    own = Message("system", "Rhyme.")
    assert said(kind="chat", version_system="Be brief.", stored=STORED, messages=(own, ASK)) == [
        ("user", "1+1?"),
        ("assistant", "2"),
        ("system", "Rhyme."),
        ("user", "2+2?"),
    ]


def test_a_later_system_message_replaces_nothing() -> None:
    later = Message("system", "Rhyme.")
    assert said(kind="chat", version_system="Be brief.", messages=(ASK, later))[0] == ("system", "Be brief.")


def test_a_trailing_assistant_message_is_the_beginning_of_the_reply() -> None:
    job = PromptJob(kind="chat", num_ctx=64, messages=(ASK, Message("assistant", "It is")))
    assert conversation.of(job) == conversation.Conversation((ASK,), Message("assistant", "It is"))


def test_an_assistant_message_alone_is_a_message_like_others() -> None:
    job = PromptJob(kind="chat", num_ctx=64, messages=(Message("assistant", "It is"),))
    assert conversation.of(job) == conversation.Conversation((Message("assistant", "It is"),))


def test_a_stored_assistant_message_ends_a_load_but_continues_no_reply_of_a_user() -> None:
    assert said(kind="chat", stored=STORED, messages=(ASK,))[-1] == ("user", "2+2?")


def test_generate_puts_the_request_s_system_before_the_model_s() -> None:
    job = {"kind": "generate", "version_system": "Be brief.", "prompt": "hi"}
    assert said(**job) == [("system", "Be brief."), ("user", "hi")]
    assert said(**job, system="Rhyme.") == [("system", "Rhyme."), ("user", "hi")]


def test_generate_adds_the_stored_messages_unless_a_context_is_given() -> None:
    assert len(said(kind="generate", stored=STORED, prompt="hi")) == 3
    assert said(kind="generate", stored=STORED, prompt="hi", context=(1, 2)) == [("user", "hi")]


def test_the_system_messages_of_what_is_dropped_move_to_the_front() -> None:
    messages = tuple(Message(role, role) for role in ("user", "system", "assistant", "user"))
    kept = conversation.Conversation(messages).since(3)
    assert [message.role for message in kept.messages] == ["system", "user"]
