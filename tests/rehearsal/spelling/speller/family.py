"""How the speller is built, trained and exported."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.family import Export, SingleLoss
from models.nn.linear import linear
from rehearsal.nn.images import OverImages
from rehearsal.spelling.speller.spec import SPEC, SpellerConfig
from rehearsal.spelling.task import END


class _Step(nn.Module):
    def __init__(self, hidden: int, letters: int, generator: torch.Generator) -> None:
        super().__init__()
        self.carry, self.output = linear(hidden, hidden, generator), linear(hidden, letters, generator)

    def forward(self, state: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        letter = functional.embedding(previous, self.output.weight)  # letters read and written share weights
        following = (self.carry(state) + letter).tanh()
        return self.output(following), following


class SpellerFamily(OverImages[SpellerConfig], SingleLoss[SpellerConfig, dict[str, Tensor]]):
    """The speller; its alphabet is that of the class names."""

    def build(self, generator: torch.Generator) -> nn.Module:
        hidden, letters = self.config.hidden, len(self._alphabet()) + 1
        encoder = nn.Sequential(*self.flattened(generator), linear(self.pixels, hidden, generator), nn.Tanh())
        return nn.ModuleDict({"encoder": encoder, "step": _Step(hidden, letters, generator)})

    def losses(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        longest = max(map(len, self.classes)) + 1
        numbers = {letter: index + 1 for index, letter in enumerate(self._alphabet())}
        table = [[*map(numbers.__getitem__, word), *[END] * (longest - len(word))] for word in self.classes]
        words = torch.tensor(table, device=batch["labels"].device)[batch["labels"]]  # (batch, longest)
        state, previous, steps = module.get_submodule("encoder")(batch["images"]), torch.full_like(words[:, 0], END), []
        for letter in words.T:
            logits, state = module.get_submodule("step")(state, previous)
            steps.append(functional.cross_entropy(logits, letter))  # past the end it says END again and again
            previous = letter
        return {"loss": torch.stack(steps).mean()}

    def export(self, module: nn.Module) -> dict[str, Export]:
        sizes = self.axes | {"hidden": self.config.hidden, "letters": len(self._alphabet()) + 1}
        return {name: Export(module.get_submodule(name), part.fixed(**sizes)) for name, part in SPEC.parts.items()}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        if part == "encoder":
            return super().example(part, sizes, generator)
        state = torch.rand(sizes["batch"], self.config.hidden, generator=generator) * 2 - 1
        return state, torch.randint(len(self._alphabet()) + 1, (sizes["batch"],), generator=generator)

    def assets(self, module: nn.Module) -> dict[str, object]:
        del module
        return {"alphabet": self._alphabet(), "longest": max(map(len, self.classes)) + 1}

    def _alphabet(self) -> str:
        return "".join(sorted(set("".join(self.classes))))


FAMILY = SpellerFamily
