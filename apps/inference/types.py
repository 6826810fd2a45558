"""Requests and frames: the one vocabulary between the dialects, the placement and the engine. Pure.

Only these frozen dataclasses (as JSON) cross a process. Durations are integers in nanoseconds, sizes in bytes,
lengths in tokens.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

RunKind = Literal["generate", "chat", "embed"]
EndReason = Literal["stop", "length", "cancelled", "error"]

# Frame kinds in a run's event log. "end" and "error" are terminal.
TEXT = "text"  # {"t": str, "lp": [Logprob as data, …] only where asked for}; "t" may be empty where "lp" is not
THINKING = "thinking"  # as TEXT: what the model thinks before it answers
TOOL_CALLS = "tool_calls"  # {"calls": [{"id": str, "name": str, "arguments": {…}}, …]}: whole calls only
EMBEDDINGS = (
    "embeddings"  # {"vectors": [a vector as JSON text, …]}, normalised, in the inputs' order; may come in parts
)
RENDERED = "rendered"  # {"text": str, "images": int, "tokens": of the whole prompt}: where nothing else was asked for
PROGRESS = "progress"  # {"stage": "loading", "fraction": float}
END = "end"  # RunEnd as data
ERROR = "error"  # Problem.as_data()


@dataclass(frozen=True)
class Sampling:
    """One sequence's sampler chain (contract, section 5). A negative seed means a random one."""

    seed: int = -1
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@dataclass(frozen=True)
class Limits:
    """When a generation ends, and what happens when its context is full."""

    num_predict: int = -1
    num_keep: int = 4
    stop: tuple[str, ...] = ()
    truncate: bool = True
    shift: bool = True


@dataclass(frozen=True)
class LoadOptions:
    """What makes one loaded instance differ from another. None leaves the choice to placement."""

    num_ctx: int | None = None
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int = 0
    tensor_split: tuple[float, ...] = ()


@dataclass(frozen=True)
class ToolCall:
    """A call in a message that is replayed; `arguments` in the order given."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str = ""  # noqa: A003  (the wire's name)


@dataclass(frozen=True)
class Message:
    """`images` are base64 texts, checked before they come here."""

    role: str
    content: str = ""
    thinking: str = ""
    images: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Message":
        calls = tuple(ToolCall(**call) for call in data.get("tool_calls", ()))
        return cls(**{**data, "images": tuple(data.get("images", ())), "tool_calls": calls})


@dataclass(frozen=True)
class Format:
    """What the reply must be: any JSON object ("json") or an instance of `schema` ("schema")."""

    kind: Literal["json", "schema"]
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Request:
    """What a caller wants answered, free of any dialect.

    `keep_alive` is in seconds: None leaves the replica's, a negative number is forever.
    `context` holds the tokens of an earlier reply; `raw` sends the prompt to the model untouched. `tools` are
    definitions as on the wire ({"type": "function", "function": {…}}). `tool_choice` is "auto", "none", "required" or
    the name of the one tool to call; with the last two the call is constrained to its schema. With `strict_tools` and
    "auto" so are the calls of tools whose definition says `strict`, where the model writes calls as JSON.
    `think` None leaves the choice to the model. `logprobs` None asks for none, 0 for the chosen tokens' only, n for
    the n likeliest beside each. `template` overrides the version's. `inputs` are the texts of an "embed".
    `render_only` asks for the prompt instead of an answer.
    """

    kind: RunKind
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    system: str = ""
    raw: bool = False
    context: tuple[int, ...] = ()
    template: str = ""
    suffix: str = ""
    images: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"
    strict_tools: bool = False
    think: bool | str | None = None
    format: Format | None = None
    logprobs: int | None = None
    inputs: tuple[str, ...] = ()
    dimensions: int = 0
    render_only: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive: float | None = None

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Request":
        limits = {**data["limits"], "stop": tuple(data["limits"]["stop"])}
        load = {**data["load"], "tensor_split": tuple(data["load"]["tensor_split"])}
        return cls(
            **{
                **data,
                "messages": tuple(Message.from_data(message) for message in data["messages"]),
                **{name: tuple(data[name]) for name in ("context", "images", "tools", "inputs")},
                "format": Format(**data["format"]) if data["format"] else None,
                "sampling": Sampling(**data["sampling"]),
                "limits": Limits(**limits),
                "load": LoadOptions(**load),
            }
        )


@dataclass(frozen=True)
class RunEnd:
    """The data of an END frame. `prompt_tokens` counts the cached ones too; `context` only where it was asked for.
    `stop` is the stop string that ended the answer, if one did."""

    reason: EndReason
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    dropped_tokens: int = 0
    load_ns: int = 0
    prompt_ns: int = 0
    eval_ns: int = 0
    context: tuple[int, ...] = ()
    stop: str = ""

    def as_data(self) -> dict[str, Any]:
        return asdict(self)
