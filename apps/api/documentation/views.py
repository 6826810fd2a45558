"""/api/schema, the OpenAPI document, and /api/docs, a page over it. Both are open: they tell what any reader of the
source knows, and nothing of this server's models or people.
"""

from typing import Any, Final

from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

# The page's own scripts and styles, and requests to this server alone. Swagger UI writes style attributes.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class Document(SpectacularJSONAPIView):
    authentication_classes = ()
    permission_classes = ()


class Page(SpectacularSwaggerSplitView):
    authentication_classes = ()
    permission_classes = ()
    url_name = "openapi"
    title = "Corral: the APIs"

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        reply = super().finalize_response(request, response, *args, **kwargs)
        reply["Content-Security-Policy"] = POLICY
        reply["Cache-Control"] = "no-cache"
        return reply
