"""Routes to which slides are uploaded: resumable by tus 1.0, or with one PUT."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from app.api import tus
from app.api.request_context import request_context
from app.api.slide_access import slide_problems, slide_router, store_problems
from app.api.slide_bodies import SlideBodies
from app.api.slide_schemas import UploadAnswer
from app.api.tile_upload import json_response
from app.core.slide_store_errors import InvalidUploadError, UploadNotFoundError
from app.jobs.slide_service import SlideService
from app.settings import Settings
from app.slides.storage.upload_writer import Upload

_HOUR_S: Final = 3600.0
_OF_LENGTH: Final = ("slide-too-large", "slides-full", "disk-full", "too-many-uploads")
_OF_DATA: Final = (
    *("upload-timeout", "upload-too-long", "upload-checksum", "disk-full", "too-many-uploads"),
    *("upload-offset", "upload-busy", "unsupported-media-type", "unsupported-encoding"),
)
_OF_HEADERS: Final = ("invalid-upload", "tus-version")
UploadId = Annotated[str, Path(max_length=64, description="Identifies the upload.")]
Name = Annotated[
    str,
    Path(
        alias="upload_id",
        max_length=1024,
        description="Id of an upload to write to; any other name begins a new upload and is "
        "not stored.",
    ),
]


def build_router(slides: SlideService, settings: Settings) -> APIRouter:
    """The routes, bound to the store of a service."""
    router = slide_router(slides)
    uploads = SlideUploads(slides, settings)
    creation = store_problems(*_OF_HEADERS, *_OF_LENGTH, *_OF_DATA)

    @router.post(
        "/uploads",
        status_code=201,
        response_model=UploadAnswer,
        responses=creation,
    )
    async def create_upload(request: Request) -> Response:
        """Begin an upload of `Upload-Length` bytes (tus 1.0; its first data may come along).

        The answer's `Location` takes the data with PATCH or PUT. `Upload-Metadata` is not kept:
        names of files are often names of patients.
        """
        return await uploads.create(request)

    @router.get(
        "/uploads/{upload_id}",
        response_model=UploadAnswer,
        responses=slide_problems("upload-not-found", "tus-version"),
    )
    async def get_upload(request: Request, upload_id: UploadId) -> Response:
        """How far an upload is; HEAD answers the same in headers (tus 1.0)."""
        tus.require_version(request.headers)
        return uploads.answer(uploads.store.get(upload_id))

    @router.patch(
        "/uploads/{upload_id}",
        status_code=204,
        responses=slide_problems("upload-not-found", *_OF_HEADERS, *_OF_DATA),
    )
    async def append_to_upload(request: Request, upload_id: UploadId) -> Response:
        """Append data at `Upload-Offset` (tus 1.0)."""
        return await uploads.append(request, upload_id)

    @router.delete(
        "/uploads/{upload_id}",
        status_code=204,
        responses=slide_problems("upload-not-found", "upload-busy", "tus-version"),
    )
    async def delete_upload(request: Request, upload_id: UploadId) -> Response:
        """Delete an upload (tus 1.0)."""
        return await uploads.delete(request, upload_id)

    @router.put(
        "/uploads/{upload_id}",
        status_code=201,
        response_model=UploadAnswer,
        responses=slide_problems("upload-not-found", *_OF_HEADERS, *_OF_LENGTH, *_OF_DATA),
    )
    async def put_upload(request: Request, name: Name) -> Response:
        """Send a whole file in one request: `curl -T biopsy.svs http://HOST:PORT/v1/uploads/`.

        To an upload that `POST /v1/uploads` began, the rest can be sent after a cut:
        `curl -C OFFSET -T biopsy.svs http://HOST:PORT/v1/uploads/ID`.
        """
        return await uploads.put(request, name)

    @router.options("/uploads", include_in_schema=False)
    @router.options("/uploads/{upload_id}", include_in_schema=False)
    async def tus_options() -> Response:
        return Response(status_code=204, headers=tus.options_headers(settings.max_slide_bytes))

    @router.post("/uploads/{upload_id}", include_in_schema=False)
    async def override_method(request: Request, upload_id: UploadId) -> Response:
        """For clients behind proxies that let only GET and POST pass (tus 1.0)."""
        method = request.headers.get("x-http-method-override", "").strip().upper()
        if method == "PATCH":
            return await uploads.append(request, upload_id)
        if method == "DELETE":
            return await uploads.delete(request, upload_id)
        raise InvalidUploadError("Send PATCH, or X-HTTP-Method-Override: PATCH or DELETE.")

    return router


class SlideUploads:
    """What the routes do; knows the headers of tus and of PUT."""

    def __init__(self, slides: SlideService, settings: Settings) -> None:
        """Use the store of a service."""
        self.store = slides.store.uploads
        self._bodies = SlideBodies(settings)
        self._expiry_s = settings.upload_expiry_h * _HOUR_S

    async def create(self, request: Request) -> Response:
        """Begin an upload, and append the data that comes along."""
        headers = request.headers
        tus.require_version(headers)
        length = tus.upload_length(headers)
        brings_data = headers.get("content-type", "").strip().lower() == tus.CHUNK_TYPE
        if brings_data:
            tus.require_chunk(headers)
        upload = await asyncio.to_thread(self.store.create, length)
        if brings_data:
            await self._write(request, upload.id, 0)
        return self.answer(self.store.get(upload.id), 201, self._location(request, upload.id))

    async def append(self, request: Request, upload_id: str) -> Response:
        """Append the body at the offset that the headers state."""
        tus.require_version(request.headers)
        tus.require_chunk(request.headers)
        upload = await self._write(request, upload_id, tus.upload_offset(request.headers))
        return Response(status_code=204, headers=tus.upload_headers(upload, self._expires(upload)))

    async def put(self, request: Request, name: str) -> Response:
        """Write the body to an upload, or begin one of the body's length."""
        headers = request.headers
        tus.require_plain(headers)
        place = tus.content_range(headers)
        n_bytes = tus.content_length(headers)
        try:
            upload_id = self.store.get(name).id
        except UploadNotFoundError:
            if place is not None:
                raise
            return await self._put_new(request, n_bytes)
        upload = await self._write(request, upload_id, place[0] if place else 0)
        return self.answer(upload, 201, self._location(request, upload_id))

    async def delete(self, request: Request, upload_id: str) -> Response:
        """Delete an upload."""
        tus.require_version(request.headers)
        await asyncio.to_thread(self.store.delete, upload_id)
        return Response(status_code=204, headers={"Tus-Resumable": tus.VERSION})

    def answer(self, upload: Upload, status: int = 200, location: str | None = None) -> Response:
        """The answer about an upload."""
        expires = self._expires(upload)
        response = json_response(UploadAnswer.of(upload, expires).model_dump_json())
        response.status_code = status
        response.headers.update(tus.upload_headers(upload, expires))
        if location is not None:
            response.headers["Location"] = location
        return response

    async def _put_new(self, request: Request, n_bytes: int | None) -> Response:
        if not n_bytes:
            raise InvalidUploadError(
                "Send the size of the file as Content-Length, at least 1: the quota is asked "
                "before data is accepted."
            )
        upload = await asyncio.to_thread(self.store.create, n_bytes)
        try:
            upload = await self._write(request, upload.id, 0)
        finally:
            # Nobody knows the id of an upload whose PUT was cut, so nobody could go on with it.
            if not upload.is_complete:
                await asyncio.shield(asyncio.to_thread(self._discard, upload.id))
        return self.answer(upload, 201, self._location(request, upload.id))

    def _discard(self, upload_id: str) -> None:
        try:
            self.store.delete(upload_id)
        except UploadNotFoundError:
            return  # the disk was full, so it is gone already

    async def _write(self, request: Request, upload_id: str, offset: int) -> Upload:
        checksum = tus.upload_checksum(request.headers)
        with self.store.writing(upload_id, offset) as writer:
            writer.require_room(tus.content_length(request.headers) or 0)
            n_bytes = await self._bodies.receive(request, writer, checksum)
        request_context(request.scope).log_fields["n_bytes"] = n_bytes
        return self.store.get(upload_id)

    def _expires(self, upload: Upload) -> datetime:
        return upload.expires(self._expiry_s)

    def _location(self, request: Request, upload_id: str) -> str:
        return f"{request.scope.get('root_path', '')}/v1/uploads/{upload_id}"
