"""API keys and the keys of Ollama clients, one's own; an admin sees and ends everybody's API keys."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import client_keys, keys, users
from apps.accounts.models import SCOPES, ApiKey, ClientKey, User
from apps.api.corral.views import View, read
from apps.errors import Problem


class KeyOut(serializers.ModelSerializer[ApiKey]):
    user = serializers.CharField(source="user.username")

    class Meta:
        model = ApiKey
        fields = (
            "id", "user", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at",
        )  # fmt: skip


class KeyIn(serializers.Serializer[ApiKey]):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(SCOPES), default=["infer", "models"], max_length=10)
    expires_at = serializers.DateTimeField(default=None, allow_null=True)


class ClientKeyOut(serializers.ModelSerializer[ClientKey]):
    class Meta:
        model = ClientKey
        fields = ("id", "name", "fingerprint", "created_at", "last_used_at")


class ClientKeyIn(serializers.Serializer[ClientKey]):
    public_key = serializers.CharField(max_length=client_keys.MAX_LINE)
    name = serializers.CharField(max_length=100, default="", allow_blank=True)


class Keys(View):
    def get(self, request: Request) -> Response:
        """Mine; for an admin `?user=bob` are bob's."""
        owner = self.access.user
        if name := request.query_params.get("user"):
            owner = self._other(name)
        rows = ApiKey.objects.filter(user=owner).select_related("user").order_by("id")
        return Response({"keys": KeyOut(rows, many=True).data})

    def post(self, request: Request) -> Response:
        """The secret is in this reply and nowhere else."""
        key, secret = keys.issue_through(access=self.access, **read(KeyIn, request))
        return Response({**KeyOut(key).data, "secret": secret}, status=201)

    def _other(self, name: str) -> User:
        if not self.access.is_admin:
            raise Problem("forbidden", "only an admin may see the keys of others")
        return users.find(name)


class Key(View):
    def delete(self, request: Request, pk: int) -> Response:
        key = ApiKey.objects.select_related("user").visible_to(self.access.user, admin=self.access.is_admin).find(pk)
        keys.revoke_through(key, access=self.access)
        return Response(status=204)


class ClientKeys(View):
    def get(self, request: Request) -> Response:
        rows = ClientKey.objects.filter(user=self.access.user).order_by("id")
        return Response({"client_keys": ClientKeyOut(rows, many=True).data})

    def post(self, request: Request) -> Response:
        data = read(ClientKeyIn, request)
        key = client_keys.add_through(access=self.access, line=data["public_key"], name=data["name"])
        return Response(ClientKeyOut(key).data, status=201)


class ClientKeyView(View):
    def delete(self, request: Request, pk: int) -> Response:
        key = ClientKey.objects.filter(user=self.access.user, pk=pk).first()
        if key is None:
            raise Problem("not_found", "client key not found")
        client_keys.remove(key, actor=self.access.user)
        return Response(status=204)
