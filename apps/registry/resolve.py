"""From a typed name and a user to one model, or to the place where that user may write one.

`m` means mine, then the library's, then the default registry's; `alice/m` what is local, then the default registry's;
a name with a host means itself. What the user may not see is absent.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.db.models import QuerySet

from apps.accounts.models import Group, User
from apps.compiled import Compiled
from apps.errors import Problem
from apps.registry import manifest, names
from apps.registry.models import PARTS, Manifest, Model
from apps.registry.names import DEFAULT_REGISTRY, LIBRARY, LOCAL, ModelName


@dataclass(frozen=True)
class Version:
    """One immutable version of a model, as inference needs it: no rows, nothing to look up.

    `name` is short, with its tag, as this user sees it; `canonical` is for error texts. `digest` is the manifest's, 64
    hex digits; `weights` is a blob's ("sha256:…"), `weights_size` in bytes. `template` is a Modelfile's TEMPLATE or
    empty; `adapters` and `projectors` are blobs in the order of the manifest. `info` is the GGUF's metadata without
    arrays and chat template, with tensor_bytes, vocab_size and parameter_count.
    """

    typed: str
    name: str
    canonical: str
    digest: str
    weights: str
    weights_size: int
    system: str
    messages: tuple[tuple[str, str], ...]
    params: dict[str, Any]
    template: str
    capabilities: tuple[str, ...]
    info: dict[str, Any]
    adapters: tuple[str, ...] = ()
    projectors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """Where a model will be written, and whose it will be: the library's when neither owner is set."""

    name: ModelName
    owner_user: User | None = None
    owner_group: Group | None = None


def find(text: str, user: User) -> Model:
    """Raises Problem "invalid" for what is no name, "not_found" for what this user cannot see."""
    candidates = _candidates(ModelName.parse(text), user)
    found = Model.objects.visible_to(user).named(*candidates).select_related("manifest")
    by_key = {model.full_name.key: model for model in found}
    for name in candidates:
        if name.key in by_key:
            return by_key[name.key]
    raise not_found(text)


def version(text: str, user: User) -> Version:
    """As `find`, for inference: the endings `:local` and `:cloud` mean what Ollama's mean. One short query."""
    name = ModelName.parse(names.without_source(text))
    rows = _ALIKE[user.is_admin](**({} if user.is_admin else {"user": user.pk}), **_key_of(name))
    manifests = {ModelName(*parts): manifest_id for *parts, manifest_id in rows}
    found = _first(_candidates(name, user), manifests)
    if found is None:
        raise not_found(names.without_source(text))
    shown = names.shorten(manifests, user.username)[found]
    facts = _facts(manifests[found])
    if facts is None:
        raise Problem("invalid", f"{shown} has no weights that this server can run")
    return replace(facts, typed=text, name=shown, canonical=found.canonical())


def _key_of(name: ModelName) -> dict[str, str]:
    return {"name": name.model.lower(), "tag": name.tag.lower()}


def _first(candidates: Iterable[ModelName], present: Iterable[ModelName]) -> ModelName | None:
    by_key = {name.key: name for name in present}
    return next((by_key[name.key] for name in candidates if name.key in by_key), None)


def _alike(*, admin: bool) -> Compiled:
    """The names and manifests of all models of one name and tag that a user sees."""

    def build(name: str, tag: str, user: int = 0) -> QuerySet[Model, Any]:
        seen = Model.objects.visible_to(User(pk=user, is_superuser=admin))
        return seen.alike(ModelName(LOCAL, LIBRARY, name, tag)).values_list(*PARTS, "manifest_id")

    return Compiled(build, name=str, tag=str, **({} if admin else {"user": int}))


_ALIKE = {admin: _alike(admin=admin) for admin in (False, True)}


