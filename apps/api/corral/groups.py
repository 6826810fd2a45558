"""Groups: an admin makes them, their owners say who is in them, nobody else sees them."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import groups, names, users
from apps.accounts.models import Group, Membership
from apps.accounts.permissions import IsAdmin, SignedIn
from apps.api.corral.views import View, read


class MemberOut(serializers.ModelSerializer[Membership]):
    user = serializers.CharField(source="user.username")

    class Meta:
        model = Membership
        fields = ("user", "role", "since")


class GroupOut(serializers.ModelSerializer[Group]):
    members = MemberOut(source="memberships", many=True)

    class Meta:
        model = Group
        fields = ("name", "created_at", "members")


class GroupIn(serializers.Serializer[Group]):
    name = serializers.CharField(max_length=names.MAX_LENGTH)
    owner = serializers.CharField(max_length=names.MAX_LENGTH, default=None, allow_null=True)


class RoleIn(serializers.Serializer[Membership]):
    role = serializers.ChoiceField(Membership.Role.values, default=Membership.Role.MEMBER)


class Groups(View):
    def get_permissions(self) -> list[SignedIn]:
        return [IsAdmin() if self.request.method == "POST" else SignedIn()]

    def get(self, request: Request) -> Response:
        """Mine; an admin sees all."""
        rows = Group.objects.visible_to(self.access.user, admin=self.access.is_admin).order_by("name")
        return Response({"groups": GroupOut(rows.prefetch_related("memberships__user"), many=True).data})

    def post(self, request: Request) -> Response:
        """`owner` names who will manage it; without one it is the caller."""
        data = read(GroupIn, request)
        owner = users.find(data["owner"]) if data["owner"] else self.access.user
        group = groups.create(name=data["name"], owner=owner, actor=self.access.user)
        return Response(GroupOut(group).data, status=201)


class OneGroup(View):
    def get_permissions(self) -> list[SignedIn]:
        return [IsAdmin() if self.request.method == "DELETE" else SignedIn()]

    def get(self, request: Request, name: str) -> Response:
        return Response(GroupOut(groups.find(name, access=self.access)).data)

    def delete(self, request: Request, name: str) -> Response:
        groups.delete(groups.find(name, access=self.access), actor=self.access.user)
        return Response(status=204)


class Member(View):
    def put(self, request: Request, name: str, user: str) -> Response:
        """Adds, or changes the role of one who is there."""
        group = groups.find(name, access=self.access)
        groups.require_manager(group, access=self.access)
        role = read(RoleIn, request)["role"]
        membership = groups.add(group, users.find(user), role=role, actor=self.access.user)
        return Response(MemberOut(membership).data)

    def delete(self, request: Request, name: str, user: str) -> Response:
        """Managers take anyone out; anyone may leave."""
        group = groups.find(name, access=self.access)
        if user.lower() != self.access.user.username.lower():
            groups.require_manager(group, access=self.access)
        groups.remove(group, users.find(user), actor=self.access.user)
        return Response(status=204)
