"""The record of a dataset: what was uploaded, how it was split, and the facts a model needs of it."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, JsonValue

from models.contract.config import Name, Options

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"


class DatasetRecord(Options):
    """A dataset as ``GET /v1/datasets/{name}`` shows it.

    ``meta`` are the facts that families and codecs use (classes, height, value range …);
    ``digest`` names the content: equal content, equal digest.
    """

    name: Name
    kind: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    digest: str = Field(pattern=DIGEST_PATTERN)
    payload_bytes: int = Field(ge=0)
    counts: dict[str, int] = Field(description="Examples per split.")
    split_rule: str = Field(description="How the splits came about, in a sentence.")
    meta: dict[str, JsonValue] = Field(default_factory=dict)
    built_in: bool = False
    created: datetime
