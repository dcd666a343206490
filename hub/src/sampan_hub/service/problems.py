"""Every refusal and error as RFC 9457 problem details: made here, answered here, never with a traceback."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from sampan_hub.backends.base import BackendError
from sampan_hub.jobs.drafts import StoreError
from sampan_hub.service.wire import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

TITLES: Mapping[int, str] = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Request too large",
    422: "Refused",
    429: "Over a limit",
    500: "Internal error",
    503: "Not available now",
}


class ApiProblem(Exception):
    """Raise to answer with this problem. `headers` go with it (Retry-After, WWW-Authenticate)."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = dict(headers or {})


def make_problem(status: int, code: str, detail: str, **extra: Any) -> Problem:
    """A problem whose type and title follow from its code and status."""
    return Problem(
        type=f"urn:sampan:problem:{code}",
        title=TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        **extra,
    )


def fail(status: int, code: str, detail: str, *, retry_after_s: int | None = None, **extra: Any) -> ApiProblem:
    """The exception to raise for `make_problem(...)`."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="sampan"'
    return ApiProblem(make_problem(status, code, detail, **extra), headers)


def not_found(what: str, name: str) -> ApiProblem:
    """The one answer for what does not exist and for what the caller may not know of."""
    return fail(404, "not-found", f"There is no {what} {name!r} that you may see.")


def bad_field(field: str, detail: str, allowed: Sequence[str] | None = None) -> ApiProblem:
    """A request whose `field` cannot be taken; the sentence names the allowed values too."""
    if allowed is not None:
        detail = f"{detail} Allowed: {', '.join(allowed) or 'nothing'}."
    return fail(400, "invalid", detail, field=field, allowed=None if allowed is None else list(allowed))


def answer_problem(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The HTTP answer for a problem."""
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        status_code=problem.status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def install_problem_handlers(app: FastAPI) -> None:
    """From here on whatever goes wrong in `app` is answered as problem details."""
    app.add_exception_handler(ApiProblem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(BackendError, _on_backend_error)
    app.add_exception_handler(StoreError, _on_store_error)
    app.add_exception_handler(OperationalError, _on_database_error)
    app.add_exception_handler(Exception, _on_exception)


def describe_validation_error(
    errors: Sequence[Mapping[str, Any]], body_model: type[BaseModel] | None
) -> tuple[str, str, list[str] | None]:
    """(field, sentence, allowed values) of the first error of a refused request."""
    first = errors[0]
    path = [str(part) for part in first["loc"]]
    field = ".".join(path[1:]) or path[0]
    match first["type"]:
        case "extra_forbidden":
            allowed = _fields_beside(body_model, path[1:])
            return field, f"{field!r} is not a field of this request.", allowed
        case "literal_error" | "enum":
            allowed = re.findall(r"'([^']*)'", str(first["ctx"]["expected"]))
            return field, f"{field!r} cannot be that.", allowed
        case "missing":
            return field, f"{field!r} is missing.", None
        case "json_invalid":
            return "body", "The body is not valid JSON.", None
        case _:
            return field, f"{field!r}: {first['msg']}.", None


def _fields_beside(model: type[BaseModel] | None, path: Sequence[str]) -> list[str] | None:
    """The fields the object holding `path`'s last part may have, as far as models are nested plainly."""
    for part in path[:-1]:
        if model is None or part.isdigit():
            continue
        field = model.model_fields.get(part)
        model = _model_in(field.annotation) if field else None
    return sorted(model.model_fields) if model else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in getattr(annotation, "__args__", ()) if (found := _model_in(arg))), None)


def _on_problem(_request: Request, error: Exception) -> Response:
    refused = cast(ApiProblem, error)
    return answer_problem(refused.problem, refused.headers)


def _on_validation_error(request: Request, error: Exception) -> Response:
    refused = cast(RequestValidationError, error)
    body_field = getattr(request.scope.get("route"), "body_field", None)
    body_model = _model_in(body_field.field_info.annotation) if body_field else None
    field, detail, allowed = describe_validation_error(refused.errors(), body_model)
    problem = bad_field(field, detail, allowed)
    return answer_problem(problem.problem)


def _on_http_exception(_request: Request, error: Exception) -> Response:
    refused = cast(HTTPException, error)
    codes = {404: "no-such-path", 405: "method-not-allowed", 400: "invalid"}
    code = codes.get(refused.status_code, "refused")
    return answer_problem(make_problem(refused.status_code, code, f"{refused.detail}."), refused.headers)


def _on_backend_error(request: Request, error: Exception) -> Response:
    log.warning("%s %s: %s", request.method, request.url.path, error)
    detail = f"The backend cannot answer now ({error}); nothing was changed. Try again in a moment."
    return answer_problem(make_problem(503, "backend-unreachable", detail), {"Retry-After": "2"})


def _on_store_error(_request: Request, error: Exception) -> Response:
    """What the store will not do is a conflict with the state of things; its sentence says which and what to do."""
    return answer_problem(make_problem(409, "conflict", str(error)))


def _on_database_error(request: Request, error: Exception) -> Response:
    """A full disk, a lock held too long, a server that went away: jobs and hosts ask again until it is over."""
    cause = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
    log.error("%s %s: the database failed: %s", request.method, request.url.path, cause)
    detail = f"The service's database cannot be used now ({cause}); nothing was changed. `sampan check` may say more."
    return answer_problem(make_problem(503, "database-unavailable", detail), {"Retry-After": "2"})


def _on_exception(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "The service failed on this request; its log says why. Nothing is lost: ask again."
    return answer_problem(make_problem(500, "internal", detail))
