"""Beam search as one writes it in PyTorch: what serving is measured beside.

Every source keeps all of its hypotheses until the last source of the batch is done, and a step takes the best of beam ×
vocabulary. The memory is repeated once and not moved, as hypotheses of a source share it. No end is chosen: a target
is as long as its source, as translations nearly are, so that an untrained network has work as a trained one has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import PADDING
from models.nn.seq2seq.decoder import Memory
from models.nn.seq2seq.network import Seq2Seq
from models.nn.sequences import real_tokens


@torch.inference_mode()
def plain_beam(network: Seq2Seq, sources: Sequence[Tensor], beam: int) -> list[list[int]]:
    """Return the best target of each of ``sources`` (tokens,) int64, as long as it is."""
    count, lengths = len(sources), torch.tensor([len(source) for source in sources])
    tokens = pad_sequence(list(sources), batch_first=True, padding_value=PADDING)
    memory, state = network.encode(tokens, real_tokens(tokens, lengths))
    rows = torch.arange(count).repeat_interleave(beam)
    held = Memory(memory.cells[rows], None if memory.keys is None else memory.keys[rows], memory.mask[rows])
    packed = network.decoder.packed(state)[rows]
    last = torch.full((count * beam,), END_INDEX)
    totals = torch.full((count, beam), -torch.inf)
    totals[:, 0] = 0.0
    written = torch.zeros(count, beam, 0, dtype=torch.int64)
    found: list[list[int]] = [[] for _ in sources]
    for step in range(int(lengths.max()) + 1):
        output, _, state = network.decoder.step(network.vectors(last), network.decoder.unpacked(packed), held)
        scores = network.logits(output).log_softmax(dim=1).view(count, beam, -1)
        for number in cast("list[int]", (lengths == step).nonzero()[:, 0].tolist()):
            best = int((totals[number] + scores[number, :, END_INDEX]).argmax())
            found[number] = cast("list[int]", written[number, best].tolist())
        scores[:, :, [PADDING, END_INDEX]] = -torch.inf
        totals, chosen = (totals.unsqueeze(2) + scores).view(count, -1).topk(beam)
        parents, picked = chosen // scores.shape[2], chosen % scores.shape[2]
        packed = network.decoder.packed(state)[(parents + torch.arange(count).unsqueeze(1) * beam).view(-1)]
        before = written.gather(1, parents.unsqueeze(2).expand(-1, -1, written.shape[2]))
        written, last = torch.cat([before, picked.unsqueeze(2)], dim=2), picked.view(-1)
    return found
