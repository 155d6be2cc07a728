"""Whether the code of a generative model is scored for disentanglement: the option, and what it needs. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from models.contract.errors import ValidationFailed

FACTORS = "factors"
"""What the facts of a dataset are called that says what is behind its images."""

Disentanglement = Annotated[
    bool | None,
    Field(description="Whether scores of disentanglement are computed at the end; when null, where there are factors."),
]


def is_scored(wanted: bool | None, meta: Mapping[str, object]) -> bool:  # noqa: FBT001 - an option as it is given
    """Return whether scores are computed of a code learnt from a dataset with these facts."""
    return FACTORS in meta and wanted is not False


def check_scored(wanted: bool | None, meta: Mapping[str, object]) -> None:  # noqa: FBT001 - as above
    """Return if the wish can be fulfilled.

    Raises:
        ValidationFailed: scores are wanted and the dataset has no factors.
    """
    if wanted and FACTORS not in meta:
        detail = "needs a dataset of kind 'factors', which says what is behind each image; this one does not"
        raise ValidationFailed.at("/config/disentanglement", detail)
