"""Our own REST, below /api/corral/. No trailing slashes."""

from django.urls import path

from apps.api.corral import groups, jobs, keys, people, runs, sharing, trail, usage

urlpatterns = [
    path("me", people.Me.as_view()),
    path("keys", keys.Keys.as_view()),
    path("keys/<int:pk>", keys.Key.as_view()),
    path("client-keys", keys.ClientKeys.as_view()),
    path("client-keys/<int:pk>", keys.ClientKeyView.as_view()),
    path("users", people.Users.as_view()),
    path("users/<str:name>", people.OneUser.as_view()),
    path("users/<str:name>/password", people.Password.as_view()),
    path("groups", groups.Groups.as_view()),
    path("groups/<str:name>", groups.OneGroup.as_view()),
    path("groups/<str:name>/members/<str:user>", groups.Member.as_view()),
    path("runs", runs.Runs.as_view()),
    path("runs/<uuid:run_id>", runs.OneRun.as_view()),
    path("jobs", jobs.Jobs.as_view()),
    path("jobs/<uuid:job_id>", jobs.OneJob.as_view()),
    path("grants", sharing.Grants.as_view()),
    path("publish", sharing.Publish.as_view()),
    path("usage", usage.UsageTotals.as_view()),
    path("audit", trail.Audit.as_view()),
]
