"""`GET /health/`: whether the engine does its work, for load balancers and dead-man's switches."""

from django.db import Error
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.models.clock import database_now
from billing.operating.health import check


class HealthView(APIView):
    """200 when all is well, 503 with the problems in sentences otherwise."""

    def get(self, request: Request) -> Response:  # noqa: ARG002
        try:
            health = check(database_now())
        except Error as error:
            return Response({"ok": False, "problems": [f"PostgreSQL: {type(error).__name__}"]}, status=503)
        body = {
            "ok": health.ok,
            "problems": health.problems,
            "silent_queues": health.silent_queues,
            "due_but_unopened": health.due_but_unopened,
            "due_but_unclaimed": health.due_but_unclaimed,
            "stopped": health.stopped,
            "with_a_person": health.with_a_person,
            "found_payments": health.found_payments,
        }
        return Response(body, status=200 if health.ok else 503)
