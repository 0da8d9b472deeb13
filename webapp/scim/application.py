"""Build the SCIM application: its routes, its discovery, its errors."""

from fastapi import FastAPI

from webapp.scim import groups, people, service
from webapp.studio import Studio


def build_scim(studio: Studio) -> FastAPI:
    """Return the application that `webapp.app` mounts at `service.PATH`."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    service.add_discovery(app, studio)
    people.add_routes(app, studio)
    groups.add_routes(app, studio)
    service.install_errors(app)
    return app
