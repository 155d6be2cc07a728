"""The page ``/docs``: Swagger UI on the OpenAPI document, from this machine alone.

Its files come from the package ``fastapi_offline``, of which nothing else is used. The page runs no script and asks
no address but the gateway's own, and says so to the browser.
"""

from __future__ import annotations

from importlib.resources import as_file, files

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lectern</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI writes styles into its elements, and its icons are data; predictions may be pictures."""

MEDIA = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


async def page(_request: Request) -> Response:
    """Return the page; what it names is relative, so that it may stand behind a proxy's prefix."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


async def start(_request: Request) -> Response:
    """Return the script that fills it."""
    return Response(START, media_type="text/javascript")


async def packaged(request: Request) -> Response:
    """Return a file of Swagger UI."""
    name = request.url.path.rpartition("/")[2]
    with as_file(files("fastapi_offline") / "static" / name) as path:
        return FileResponse(path, media_type=MEDIA[name])


routes = [
    Route("/docs", page, include_in_schema=False),
    Route("/docs/start.js", start, include_in_schema=False),
    *(Route(f"/docs/{name}", packaged, include_in_schema=False) for name in MEDIA),
]
