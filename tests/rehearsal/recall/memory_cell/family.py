"""How the cell is built, trained and exported with its loop over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.family import Export, SingleLoss
from models.nn.linear import linear
from rehearsal.nn.images import OverImages
from rehearsal.recall.memory_cell.spec import SPEC, MemoryCellConfig


class MemoryReader(nn.Module):
    """Reads rows, writes and reads a memory (§3.1 and §3.2 of the paper, by content alone), judges its last state."""

    def __init__(
        self,
        config: MemoryCellConfig,
        width: int,
        classes: int,
        value_range: tuple[float, float],
        generator: torch.Generator,
    ) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        self.low, self.high = value_range
        self.hidden, self.slots, self.slot_size = config.hidden, config.slots, config.slot_size
        self.control = linear(width + config.hidden + config.slot_size, config.hidden, generator)
        self.address = linear(config.hidden, 2 * config.slots, generator)
        self.content = linear(config.hidden, config.slot_size, generator)
        self.output = linear(config.hidden + config.slot_size, classes, generator)

    def forward(self, rows: Tensor) -> Tensor:
        """Return probabilities (batch, classes) of ``rows`` (batch, time, width)."""
        values = (rows.float() - self.low) / (self.high - self.low)
        state = torch.zeros(rows.size(0), self.hidden)
        read = torch.zeros(rows.size(0), self.slot_size)
        memory = torch.zeros(rows.size(0), self.slots, self.slot_size)
        for time in range(rows.size(1)):
            state = torch.tanh(self.control(torch.cat([values[:, time], state, read], dim=1)))
            weights = self.address(state).view(-1, 2, self.slots).softmax(dim=2)  # (batch, write and read, slots)
            content = torch.tanh(self.content(state))
            memory = memory + weights[:, 0].unsqueeze(2) * (
                content.unsqueeze(1) - memory
            )  # Eq. 3 and 4, erased as written
            read = (weights[:, 1].unsqueeze(2) * memory).sum(dim=1)  # Eq. 2
        return self.output(torch.cat([state, read], dim=1)).softmax(dim=1)


class MemoryCellFamily(OverImages[MemoryCellConfig], SingleLoss[MemoryCellConfig, dict[str, Tensor]]):
    """The memory cell; the rows of an image are its time steps."""

    def build(self, generator: torch.Generator) -> nn.Module:
        return MemoryReader(self.config, self.shape[1], len(self.classes), (self.low, self.high), generator)

    def losses(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": functional.nll_loss(module(batch["images"]).log(), batch["labels"])}

    def export(self, module: nn.Module) -> dict[str, Export]:
        return {"reader": Export(module, SPEC.parts["reader"].fixed(**self.axes), scripted=True)}


FAMILY = MemoryCellFamily
