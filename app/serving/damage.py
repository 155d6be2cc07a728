"""What has become of a version's files in the store. Model cards tell it; ``sessions`` checks the same on loading."""

from __future__ import annotations

import hashlib

from models.artifacts.store import ArtifactStore, ObjectMissing
from models.contract.manifest import Manifest


def damage(store: ArtifactStore, manifest: Manifest) -> str | None:
    """Return why the version could not be loaded from what is in the store now; None if every file is as published.

    Reads every part, some hundred megabytes a second.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    for name, file in {**manifest.parts, "probe": manifest.probe}.items():
        digest = hashlib.sha256()
        try:
            for piece in store.stream(file.path):
                digest.update(piece)
        except ObjectMissing:
            return f"{file.path} is missing from the artifact store"
        if digest.hexdigest() != file.sha256.removeprefix("sha256:"):
            kind = "part" if name in manifest.parts else "file"
            return f"the bytes of the {kind} '{name}' are not those that were published"
    return None
