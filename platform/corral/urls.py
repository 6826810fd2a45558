"""Every address of the house. No trailing slashes: a redirect would drop a POST's body."""

from django.contrib import admin
from django.urls import include, path

from corral import health

handler400 = "apps.api.problems.bad_request"
handler404 = "apps.api.problems.not_found"
handler500 = "apps.api.problems.server_error"

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", admin.site.urls),
    path("api/corral/", include("apps.api.corral.urls")),
    path("api/", include("apps.api.documentation.urls")),
    path("v1/", include("apps.api.anthropic.urls")),
    path("v1/", include("apps.api.openai.urls")),  # the last below v1/: it answers for what nobody knows
    path("", include("apps.api.ollama.urls")),
]
