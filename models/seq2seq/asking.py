"""What requests for a searched text share: how wide the beam is, and how many of its hypotheses there can be."""

from __future__ import annotations

from models.contract.findings import FieldMisfit

DEFAULT_BEAM = 5


def beam_of(beam_size: int | None, *, stream: bool) -> int:
    """Return how wide the beam is; a stream is of greedy search unless a width is asked for."""
    return beam_size or (1 if stream else DEFAULT_BEAM)


def check_n_best(n_best: int, beam: int) -> None:
    """Return if the beam holds as many hypotheses as are asked for.

    Raises:
        FieldMisfit: it does not; names ``n_best``.
    """
    if n_best > beam:
        detail = f"is {n_best}, and beam_size {beam}: ask for at most as many as the beam is wide"
        raise FieldMisfit("n_best", detail)
