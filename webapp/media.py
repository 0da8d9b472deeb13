"""Pictures, to the person who made them and to nobody else.

No picture has any other address. A stranger's id and an id that never was get the same 404. The
A browser may keep the answer for that person (`private`) and asks each time if it may show it:
a picture that a reviewer withholds, or that was deleted, is gone at the next look.
"""

import re
import uuid

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.responses import Response

from inference import generations
from licensing.errors import NotFound
from webapp import identity
from webapp.studio import Studio

NAME_CHARACTERS_MAX = 48  # of the prompt, in a downloaded file's name


def routes(studio: Studio) -> APIRouter:
    """Return GET /media/{id} and its thumbnail; both authorise themselves."""
    router = APIRouter()

    @router.get("/media/{picture_id}")
    def original(request: Request, picture_id: str, *, download: bool = False) -> Response:
        return _serve(studio, request, picture_id, is_thumbnail=False, download=download)

    @router.get("/media/{picture_id}/thumbnail")
    def thumbnail(request: Request, picture_id: str) -> Response:
        return _serve(studio, request, picture_id, is_thumbnail=True, download=False)

    return router


def _serve(
    studio: Studio, request: Request, picture_id: str, *, is_thumbnail: bool, download: bool
) -> Response:
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
    stat = path.stat()
    kept = {
        "Cache-Control": "private, no-cache",
        "ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
    }
    if kept["ETag"] in _known(request):
        return Response(status_code=304, headers=kept)
    name = file_name(prompt, picture.seed, path.suffix)
    return FileResponse(
        path,
        media_type="image/webp" if path.suffix == ".webp" else "image/png",
        filename=name,
        content_disposition_type="attachment" if download else "inline",
        headers=kept,
        stat_result=stat,
    )


def _known(request: Request) -> set[str]:
    """The versions that the browser says it has; a proxy may have called one weak."""
    tags = request.headers.get("if-none-match", "").split(",")
    return {tag.strip().removeprefix("W/") for tag in tags}


def file_name(prompt: str, seed: int, suffix: str) -> str:
    """Name a downloaded picture after its prompt: `a-red-apple-42.png`, safe on every system."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:NAME_CHARACTERS_MAX].strip("-")
    return f"{words or 'picture'}-{seed}{suffix}"
