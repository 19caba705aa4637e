"""Serves the pages' files, and libraries from their packages: no data, so nobody is asked for a token."""

import gzip
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

from flask import Response, abort, request

from shared.http.app import OPEN, Routes

FILES = Path(__file__).parent / "files"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SWAGGER = "flask_openapi3_swagger/templates/swagger"
LIBRARIES = (
    ("{{plotly}}", "plotly", ("plotly/package_data/plotly.min.js",)),
    (
        "{{swagger}}",
        "flask-openapi3-swagger",
        (f"{_SWAGGER}/css/swagger-ui.css", f"{_SWAGGER}/js/swagger-ui-bundle.js"),
    ),
)
"""How the pages call the files that installed packages bring, those packages, and the files."""
DOCUMENT = Path(__file__).parents[1] / "openapi.json"
"""Written by `./power openapi`: no service knows what the others do, and readers want all of it in one place."""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Plotly brings style elements and attributes of its own, hence their exception; the page itself has none."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    content_type: str
    caching: str = FOR_EVER

    @cached_property
    def packed(self) -> bytes:
        """The body, packed once, when it is first asked for."""
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def digest(self) -> str:
        """What changes with the content."""
        return sha256(self.body).hexdigest()[:16]

    def response(self) -> Response:
        """Answer the present request with it, packed where the client takes that, or with 304."""
        packed = bool(request.accept_encodings["gzip"])
        response = Response(self.packed if packed else self.body, content_type=self.content_type, headers=HEADERS)
        response.headers["Cache-Control"] = self.caching
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        response.set_etag(f"{self.digest}-gzip" if packed else self.digest)
        response.make_conditional(request)
        return response


def routes() -> Routes:
    """Build the routes: the pages, the document of the interface, and what they load, below versions of content."""
    routes = Routes("page", __name__, needs=OPEN)
    pages, assets = _files()
    pages["/openapi.json"] = Asset(DOCUMENT.read_bytes(), "application/json", ASK_AGAIN)

    @routes.get("/")
    @routes.get("/docs")
    @routes.get("/openapi.json")
    def page() -> Response:
        return pages[request.path].response()

    @routes.get("/page/<version>/<name>")
    def file(version: str, name: str) -> Response:
        asset = assets.get(f"{version}/{name}")
        return asset.response() if asset else abort(404)

    return routes


def _files() -> tuple[dict[str, Asset], dict[str, Asset]]:
    """Give the pages by path, and what they load by version and name."""
    files = {path.name: _asset(path) for path in sorted(FILES.iterdir()) if path.suffix in TYPES}
    pages = {path: files.pop(name).body.decode() for path, name in (("/", "index.html"), ("/docs", "docs.html"))}
    edition = sha256("".join(each.digest for each in files.values()).encode()).hexdigest()[:16]
    places = {"{{files}}": f"/page/{edition}"}
    assets = {f"{edition}/{name}": asset for name, asset in files.items()}
    for place, package, paths in LIBRARIES:
        found = distribution(package)
        places[place] = f"/page/{package}-{found.version}"
        for path in map(Path, (str(found.locate_file(each)) for each in paths)):
            assets[f"{package}-{found.version}/{path.name}"] = _asset(path)
    for place, meant in places.items():
        pages = {path: text.replace(place, meant) for path, text in pages.items()}
    return {path: Asset(text.encode(), TYPES[".html"], ASK_AGAIN) for path, text in pages.items()}, assets


def _asset(path: Path) -> Asset:
    return Asset(path.read_bytes(), TYPES[path.suffix])
