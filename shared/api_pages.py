"""GET /openapi.json and /docs: what the whole HTTP interface is, for programs and for people."""

from importlib.util import find_spec
from pathlib import Path

from flask import Response, send_from_directory

from shared.http import OPEN, Routes

DOCUMENT = "openapi.json"
"""Written by `./power openapi`: no service knows the others' operations, and readers want all of them on one page."""
_HERE = Path(__file__).parent
_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"  # Swagger UI styles its elements
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Spaceship Power Service: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/css/swagger-ui.css">
<script src="/docs/js/swagger-ui-bundle.js" defer></script>
<script src="/docs/start.js" defer></script>
</head>
<body>
<main id="api">
<noscript>This page needs JavaScript; <a href="/openapi.json">the document</a> does not.</noscript>
</main>
</body>
</html>
"""
_START = "SwaggerUIBundle({url: '/openapi.json', dom_id: '#api', deepLinking: true, persistAuthorization: false});\n"


def routes() -> Routes:
    """Build the routes, which ask nobody who they are: there is nothing of anybody's in them."""
    routes = Routes("api_pages", __name__, needs=OPEN)
    library = _library()

    @routes.get(f"/{DOCUMENT}")
    def document() -> Response:
        return send_from_directory(_HERE, DOCUMENT)

    @routes.get("/docs")
    def page() -> Response:
        return Response(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @routes.get("/docs/start.js")
    def start() -> Response:
        return Response(_START, mimetype="text/javascript")

    @routes.get("/docs/<any(css, js):kind>/<name>")
    def asset(kind: str, name: str) -> Response:
        return send_from_directory(library / kind, name, max_age=24 * 3600)

    return routes


def _library() -> Path:
    """Find the files of Swagger UI, as the package that brings them has them."""
    spec = find_spec("flask_openapi3_swagger")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("flask_openapi3_swagger")
    return Path(spec.submodule_search_locations[0]) / "templates" / "swagger"
