"""What a create asks for: one frozen shape from both bodies and from a Modelfile (contract, sections 2 and 8). Pure.

Whatever this server does not serve yet is refused here, by name, before a job begins.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from apps.errors import Problem
from apps.registry import digests, modelfile, parameters
from apps.registry.names import ModelName

QUANTIZATIONS = ("F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0")
_ACCEPTED = (*QUANTIZATIONS, "BF16", "Q4_K")
_TEXTS = ("model_family", "base_name", "quantization_level", "parameter_size")
_COUNTS = ("context_length", "embedding_length")
PICKLED = "PyTorch files cannot be read safely: send the model as safetensors"
NOTHING_TO_CREATE_FROM = "neither 'from' or 'files' was specified"


@dataclass(frozen=True)
class CreateSpec:
    """`target` and `from_` are names as typed; `files` maps a file name to its digest, None where none were given;
    `adapters` does so for one LoRA adapter.

    An empty text leaves what the base has. `template` is Go's: whoever takes it from a client has parsed it.
    `parameters` are not typed here: a wrong one shows at inference.
    """

    target: str
    from_: str = ""
    files: Mapping[str, str] | None = None
    adapters: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    system: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, Any], ...] = ()
    licenses: tuple[str, ...] = ()
    quantize: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "CreateSpec":
        return cls(**{**data, "messages": tuple(data["messages"]), "licenses": tuple(data["licenses"])})


def from_body(body: Mapping[str, Any]) -> CreateSpec:
    """From a decoded body of /api/create, whose keys are in lower case and whose fields have the contract's types.

    The old shape's `modelfile` counts where there is neither `from` nor `files`.

    The checks run in the contract's order: files, draft files, adapters, the target's name, then the rest.
    """
    files = _files(body.get("files"))
    _refuse_draft(body)
    adapters = {name: digests.parse(digest) for name, digest in (body.get("adapters") or {}).items()}
    target = body.get("model") or body.get("name") or ""
    ModelName.parse(target)
    quantize = body.get("quantize") or body.get("quantization") or ""
    if not body.get("from") and files is None and body.get("modelfile"):
        return checked(replace(from_modelfile(target, body["modelfile"]), quantize=quantize))
    if body.get("remote_host"):
        raise _not_yet("remote_host")
    return checked(
        CreateSpec(
            target=target,
            from_=body.get("from") or "",
            files=files,
            adapters=adapters,
            template=body.get("template") or "",
            system=body.get("system") or "",
            parameters=body.get("parameters") or {},
            messages=tuple(body.get("messages") or ()),
            licenses=_licenses(body.get("license")),
            quantize=quantize,
            renderer=body.get("renderer") or "",
            parser=body.get("parser") or "",
            requires=body.get("requires") or "",
            info=_info(body.get("info") or {}),
        )
    )


def from_modelfile(target: str, text: str) -> CreateSpec:
    """From a whole Modelfile. FROM is a model's name or `@sha256:…`, the digest of an uploaded file."""
    ModelName.parse(target)
    commands = modelfile.parse(text)
    last = {command.name: command.value for command in commands}
    if last.get("draft"):
        raise _not_yet("DRAFT")
    adapter = _uploaded(last["adapter"], "ADAPTER") if last.get("adapter") else ""
    sources = [command.value for command in commands if command.name == "from"]
    named = [(source, _uploaded(source, "FROM")) for source in sources]
    files = {f"{index}.gguf": digest for index, (_, digest) in enumerate(named) if digest}
    return checked(
        CreateSpec(
            target=target,
            from_=next((name for name, digest in reversed(named) if not digest), ""),
            files=files or None,
            adapters={"adapter.gguf": adapter} if adapter else {},
            template=last.get("template", ""),
            system=last.get("system", ""),
            parameters=parameters.typed((line.key, line.value) for line in commands if line.name == "parameter"),
            messages=tuple({"role": line.key, "content": line.value} for line in commands if line.name == "message"),
            licenses=tuple(line.value for line in commands if line.name == "license"),
            renderer=last.get("renderer", ""),
            parser=last.get("parser", ""),
            requires=last.get("requires", ""),
        )
    )


def checked(spec: CreateSpec) -> CreateSpec:
    """The checks that need the whole, in the contract's order."""
    if not spec.from_ and spec.files is None:
        raise Problem("invalid", NOTHING_TO_CREATE_FROM)
    if spec.from_:
        ModelName.parse(spec.from_)
    if not spec.from_ and not spec.files:
        raise Problem("invalid", "unknown type")
    if spec.files and not _is_readable(spec.files):
        raise Problem("invalid", PICKLED)
    if len(spec.adapters) > 1 and not any(name.lower().endswith(".safetensors") for name in spec.adapters):
        raise Problem("invalid", "only one adapter is currently supported")
    if spec.quantize and spec.quantize.upper() not in _ACCEPTED:
        raise Problem("invalid", _bad_quantization(spec.quantize), status=500)
    return spec


def _is_readable(files: Mapping[str, str]) -> bool:
    """Whether these are not only PyTorch's files, which are programs."""
    names = [name.lower() for name in files]
    pickled = any(name.endswith((".bin", ".pth", ".pt")) for name in names)
    return not pickled or any(name.endswith((".safetensors", ".gguf")) for name in names)


def _bad_quantization(wanted: str) -> str:
    return f"unsupported quantization type {wanted.upper()} - supported types are {', '.join(QUANTIZATIONS)}"


def _refuse_draft(body: Mapping[str, Any]) -> None:
    if body.get("draft_quantize") and not body.get("draft_files"):
        raise Problem("invalid", "--draft-quantize requires a DRAFT model")
    if body.get("draft_files"):
        raise _not_yet("DRAFT")


def _not_yet(what: str) -> Problem:
    return Problem("invalid", f"this server does not serve {what} yet")


def _files(files: Mapping[str, str] | None) -> dict[str, str] | None:
    if files is None:
        return None
    for name in files:
        if not name or name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
            raise Problem("invalid", "file path must be relative")
    return {name: digests.parse(digest) for name, digest in files.items()}


def _uploaded(source: str, instruction: str) -> str:
    """The digest in `@sha256:…` or `sha256:…`; nothing when `source` of a FROM is a model's name."""
    if source.startswith("@") or digests.fits(source):
        return digests.parse(source.removeprefix("@"))
    if (
        instruction != "FROM"
        or source.startswith(("/", ".", "~"))
        or source.lower().endswith((".gguf", ".safetensors"))
    ):
        raise Problem(
            "invalid",
            f"{instruction} {source}: upload the file first (POST /api/blobs/sha256:…), then {instruction} its digest",
        )
    return ""


def _licenses(license_: Any) -> tuple[str, ...]:
    if isinstance(license_, str):
        return (license_,) if license_ else ()
    return tuple(str(text) for text in license_ or () if text)


def _info(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises the contract's texts for a field of a wrong type; unknown fields stay."""
    _check_info(info, _TEXTS, lambda value: isinstance(value, str), "a string")
    _check_info(info, _COUNTS, lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number")
    _check_info(info, _COUNTS, lambda value: value >= 0 and value == int(value), "a non-negative integer")
    words = info.get("capabilities", [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Problem("invalid", 'info field "capabilities" must be an array of strings')
    return dict(info)


def _check_info(info: Mapping[str, Any], fields: Iterable[str], fits: Callable[[Any], bool], what: str) -> None:
    for name in fields:
        if name in info and not fits(info[name]):
            raise Problem("invalid", f'info field "{name}" must be {what}')
