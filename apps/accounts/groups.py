"""Groups: admins make and delete them, owners say who is in them."""

from django.db import transaction
from django.db.models import ProtectedError, RestrictedError

from apps import audit
from apps.accounts import names, users
from apps.accounts.access import Access
from apps.accounts.models import Group, Membership, User
from apps.errors import Problem


def create(*, name: str, owner: User | None = None, actor: User | None = None) -> Group:
    names.check(name)
    with users.name_taken(name), transaction.atomic():
        group = Group.objects.create(name=name)
        audit.record(actor=actor, action="group.create", target=f"group:{name}")
        if owner:
            add(group, owner, role=Membership.Role.OWNER, actor=actor)
    return group


def find(name: str, *, access: Access) -> Group:
    """The group, for an admin or one who is in it; for everybody else it does not exist."""
    try:
        return Group.objects.visible_to(access.user, admin=access.is_admin).named(name)
    except Group.DoesNotExist:
        raise Problem("not_found", f"group '{name}' not found") from None


def add(group: Group, user: User, *, role: str = Membership.Role.MEMBER, actor: User | None = None) -> Membership:
    """Puts `user` into the group, or changes the role of one who is there."""
    if role not in Membership.Role.values:
        raise Problem("invalid", f"role must be one of {', '.join(Membership.Role.values)}")
    with transaction.atomic():
        membership, _ = Membership.objects.update_or_create(group=group, user=user, defaults={"role": role})
        detail = {"user": user.username, "role": str(role)}
        audit.record(actor=actor, action="group.add", target=f"group:{group}", detail=detail)
    return membership


def remove(group: Group, user: User, *, actor: User | None = None) -> None:
    with transaction.atomic():
        removed, _ = Membership.objects.filter(group=group, user=user).delete()
        if not removed:
            raise Problem("not_found", f"user '{user}' is not in the group '{group}'")
        audit.record(actor=actor, action="group.remove", target=f"group:{group}", detail={"user": user.username})


def delete(group: Group, *, actor: User | None = None) -> None:
    """Deletes an empty-handed group; one that still owns something is a conflict."""
    try:
        with transaction.atomic():
            audit.record(actor=actor, action="group.delete", target=f"group:{group}")
            group.delete()
    except (ProtectedError, RestrictedError) as error:
        raise Problem("conflict", f"the group '{group}' still owns models; delete or move them first") from error


def require_manager(group: Group, *, access: Access) -> None:
    """Admins and the group's owners manage its members, with a credential that may change things."""
    if access.is_admin:
        return
    if not group.memberships.filter(user=access.user, role=Membership.Role.OWNER).exists():
        raise Problem("forbidden", f"only an owner of '{group}' or an admin may do this")
    if "models" not in access.scopes:
        raise Problem("forbidden", "this needs the scope 'models', which your key does not have")
