"""Websocket addresses of this room."""

from django.urls import re_path

from apps.streams.consumers import StreamConsumer

websocket_urlpatterns = [re_path(r"^ws/streams/(?P<log_id>[A-Za-z0-9_-]{1,100})$", StreamConsumer.as_asgi())]
