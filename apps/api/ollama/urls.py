"""The routes of the native API. Whoever roots them sets handler404 as here; nothing else of this list is missing."""

from django.urls import path

from apps.api.ollama.views import blobs, embeddings, inference, models, registries, root

handler404 = "apps.api.problems.not_found"

ROUTES = {
    "api/version": root.Version,
    "api/status": root.Status,
    "api/me": root.Me,
    "api/generate": inference.Generate,
    "api/chat": inference.Chat,
    "api/embed": embeddings.Embed,
    "api/embeddings": embeddings.Embeddings,
    "api/tags": models.Tags,
    "api/ps": models.Running,
    "api/show": models.Show,
    "api/create": models.Create,
    "api/copy": models.Copy,
    "api/delete": models.Delete,
    "api/blobs/<str:digest>": blobs.Blob,
    "api/pull": registries.Pull,
    "api/push": registries.Push,
}

urlpatterns = [
    path("", root.Root.as_view()),
    *(path(route, view.as_view()) for route, view in ROUTES.items()),
    *(path(f"{route}/", root.without_slash) for route in ROUTES),
]
