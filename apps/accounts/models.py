"""Who is here: people, groups, and the keys they come with."""

from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from apps.accounts import names
from apps.errors import Problem

SCOPES = ("infer", "models", "admin")


def validate_name(name: str) -> None:
    """The grammar, for Django's forms."""
    try:
        names.check(name)
    except Problem as problem:
        raise ValidationError(problem.message) from problem


class Handle(models.Model):
    """One row for every name that a user or a group bears, in lower case: their one uniqueness.

    Written by triggers on both tables (migration 0002) and by nothing else, so no path around a form can break it.
    """

    name = models.CharField(primary_key=True, max_length=names.MAX_LENGTH)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(name__in=sorted(names.RESERVED)), name="handle_is_not_reserved"),
        ]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def create_user(self, username: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(username=names.check(username), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(username, password, is_superuser=True, **fields)

    def named(self, name: str) -> "User":
        """The user of this name, in whatever case it is typed. Raises User.DoesNotExist."""
        if not names.fits(name):
            raise self.model.DoesNotExist
        return self.alias(lowered=Lower("username")).get(lowered=name.lower())

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.named(username or "")

    def admins(self) -> models.QuerySet["User"]:
        """Active admins, the oldest first."""
        return self.filter(is_superuser=True, is_active=True).order_by("id")


class User(AbstractBaseUser):
    """A person. `username` is the name, and the name is the namespace of what the person makes.

    Django's permission tables are not used: an admin may do everything, anyone else nothing in the admin site.
    """

    username = models.CharField(
        "name", max_length=names.MAX_LENGTH, unique=True, validators=[validate_name],
        error_messages={"unique": "This name is taken."},
    )  # fmt: skip
    email = models.EmailField(blank=True, default="")
    is_active = models.BooleanField("active", default=True)
    is_superuser = models.BooleanField("admin", default=False)
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("username"), name="user_name_without_case"),
            models.CheckConstraint(condition=Q(username__regex=names.GRAMMAR), name="user_name_grammar"),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(is_superuser=True, is_active=True), name="user_admins")]

    def __str__(self) -> str:
        return self.username

    def clean(self) -> None:
        super().clean()
        _refuse_taken(self, self.username)

    @property
    def is_admin(self) -> bool:
        return self.is_superuser and self.is_active

    @property
    def is_staff(self) -> bool:
        return self.is_admin

    def has_perm(self, perm: str, obj: object = None) -> bool:
        return self.is_admin

    def has_perms(self, perm_list: list[str], obj: object = None) -> bool:
        return self.is_admin

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_admin


class GroupQuerySet(models.QuerySet["Group"]):
    def visible_to(self, user: User, *, admin: bool) -> Self:
        return self if admin else self.filter(memberships__user=user)

    def named(self, name: str) -> "Group":
        """The group of this name, in whatever case it is typed. Raises Group.DoesNotExist."""
        if not names.fits(name):
            raise self.model.DoesNotExist
        return self.alias(lowered=Lower("name")).get(lowered=name.lower())


class Group(models.Model):
    """People who share a namespace. Its owners say who is in it."""

    name = models.CharField(max_length=names.MAX_LENGTH, unique=True, validators=[validate_name])
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    members = models.ManyToManyField(User, through="Membership", related_name="groups")

    objects = GroupQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("name"), name="group_name_without_case"),
            models.CheckConstraint(condition=Q(name__regex=names.GRAMMAR), name="group_name_grammar"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        _refuse_taken(self, self.name)


class Membership(models.Model):
    class Role(models.TextChoices):
        MEMBER = "member"
        OWNER = "owner"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role, default=Role.MEMBER)
    since = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "group"], name="one_membership_a_group"),
            models.CheckConstraint(condition=Q(role__in=["member", "owner"]), name="membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.group} ({self.role})"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def visible_to(self, user: User, *, admin: bool) -> Self:
        return self if admin else self.filter(user=user)

    def find(self, pk: int) -> "ApiKey":
        """Problem("not_found") where there is none, or none that may be seen."""
        key = self.filter(pk=pk).first()
        if key is None:
            raise Problem("not_found", "key not found")
        return key


class ApiKey(models.Model):
    """A bearer key. The secret is 256 random bits, so its plain SHA-256 is all that is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=16))
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=list(SCOPES)) & ~Q(scopes=[]), name="api_key_scopes"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (corral_{self.prefix}_…)"

    @property
    def is_usable(self) -> bool:
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.revoked_at is None and not expired and self.user.is_active


class ClientKey(models.Model):
    """The Ed25519 public key of an Ollama client (`~/.ollama/id_ed25519.pub`)."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="client_keys")
    name = models.CharField(max_length=100)
    public_key = models.CharField(max_length=100, unique=True, editable=False)
    fingerprint = models.CharField(max_length=60, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"


def _refuse_taken(bearer: User | Group, name: str | None) -> None:
    """A friendly form error before the database would refuse; the database still decides.

    The name is None when the form has refused it already.
    """
    if name and bearer.pk is None and Handle.objects.filter(name=name.lower()).exists():
        raise ValidationError(f"The name '{name}' is taken.")
