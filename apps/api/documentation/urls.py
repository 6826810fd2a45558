"""Where the documentation is, below /api/."""

from django.urls import path

from apps.api.documentation import views

urlpatterns = [
    path("schema", views.Document.as_view(), name="openapi"),
    path("docs", views.Page.as_view(), name="docs"),
]
