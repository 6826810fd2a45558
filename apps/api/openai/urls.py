"""The routes of the OpenAI dialect, below /v1/. They come last there: what no dialect knows is answered here."""

from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from apps.api.openai import errors
from apps.api.openai.views import inference, models

urlpatterns = [
    path("chat/completions", inference.ChatCompletions.as_view()),
    path("completions", inference.Completions.as_view()),
    path("embeddings", inference.Embeddings.as_view()),
    path("responses", inference.Responses.as_view()),
    path("models", models.Models.as_view()),
    path("models/<path:name>", models.OneModel.as_view()),
    re_path("", csrf_exempt(errors.unknown_url)),
]
