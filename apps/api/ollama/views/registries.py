"""pull and push: names are checked; the transfers come with a later release."""

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts.permissions import CanManageModels
from apps.api.ollama import lookup
from apps.api.ollama.bodies import PullRequest, PushRequest
from apps.api.ollama.views.door import Door, read
from apps.errors import Problem
from apps.registry.names import ModelName


class Transfer(Door):
    permission_classes = (CanManageModels,)
    http_method_names = ["post"]


class Pull(Transfer):
    def post(self, request: Request) -> HttpResponse:
        body = read(PullRequest, request)
        ModelName.parse((body.model or body.name).strip())
        raise Problem("unsupported", "this server does not pull models yet; make one with /api/create")


class Push(Transfer):
    def post(self, request: Request) -> HttpResponse:
        body = read(PushRequest, request)
        if not (body.model or body.name):
            raise lookup.required()
        ModelName.parse(body.model or body.name)
        raise Problem("unsupported", "this server does not push models yet")
