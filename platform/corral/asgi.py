"""What uvicorn serves: HTTP to Django, websockets to Channels."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "corral.settings")
http = get_asgi_application()  # sets Django up, so it comes before anything that imports a model

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from apps.api.live_body import LiveBody  # noqa: E402
from apps.api.websockets import Knock  # noqa: E402
from apps.streams.routing import websocket_urlpatterns  # noqa: E402
from apps.streams.threads import Threads  # noqa: E402
from corral import collector, urls  # noqa: E402, F401  the views: else the first request waits for them

application = LiveBody(
    ProtocolTypeRouter({"http": Threads(http), "websocket": Knock(URLRouter(websocket_urlpatterns))}),
    max_body=settings.MAX_BODY_BYTES,
)
collector.spare_what_is_loaded()
