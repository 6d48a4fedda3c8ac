"""Uploads a file with tuspy: python upload.py URL FILE CHUNK_BYTES."""

import sys

from tusclient.client import TusClient

url, file, chunk_bytes = sys.argv[1:]
uploader = TusClient(url).uploader(
    file, chunk_size=int(chunk_bytes), metadata={"filename": "DOE_JANE_1971.svs"}
)
uploader.upload()
print(uploader.url)
