"""The decompressed bytes of a file, in chunks; memory does not grow with the file.

Knows gzip and zstd and how they break off. Knows nothing of text, lines or records.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa

CHUNK_BYTES = 1 << 20
# A broken stream loses the chunk that was being decoded, so what is decoded comes in smaller ones.
_DECODED_CHUNK_BYTES = 1 << 16

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    # Frames to be skipped, which parallel compressors write first.
    *((bytes((kind,)) + b"\x2a\x4d\x18", "zstd") for kind in range(0x50, 0x60)),
)


class BrokenStream(Exception):
    """The bytes end or stop making sense before the end of the file; the arguments are finding and cure.

    Travels to whoever counts the records, which makes it a `DataError`. Users never see it.
    """

    def __init__(self, finding: str, cure: str) -> None:
        """Hold both, as the error of the user will say them."""
        super().__init__(finding, cure)
        self.finding = finding
        self.cure = cure


class HashedFile(io.RawIOBase):
    """A file that hashes what is read from it, in order."""

    def __init__(self, file: BinaryIO) -> None:
        """Read `file` from where it stands, which is its beginning."""
        self._file = file
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Tell that this is a stream to read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read and hash up to `size` bytes."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    def finish(self) -> str:
        """Read what is left and return the SHA-256 of the whole file."""
        while self.read(CHUNK_BYTES):
            pass
        return self._digest.hexdigest()


def hash_files(paths: Sequence[str]) -> str:
    """Return the SHA-256 of a file's bytes; of several files, that of their hex digests in order.

    Raises:
        OSError: a file cannot be read.
    """
    digests = []
    for path in paths:
        with open(path, "rb") as file:
            digests.append(HashedFile(file).finish())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def find_codec(head: bytes) -> str:
    """Return the compression that the first bytes of a file show."""
    return next((codec for magic, codec in _MAGIC if head.startswith(magic)), "none")


def read_chunks(file: BinaryIO | HashedFile, codec: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file.

    Raises:
        BrokenStream: the compressed stream is truncated or corrupt; what could be decoded was yielded before.
    """
    if codec == "none":
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
        return
    try:
        yield from _read_gzip(file) if codec == "gzip" else _read_zstd(file)
    except EOFError as error:
        raise BrokenStream(f"the {codec} stream is truncated", "fetch the file again, whole") from error
    except (OSError, zlib.error) as error:
        # pyarrow has no class of its own for a stream that ends early.
        kind = "truncated" if "Truncated" in str(error) else f"corrupt ({error})"
        raise BrokenStream(f"the {codec} stream is {kind}", "fetch the file again, whole") from error


def _read_gzip(file: BinaryIO | HashedFile) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        while chunk := stream.read1(_DECODED_CHUNK_BYTES):
            yield chunk


def _read_zstd(file: BinaryIO | HashedFile) -> Iterator[bytes]:
    with pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd") as stream:
        while chunk := stream.read(_DECODED_CHUNK_BYTES):
            yield chunk
