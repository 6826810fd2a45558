"""Who I am; and, for admins, everybody."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import names, users
from apps.accounts.models import Membership, User
from apps.accounts.permissions import IsAdmin
from apps.api.corral.views import View, read


class UserOut(serializers.ModelSerializer[User]):
    name = serializers.CharField(source="username")
    active = serializers.BooleanField(source="is_active")
    admin = serializers.BooleanField(source="is_superuser")

    class Meta:
        model = User
        fields = ("name", "email", "active", "admin", "date_joined", "last_login")


class UserIn(serializers.Serializer[User]):
    name = serializers.CharField(max_length=names.MAX_LENGTH)
    password = serializers.CharField(max_length=200, default=None, allow_null=True, trim_whitespace=False)
    email = serializers.EmailField(default="", allow_blank=True)
    admin = serializers.BooleanField(default=False)


class UserChange(serializers.Serializer[User]):
    active = serializers.BooleanField(required=False)
    admin = serializers.BooleanField(required=False)


class PasswordIn(serializers.Serializer[User]):
    password = serializers.CharField(max_length=200, default=None, allow_null=True, trim_whitespace=False)


class Me(View):
    def get(self, request: Request) -> Response:
        access = self.access
        rows = Membership.objects.filter(user=access.user).select_related("group").order_by("group__name")
        return Response(
            {
                "user": UserOut(access.user).data,
                "groups": [{"name": row.group.name, "role": row.role} for row in rows],
                "signed_in_by": access.how,
                "scopes": sorted(access.scopes),
            }
        )


class Users(View):
    permission_classes = [IsAdmin]

    def get(self, request: Request) -> Response:
        return Response({"users": UserOut(User.objects.order_by("id"), many=True).data})

    def post(self, request: Request) -> Response:
        """The password is in the reply when it was generated here."""
        data = read(UserIn, request)
        user, password = users.create(
            username=data["name"], password=data["password"], email=data["email"], is_admin=data["admin"],
            actor=self.access.user,
        )  # fmt: skip
        shown = {} if data["password"] else {"password": password}
        return Response({**UserOut(user).data, **shown}, status=201)


class OneUser(View):
    permission_classes = [IsAdmin]

    def get(self, request: Request, name: str) -> Response:
        return Response(UserOut(users.find(name)).data)

    def patch(self, request: Request, name: str) -> Response:
        """`{"active": false}` disables, `{"admin": true}` makes an admin."""
        user = users.find(name)
        data = read(UserChange, request)
        users.change(user, is_active=data.get("active"), is_admin=data.get("admin"), actor=self.access.user)
        return Response(UserOut(user).data)


class Password(View):
    permission_classes = [IsAdmin]

    def post(self, request: Request, name: str) -> Response:
        given = read(PasswordIn, request)["password"]
        password = users.reset_password(users.find(name), password=given, actor=self.access.user)
        return Response({} if given else {"password": password})
