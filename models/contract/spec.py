"""A family's description: torch-free, so that the gateway can validate and document without training code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.contract.config import Options
from models.contract.tensors import PartSignature
from models.contract.training import TrainingOptions


@dataclass(frozen=True)
class FamilySpec:
    """What a family is and takes.

    Attributes:
        name: the folder's name.
        task: the task it answers, the name of the folder above.
        title: one line for lists.
        paper: authors, year, title and section.
        dataset_kinds: the kinds of dataset it learns from, the usual one first.
        config: options of the model, with bounds and the paper's defaults.
        training: options of the training, with the family's defaults.
        parts: exported graphs with their signatures; axes that the dataset decides are symbolic here, and outputs
            whose number the configuration decides are those of its defaults. A version's own signatures say all.
        parts_by_kind: the same for kinds of dataset that give other inputs than the usual one.
        insides: what it can return beside the answer, such as ``attention``.
        verbs: the verbs of its task that it answers; empty means all.
        headline: the metric to show first, where the task's own is none of this family's.
        further_datasets: the kind of dataset that an option of the configuration names, by option. Such a dataset is
            given to :meth:`models.family.Family.study`; where the option is null there is none.
        optional_parts: those of ``parts`` that a configuration can leave out.
        check: raises ``ValidationFailed`` when config, training and dataset facts do not go together.
    """

    name: str
    task: str
    title: str
    paper: str
    dataset_kinds: tuple[str, ...]
    config: type[Options]
    training: type[TrainingOptions]
    parts: Mapping[str, PartSignature]
    insides: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    check: Callable[[Options, TrainingOptions, Mapping[str, object]], None] | None = field(default=None)
    parts_by_kind: Mapping[str, Mapping[str, PartSignature]] = field(
        default_factory=dict[str, Mapping[str, PartSignature]]
    )

    headline: str | None = None
    further_datasets: Mapping[str, str] = field(default_factory=dict[str, str])
    optional_parts: frozenset[str] = frozenset()

    def parts_of(self, kind: str) -> Mapping[str, PartSignature]:
        """Return the parts of a model that learnt from a dataset of this kind."""
        return self.parts_by_kind.get(kind, self.parts)
