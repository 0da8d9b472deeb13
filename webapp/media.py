"""Pictures, to the person who made them and to nobody else.

No picture has any other address. A stranger's id and an id that never was get the same 404. The
answer may be kept by the person's own browser (`private`) and by nothing in between.
"""

import re
import uuid

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from inference import generations
from licensing.errors import NotFound
from webapp import identity
from webapp.studio import Studio

KEPT_SECONDS = (
    3600  # a picture never changes, but whoever signs out should not leave a month of them
)
NAME_CHARACTERS_MAX = 48  # of the prompt, in a downloaded file's name


def routes(studio: Studio) -> APIRouter:
    """Return GET /media/{id} and its thumbnail; both authorise themselves."""
    router = APIRouter()

    @router.get("/media/{picture_id}")
    def original(request: Request, picture_id: str, *, download: bool = False) -> FileResponse:
        return _serve(studio, request, picture_id, is_thumbnail=False, download=download)

    @router.get("/media/{picture_id}/thumbnail")
    def thumbnail(request: Request, picture_id: str) -> FileResponse:
        return _serve(studio, request, picture_id, is_thumbnail=True, download=False)

    return router


def _serve(
    studio: Studio, request: Request, picture_id: str, *, is_thumbnail: bool, download: bool
) -> FileResponse:
    member = identity.require_member(studio, request)
    try:
        wanted = uuid.UUID(picture_id)
    except ValueError as error:
        raise NotFound("There is no such picture.") from error
    with studio.database.read() as session:
        picture = generations.access_picture(session, member, wanted)
        prompt = generations.access(session, member, picture.generation_id).asked.prompt
    key = picture.thumbnail_key if is_thumbnail else picture.key
    if key is None:
        raise NotFound("There is no such picture.")
    path = studio.storage.path(key)
    if not path.is_file():
        raise NotFound("The file of this picture is missing from the storage folder.")
    name = file_name(prompt, picture.seed, path.suffix)
    return FileResponse(
        path,
        media_type="image/webp" if path.suffix == ".webp" else "image/png",
        filename=name,
        content_disposition_type="attachment" if download else "inline",
        headers={"Cache-Control": f"private, max-age={KEPT_SECONDS}, immutable"},
    )


def file_name(prompt: str, seed: int, suffix: str) -> str:
    """Name a downloaded picture after its prompt: `a-red-apple-42.png`, safe on every system."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:NAME_CHARACTERS_MAX].strip("-")
    return f"{words or 'picture'}-{seed}{suffix}"
