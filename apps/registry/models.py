"""Which models exist, who may use them, and which bytes they are made of.

Digests are spelled `sha256:<hex>` on blobs and as bare hex on manifests, each as the wire shows it. Reference counts
are never stored: a blob is in use while a layer or a config names it, a manifest while a model does.
"""

import json
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone

from apps.accounts.models import Group, User
from apps.registry import manifest
from apps.registry.names import LIBRARY, LOCAL, ModelName

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

PARTS = ("host", "namespace", "name", "tag")


class JsonText(models.TextField[Any, Any]):
    """JSON in a text column. Texts of users may hold NUL characters, which `jsonb` refuses and an escape survives."""

    _pyi_private_set_type: Any  # what django-stubs asks of a field whose attribute is no str
    _pyi_private_get_type: Any

    def from_db_value(self, value: str, expression: object, connection: "BaseDatabaseWrapper") -> Any:
        return json.loads(value)

    def get_prep_value(self, value: Any) -> str:
        return json.dumps(value)

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> str:
        return json.dumps(self.value_from_object(obj))


def _groups_of(user: User) -> models.QuerySet[Group]:
    return Group.objects.filter(memberships__user=user)


class BlobQuerySet(models.QuerySet["Blob"]):
    def unused(self) -> Self:
        layers = Layer.objects.filter(blob=OuterRef("pk"))
        configs = Manifest.objects.filter(config_blob=OuterRef("pk"))
        return self.filter(~Exists(layers), ~Exists(configs))

    def usable_by(self, user: User) -> Self:
        """What `user` uploaded whole, or sees a model with: knowing a digest opens nothing."""
        seen = Manifest.objects.filter(models__in=Model.objects.visible_to(user))
        return self.filter(
            Exists(Possession.objects.filter(blob=OuterRef("pk"), user=user))
            | Exists(Layer.objects.filter(blob=OuterRef("pk"), manifest__in=seen))
            | Exists(seen.filter(config_blob=OuterRef("pk")))
        )


class Blob(models.Model):
    """A file in the store that is whole. `touched_at` is when somebody last counted on it: garbage collection waits."""

    digest = models.CharField(max_length=71, primary_key=True)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    touched_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = BlobQuerySet.as_manager()

    def __str__(self) -> str:
        return self.digest


class Possession(models.Model):
    """This user has sent all the bytes of this blob."""

    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="possessions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["blob", "user"], name="one_possession_a_user")]

    def __str__(self) -> str:
        return f"{self.user_id} has {self.blob_id}"


class Manifest(models.Model):
    """What a model is made of. `body` is verbatim and `digest` its sha256; the rest is read from it once, for speed.

    `config` is the config layer; `texts` the small layers (system, template, params, messages, license); `info` the
    weights' metadata without arrays, with tensor_bytes, vocab_size and parameter_count.
    """

    digest = models.CharField(max_length=64, unique=True)
    body = models.BinaryField()
    size = models.BigIntegerField()
    config_blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    config = JsonText(default=dict)
    texts = JsonText(default=dict)
    info = JsonText(default=dict)
    capabilities = JsonText(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.digest

    @property
    def document(self) -> manifest.Document:
        return manifest.parse(bytes(self.body))

    @property
    def architecture(self) -> str:
        return str(self.info.get("general.architecture", ""))


class Layer(models.Model):
    manifest = models.ForeignKey(Manifest, on_delete=models.CASCADE, related_name="layers")
    position = models.PositiveIntegerField()
    media_type = models.CharField(max_length=255)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="layers")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["manifest", "position"], name="one_layer_a_position")]

    def __str__(self) -> str:
        return f"{self.position} {self.media_type}"


class ModelQuerySet(models.QuerySet["Model"]):
    def visible_to(self, user: User) -> Self:
        """What this user may know of: own, a group's, granted, published; an admin sees all."""
        if user.is_admin:
            return self
        groups = _groups_of(user)
        granted = Grant.objects.filter(Q(user=user) | Q(group__in=groups), model=OuterRef("pk"))
        return self.filter(Q(published=True) | Q(owner_user=user) | Q(owner_group__in=groups) | Exists(granted))

    def writable_by(self, user: User) -> Self:
        """What this user may replace, delete and share: being granted a model gives none of it."""
        if user.is_admin:
            return self
        return self.filter(Q(owner_user=user) | Q(owner_group__in=_groups_of(user)))

    def named(self, *names: ModelName) -> Self:
        """The models of these names, in whatever case they are typed."""
        keys = [Q(**{f"lower_{part}": value for part, value in zip(PARTS, name.key, strict=True)}) for name in names]
        return self.alias(**{f"lower_{part}": Lower(part) for part in PARTS}).filter(reduce(or_, keys))

    def alike(self, name: ModelName) -> Self:
        """The models of this name and tag in any namespace."""
        return self.alias(lower_name=Lower("name"), lower_tag=Lower("tag")).filter(
            lower_name=name.model.lower(), lower_tag=name.tag.lower()
        )

    def in_namespace(self, host: str, namespace: str) -> Self:
        return self.alias(lower_host=Lower("host"), lower_namespace=Lower("namespace")).filter(
            lower_host=host.lower(), lower_namespace=namespace.lower()
        )


class Model(models.Model):
    """A name and what it means now. Without an owner it is the library's, which the admins keep."""

    host = models.CharField(max_length=350, default=LOCAL)
    namespace = models.CharField(max_length=80, default=LIBRARY)
    name = models.CharField(max_length=80)
    tag = models.CharField(max_length=80, default="latest")
    manifest = models.ForeignKey(Manifest, on_delete=models.PROTECT, related_name="models")
    owner_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="models"
    )
    owner_group = models.ForeignKey(Group, on_delete=models.PROTECT, null=True, blank=True, related_name="models")
    published = models.BooleanField(default=False, help_text="Every user who is signed in may use it.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    modified_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ModelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(*(Lower(part) for part in PARTS), name="model_name_without_case"),
            models.CheckConstraint(condition=Q(owner_user=None) | Q(owner_group=None), name="model_has_one_owner"),
        ]
        indexes = [
            models.Index(F("modified_at").desc(), name="model_newest_first"),
            models.Index(Lower("name"), Lower("tag"), name="model_by_name"),
        ]

    def __str__(self) -> str:
        return self.full_name.full()

    @property
    def full_name(self) -> ModelName:
        return ModelName(self.host, self.namespace, self.name, self.tag)


class Grant(models.Model):
    """Leave to use a model of somebody else's, given to one user or to one group."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None, group__isnull=False) | Q(user__isnull=False, group=None), name="grant_to_one"
            ),
            models.UniqueConstraint(fields=["model", "user"], name="one_grant_a_user"),
            models.UniqueConstraint(fields=["model", "group"], name="one_grant_a_group"),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} to {self.user or self.group}"
