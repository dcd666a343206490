"""The API page: the OpenAPI document in words, without any other site's scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from sampan_hub.service.pages.access import PageRoute, Who
from sampan_hub.service.pages.site import pages_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter of a request, or one field of a shape."""

    name: str
    type: str
    is_required: bool
    text: str
    place: str = ""
    """Where a parameter stands: path, query, header."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    text: str
    parameters: list[Field]
    body: str | None
    """The shape of what is sent."""
    answer: str | None
    """The shape of what comes back when all is well; refusals are alike everywhere."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One object that goes over HTTP."""

    name: str
    text: str
    fields: list[Field]


@router.get("/api")
async def show(request: Request, who: Who) -> Response:
    """The API, for whoever writes a program against it."""
    document = request.app.openapi()
    return await pages_of(request).page(
        "api.html",
        who.name,
        is_admin=who.caller.admin,
        sampan_here="api",
        groups=read_operations(document, pages_of(request).base),
        shapes=read_shapes(document),
        version=document["info"]["version"],
        address=str(request.base_url).rstrip("/") + pages_of(request).base,
        document=request.app.openapi_url,
    )


def read_operations(document: Mapping[str, Any], base: str) -> dict[str, list[Operation]]:
    """Tag -> its operations, in the document's order; paths are below `base`."""
    groups: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                tag = next(iter(item[method].get("tags", ())), "others")
                groups.setdefault(tag, []).append(_operation(path.removeprefix(base), method, item[method]))
    return groups


def read_shapes(document: Mapping[str, Any]) -> list[Shape]:
    """Every named object of the document but FastAPI's own errors: ours are all `Problem`."""
    schemas = document.get("components", {}).get("schemas", {})
    named = ((name, schema) for name, schema in sorted(schemas.items()) if "ValidationError" not in name)
    return [Shape(name, schema.get("description", ""), list(_fields(schema))) for name, schema in named]


def describe_type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words: `text`, `list of JobView`, `number or nothing`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(describe_type(option) for option in options))
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    match schema.get("type"):
        case "array":
            return f"list of {describe_type(schema.get('items', {}))}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {describe_type(schema['additionalProperties'])}"
        case "string":
            return {"date-time": "time"}.get(schema.get("format", ""), "text")
        case "integer":
            return "whole number"
        case "null":
            return "nothing"
        case "boolean":
            return "true or false"
        case other:
            return str(other or "anything")


def _operation(path: str, method: str, item: Mapping[str, Any]) -> Operation:
    return Operation(
        method=method.upper(),
        path=path,
        text=item.get("description") or item.get("summary", ""),
        parameters=[
            Field(
                one["name"],
                describe_type(one["schema"]),
                one.get("required", False),
                one.get("description", ""),
                one["in"],
            )
            for one in item.get("parameters", ())
        ],
        body=_shape_of(item.get("requestBody", {})),
        answer=next((_shape_of(said) for code, said in item["responses"].items() if code.startswith("2")), None),
    )


def _shape_of(message: Mapping[str, Any]) -> str | None:
    for content in message.get("content", {}).values():
        schema = content.get("schema")
        if schema:
            return describe_type(schema)
    return None


def _fields(schema: Mapping[str, Any]) -> Iterator[Field]:
    required = set(schema.get("required", ()))
    for name, one in schema.get("properties", {}).items():
        yield Field(name, describe_type(one), name in required, one.get("description", ""))
