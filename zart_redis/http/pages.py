"""The page and its files, which the wheel carries. No token is needed for them: they hold no data."""

from __future__ import annotations

import hashlib
import html
import mimetypes
from collections.abc import Sequence
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

ROOT = resources.files("zart_redis.http") / "static"
VIEWS = ("", "executions", "queues", "workers", "recurring", "limits", "login")
"""The first segments of the paths that the page shows views for."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}


def find(request: Request, base: str, segments: Sequence[str]) -> Response | None:
    """The page, or a file of it; None if the path is neither."""
    if request.method not in ("GET", "HEAD"):
        return None
    if segments[0] == "static":
        return _file(request, segments[1:])
    if segments[0] in VIEWS and len(segments) <= (2 if segments[0] == "executions" else 1):
        text = (ROOT / "index.html").read_text().replace("{base}", html.escape(base))
        return _response(request, text.encode(), "text/html")
    return None


def _file(request: Request, segments: Sequence[str]) -> Response | None:
    if not segments or any(segment in ("", ".", "..") or "/" in segment or "\\" in segment for segment in segments):
        return None
    file = ROOT.joinpath(*segments)
    try:
        content = file.read_bytes()
    except (OSError, ValueError):
        return None
    suffix = f".{segments[-1].rpartition('.')[2]}"
    kind = _TYPES.get(suffix) or mimetypes.guess_type(segments[-1])[0] or "application/octet-stream"
    return _response(request, content, kind)


def _response(request: Request, content: bytes, kind: str) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return Response(content, 200, headers, kind)
