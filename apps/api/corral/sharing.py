"""Who else may use a model of mine: grants to users and groups, and an admin's word that publishes it to everybody."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import groups, names, users
from apps.accounts.models import Group, User
from apps.accounts.permissions import CanManageModels, IsAdmin
from apps.api.corral.views import View, read
from apps.errors import Problem
from apps.registry import grants, resolve
from apps.registry.models import Grant, Model

LONGEST_MODEL_NAME = 600


class GrantIn(serializers.Serializer[Grant]):
    model = serializers.CharField(max_length=LONGEST_MODEL_NAME)
    user = serializers.CharField(max_length=names.MAX_LENGTH, default=None, allow_null=True)
    group = serializers.CharField(max_length=names.MAX_LENGTH, default=None, allow_null=True)


class PublishIn(serializers.Serializer[Model]):
    model = serializers.CharField(max_length=LONGEST_MODEL_NAME)
    published = serializers.BooleanField(default=True)


def shown(grant: Grant) -> dict[str, Any]:
    return {
        "user": grant.user.username if grant.user else None,
        "group": grant.group.name if grant.group else None,
        "created_at": grant.created_at,
    }


class Grants(View):
    """GET ?model=m; POST and DELETE {"model": "m", "user": "bob"} or {"model": "m", "group": "herd"}."""

    permission_classes = [CanManageModels]

    def get(self, request: Request) -> Response:
        model = resolve.writable(request.query_params.get("model", ""), self.access.user)
        rows = model.grants.select_related("user", "group").order_by("pk")
        return Response({"model": str(model), "published": model.published, "grants": [shown(row) for row in rows]})

    def post(self, request: Request) -> Response:
        model, holder = self._named(read(GrantIn, request))
        return Response(shown(grants.give(model=model, to=holder, by=self.access.user)), status=201)

    def delete(self, request: Request) -> Response:
        model, holder = self._named(read(GrantIn, request))
        grants.withdraw(model=model, to=holder, by=self.access.user)
        return Response(status=204)

    def _named(self, data: dict[str, Any]) -> tuple[Model, User | Group]:
        if bool(data["user"]) == bool(data["group"]):
            raise Problem("invalid", "name either a user or a group")
        model = resolve.writable(data["model"], self.access.user)
        if data["user"]:
            return model, users.find(data["user"])
        return model, groups.find(data["group"], access=self.access)


class Publish(View):
    """POST {"model": "m", "published": true}: every user may use it, or again only those it is granted to."""

    permission_classes = [IsAdmin]

    def post(self, request: Request) -> Response:
        data = read(PublishIn, request)
        model = resolve.find(data["model"], self.access.user)
        grants.publish(model=model, by=self.access.user, published=data["published"])
        return Response({"model": str(model), "published": model.published})
