"""The admin pages' style sheets and scripts, served by WhiteNoise.

Its own middleware is synchronous: around it Django would hold a thread for every request that waits for a model.
"""

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    async_capable = True
    sync_capable = False

    def __init__(self, get_response: object) -> None:
        super().__init__(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        file = self.files.get(request.path_info)
        answer: HttpResponseBase = self.serve(file, request) if file else await self.get_response(request)
        return answer
