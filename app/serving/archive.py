"""A published version as a tar stream: the manifest, every exported file, the probe and the job's events and log."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from models.artifacts.store import ArtifactStore, ObjectMissing
from models.contract.manifest import HistoryFile, Manifest, PartFile


class Archive:
    """The files of one version; ``payload_bytes`` is known before the first byte is sent."""

    def __init__(self, store: ArtifactStore, manifest: Manifest) -> None:
        """Read what is small; the others are read while streaming.

        Raises:
            ObjectMissing: a file of the version is gone.
        """
        self._store = store
        self._whole = {
            "manifest.json": manifest.model_dump_json(indent=2).encode(),
            "probe.npz": store.get(manifest.probe.path),
        }
        history = {file.path.rsplit("/", 1)[-1]: file for file in manifest.history}
        self._files: dict[str, PartFile | HistoryFile] = {**history, **manifest.files()}
        for file in self._files.values():
            if not store.exists(file.path):
                raise ObjectMissing(file.path)
        self._seconds = int(manifest.created.timestamp())
        sizes = [len(data) for data in self._whole.values()] + [file.payload_bytes for file in self._files.values()]
        blocks = sum(tarfile.BLOCKSIZE + size + _padding(size) for size in sizes)
        self.payload_bytes = blocks + 2 * tarfile.BLOCKSIZE

    def stream(self) -> Iterator[bytes]:
        """Yield the tar file."""
        for name, data in self._whole.items():
            yield self._header(name, len(data))
            yield data
            yield bytes(_padding(len(data)))
        for name, file in self._files.items():
            yield self._header(name, file.payload_bytes)
            yield from self._store.stream(file.path)
            yield bytes(_padding(file.payload_bytes))
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _header(self, name: str, size: int) -> bytes:
        info = tarfile.TarInfo(name)
        info.size = size
        info.mtime = self._seconds
        # GNU: a file larger than 8 GiB still has a header of one block.
        return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