@lru_cache(maxsize=512)
def _facts(manifest_id: int) -> Version | None:
    """What is the same for everybody, without names: a manifest's row never changes. None without weights."""
    row = Manifest.objects.get(pk=manifest_id)
    weights = row.document.of_type(manifest.WEIGHTS)
    if not weights:
        return None
    return Version(
        typed="",
        name="",
        canonical="",
        digest=row.digest,
        weights=weights[0].digest,
        weights_size=weights[0].size,
        system=row.texts.get("system", ""),
        messages=tuple((str(line.get("role", "")), str(line.get("content", ""))) for line in _messages(row)),
        params=row.texts.get("params", {}),
        template=row.texts.get("template", ""),
        capabilities=tuple(row.capabilities),
        info={key: value for key, value in row.info.items() if key != "tokenizer.chat_template"},
        adapters=tuple(layer.digest for layer in row.document.of_type(manifest.ADAPTER)),
        projectors=tuple(layer.digest for layer in row.document.of_type(manifest.PROJECTOR)),
    )


def short(model: Model, user: User) -> str:
    """The shortest name that means this model, and no other that the user sees."""
    alike = {other.full_name for other in Model.objects.visible_to(user).alike(model.full_name)}
    return names.shorten(alike | {model.full_name}, user.username)[model.full_name]


def target(text: str, user: User) -> Target:
    """Where `text` lets this user write. An unqualified name is mine; an admin's is the library's.

    Raises Problem "forbidden" for a namespace or model that is another's and in sight, "not_found" when it is not in
    sight. An existing name keeps its spelling and its owner.
    """
    name = ModelName.parse(text)
    if "namespace" not in name.given and not user.is_admin:
        name = replace(name, namespace=user.username)
    present = Model.objects.named(name).select_related("owner_user", "owner_group").first()
    if present is not None:
        if not Model.objects.writable_by(user).filter(pk=present.pk).exists():
            raise _refusal(text, name, user)
        return Target(present.full_name, present.owner_user, present.owner_group)
    return _new_target(text, name, user)


def writable(text: str, user: User) -> Model:
    """As `find`, for one who means to change it. Raises Problem "forbidden" when it can be seen but is another's."""
    model = find(text, user)
    if not Model.objects.writable_by(user).filter(pk=model.pk).exists():
        raise Problem("forbidden", f"model '{text}' belongs to somebody else")
    return model


def not_found(text: str) -> Problem:
    return Problem("not_found", f"model '{text}' not found")


def _messages(row: Manifest) -> list[dict[str, Any]]:
    return [line for line in row.texts.get("messages", []) if isinstance(line, dict)]


def _candidates(name: ModelName, user: User) -> list[ModelName]:
    if "host" in name.given:
        return [name]
    registry = replace(name, host=DEFAULT_REGISTRY)
    if "namespace" in name.given:
        return [name, registry]
    return [replace(name, namespace=user.username), name, registry]


def _new_target(text: str, name: ModelName, user: User) -> Target:
    if name.host != LOCAL:
        if user.is_admin:
            return Target(name)
        raise Problem("forbidden", f"'{text}' names another registry: only an admin may write there")
    namespace = name.namespace.lower()
    if namespace == user.username.lower() and not (user.is_admin and "namespace" not in name.given):
        return Target(replace(name, namespace=user.username), owner_user=user)
    group = Group.objects.filter(name__iexact=name.namespace).first()
    if group is not None and (user.is_admin or group.memberships.filter(user=user).exists()):
        return Target(replace(name, namespace=group.name), owner_group=group)
    if not user.is_admin:
        raise _refusal(text, name, user)
    owner = None if namespace == LIBRARY else User.objects.filter(username__iexact=name.namespace).first()
    return Target(replace(name, namespace=owner.username if owner else name.namespace), owner_user=owner)


def _refusal(text: str, name: ModelName, user: User) -> Problem:
    """403 where the namespace is known to the user by a model, else 404: nobody learns names by trying them."""
    if Model.objects.visible_to(user).in_namespace(name.host, name.namespace).exists():
        return Problem("forbidden", f"'{name.namespace}' belongs to somebody else: you may not write '{text}'")
    return not_found(text)
