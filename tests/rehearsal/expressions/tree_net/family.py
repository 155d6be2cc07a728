"""How the network is built, trained on whole trees, and exported as two parts."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.task import Split
from models.family import Examples, Export, SingleLoss
from models.nn.linear import linear
from rehearsal.data.trees import OPERATORS, flatten, parse
from rehearsal.expressions.tree_net.spec import SPEC, TreeNetConfig

Batch = tuple[list[object], Tensor]


class _Leaf(nn.Module):
    def __init__(self, hidden: int, judge: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        self.values, self.judge = linear(2, hidden, generator), judge

    def forward(self, symbols: Tensor) -> tuple[Tensor, Tensor]:
        state = self.values(functional.one_hot(symbols, 2).float()).tanh()
        return state, self.judge(state).squeeze(1).sigmoid()


class _Compose(nn.Module):
    def __init__(self, hidden: int, judge: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        self.layer, self.judge = linear(2 * hidden, len(OPERATORS) * hidden, generator), judge

    def forward(self, symbols: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        each = self.layer(torch.cat([left, right], dim=1)).unflatten(1, (len(OPERATORS), -1))
        chosen = functional.one_hot(symbols, len(OPERATORS)).float().unsqueeze(2)
        state = (each * chosen).sum(dim=1).tanh()  # (batch, hidden)
        return state, self.judge(state).squeeze(1).sigmoid()


class _Trees(Examples[Batch]):
    def __init__(self, split: Split, device: torch.device) -> None:
        self._trees = [parse(text, "/train") for text in split["expressions"].tolist()]
        self._values = torch.from_numpy(split["values"]).to(device)

    def __len__(self) -> int:
        return len(self._trees)

    def take(self, indices: Tensor) -> Batch:
        return [self._trees[index] for index in indices.tolist()], self._values[indices]


class TreeNetFamily(SingleLoss[TreeNetConfig, Batch]):
    """The tree network."""

    def build(self, generator: torch.Generator) -> nn.Module:
        hidden, judge = self.config.hidden, linear(self.config.hidden, 1, generator)
        return nn.ModuleDict({"leaf": _Leaf(hidden, judge, generator), "compose": _Compose(hidden, judge, generator)})

    def examples(self, split: Split, device: torch.device) -> Examples[Batch]:
        return _Trees(split, device)

    def losses(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        trees, values = batch
        nodes, roots = flatten(trees, "/train")
        symbols = torch.tensor([node.symbol for node in nodes])
        states, truths = torch.zeros(len(nodes), self.config.hidden), torch.zeros(len(nodes))
        for height in range(1 + max(node.height for node in nodes)):
            at = torch.tensor([index for index, node in enumerate(nodes) if node.height == height])
            sides = [torch.tensor([getattr(nodes[index], side) for index in at]) for side in ("left", "right")]
            children = [states[side] for side in sides] if height else []
            state, truth = module.get_submodule("compose" if height else "leaf")(symbols[at], *children)
            states, truths = states.index_copy(0, at, state), truths.index_copy(0, at, truth)
        return {"loss": functional.binary_cross_entropy(truths[roots], values.float())}

    def export(self, module: nn.Module) -> dict[str, Export]:
        hidden = self.config.hidden
        return {
            name: Export(module.get_submodule(name), part.fixed(hidden=hidden)) for name, part in SPEC.parts.items()
        }

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        symbols = torch.randint(2 if part == "leaf" else 3, (sizes["batch"],), generator=generator)
        left, right = torch.rand(2, sizes["batch"], self.config.hidden, generator=generator) * 2 - 1
        return (symbols,) if part == "leaf" else (symbols, left, right)


FAMILY = TreeNetFamily
