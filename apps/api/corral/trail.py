"""The audit trail, newest first, for admins."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.permissions import IsAdmin
from apps.api.corral.views import View
from apps.audit.models import Entry


class EntryOut(serializers.ModelSerializer[Entry]):
    class Meta:
        model = Entry
        fields = ("id", "at", "actor_id", "actor_name", "action", "target", "detail")


class Page(serializers.Serializer[Entry]):
    before = serializers.IntegerField(min_value=1, max_value=2**63 - 1, required=False)
    limit = serializers.IntegerField(min_value=1, max_value=500, default=50)
    actor = serializers.CharField(max_length=80, required=False)
    action = serializers.CharField(max_length=64, required=False)


class Audit(View):
    permission_classes = [IsAdmin]

    def get(self, request: Request) -> Response:
        """`next` goes into `?before=` for the following page; null on the last."""
        page = Page(data=request.query_params)
        page.is_valid(raise_exception=True)
        asked = page.validated_data
        names = {"before": "id__lt", "actor": "actor_name__iexact", "action": "action"}
        wanted = {lookup: asked[name] for name, lookup in names.items() if name in asked}
        rows = list(Entry.objects.filter(**wanted).order_by("-id")[: asked["limit"] + 1])
        shown = rows[: asked["limit"]]
        following = shown[-1].pk if len(rows) > len(shown) else None
        return Response({"entries": EntryOut(shown, many=True).data, "next": following})
