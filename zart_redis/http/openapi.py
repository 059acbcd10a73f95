"""The OpenAPI document, made from the table of routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from zart_redis.errors import InvalidInput, RedisUnavailable, RemoteError, ZartError
from zart_redis.http.problems import MEDIA_TYPE, TITLES, status_of
from zart_redis.http.routing import Route

_REF = "#/components/schemas/{name}"
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_ALWAYS = ("host_not_allowed", "cross_site", "request_timeout", "internal_error")
_WITH_TOKEN = ("unauthenticated", "forbidden")
_WITH_BODY = ("malformed_json", "payload_too_large", "unsupported_media_type")


def document(routes: Sequence[Route], base: str) -> dict[str, Any]:
    """The document for an application that is mounted under the prefix `base`."""
    types = [kind for route in routes for kind in (route.query, route.body, *route.replies.values()) if kind]
    schemas, components = msgspec.json.schema_components(types, schema_hook=_schema_of, ref_template=_REF)
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    components = {name: schema for name, schema in components.items() if not name.endswith("Query")}
    components["Problem"] = _PROBLEM
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "zart", "version": version("zart-redis")},
        "servers": [{"url": base or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schema_of(kind: type) -> dict[str, Any]:
    """The schemas of what msgspec has none for."""
    if kind is RemoteError:
        fields = ("type", "message", "traceback")
        properties = {name: {"type": "string"} for name in fields}
        return {"type": "object", "required": list(fields), "properties": properties}
    raise NotImplementedError(kind)


def _operation(route: Route, by_type: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.endpoint.__module__.rpartition('.')[2]}_{route.endpoint.__name__}",
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {
            **{str(status): _reply(route, by_type.get(id(kind))) for status, kind in route.replies.items()},
            **_problems(route),
        },
    }
    if route.scope is not None:
        operation["security"] = [{"token": [str(route.scope)]}]
    if route.body is not None:
        content = {"application/json": {"schema": by_type[id(route.body)]}}
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _reply(route: Route, schema: Any) -> dict[str, Any]:
    if schema is None:
        return {"description": "Done"}
    return {"description": "Done", "content": {route.media_type: {"schema": schema}}}


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in route.parameters:
        schema = {"type": "string", "minLength": 1, "maxLength": 512}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route) -> Iterable[dict[str, Any]]:
    _, components = msgspec.json.schema_components([route.query], ref_template=_REF)
    for name, schema in components[route.query.__name__].get("properties", {}).items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}


def _problems(route: Route) -> dict[str, Any]:
    codes: dict[int, set[str]] = {}
    own = [*_ALWAYS, *(_WITH_TOKEN if route.scope else ()), *(_WITH_BODY if route.body is not None else ())]
    for code in own:
        codes.setdefault(TITLES[code][0], set()).add(code)
    raised: list[type[ZartError]] = [InvalidInput, RedisUnavailable, *route.errors]
    for error in raised:
        codes.setdefault(status_of(error, writes=route.body is not None), set()).add(error.code)
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {
        str(status): {"description": ", ".join(sorted(found)), "content": content}
        for status, found in sorted(codes.items())
    }
