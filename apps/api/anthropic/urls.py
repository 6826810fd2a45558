"""The routes of the Anthropic dialect, below /v1/. What is unknown below messages is answered in its envelope."""

from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from apps.api.anthropic import errors, views

urlpatterns = [
    path("messages", views.Messages.as_view()),
    path("messages/count_tokens", views.CountTokens.as_view()),
    re_path("^messages/", csrf_exempt(errors.unknown_url)),
]
