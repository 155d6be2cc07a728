"""What the sequence tagger takes and promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from models.contract.config import Name, Options
from models.contract.errors import ValidationFailed
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining, TrainingOptions

Affix = Annotated[int, Field(ge=-10, le=10)]


class SequenceTaggerConfig(Options):
    """Options of the tagger."""

    encoder: Literal["none", "rnn", "lstm", "bilstm", "convolution"] = Field(
        default="bilstm", description="What reads the sentence; none: templates alone decide."
    )
    decoder: Literal["softmax", "crf"] = Field(
        default="crf", description="softmax: every tag by itself; crf: all tags of a sentence together."
    )
    scheme: Literal["bio", "bioes"] = Field(default="bioes", description="How the tags of spans are learnt.")
    hidden: int = Field(default=100, ge=1, le=4_096, description="Units of the encoder, per direction.")
    layers: int = Field(default=1, ge=1, le=8, description="Layers of the encoder.")
    window: int = Field(default=5, ge=1, le=31, description="Words that a unit of the encoder convolution sees.")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="Share dropped of what enters and leaves the encoder.")
    word_dimensions: int = Field(default=100, ge=1, le=4_096, description="Size of word vectors that begin at random.")
    word_vectors: Name | None = Field(
        default=None, description="Dataset of the kind vectors with which word vectors begin; random when null."
    )
    lower_case: bool = Field(default=True, description="Whether words are looked up in small letters.")
    digits: bool = Field(default=True, description="Whether every digit of a word is looked up as 0.")
    least_count: int = Field(default=1, ge=1, le=1_000, description="Rarer words of train are unknown words.")
    unknown_share: float = Field(
        default=0.5, ge=0, le=1, description="How often words that train has once are taken for unknown in training."
    )
    capitals: bool = Field(default=True, description="Whether the kind of capitals of a word enters the encoder.")
    affixes: tuple[Affix, ...] = Field(
        default=(-2, -3, 3),
        max_length=16,
        description="Lengths of prefixes, negative ones of suffixes, that enter the encoder.",
    )
    columns: bool = Field(
        default=True, description="Whether further columns of the dataset are read; requests need them."
    )
    symbol_dimensions: int = Field(
        default=20, ge=1, le=1_024, description="Size of the vectors of capitals, affixes and further columns."
    )
    characters: Literal["none", "convolution", "lstm"] = Field(
        default="none", description="What reads the letters of a word for the encoder."
    )
    character_dimensions: int = Field(default=25, ge=1, le=1_024, description="Size of the vectors of letters.")
    character_hidden: int = Field(
        default=30,
        ge=1,
        le=1_024,
        description="Maps of the convolution over letters; units of their LSTM a direction.",
    )
    templates: tuple[Literal["context", "spelling"], ...] = Field(
        default=(),
        max_length=2,
        description="Sparse features that are joined to the output: words and further columns around, spelling.",
    )
    least_feature_count: int = Field(default=1, ge=1, le=1_000, description="Rarer sparse features are left out.")


class SequenceTaggerTraining(GradientTraining):
    """Training options with the defaults of this family: Adam at 2e-3, decayed linearly to zero; a clipped gradient."""

    epochs: int = Field(default=8, ge=1, le=100_000, description="Passes over the training split.")
    batch_size: int = Field(default=32, ge=1, le=65_536, description="Sentences per step and device.")
    learning_rate: float = Field(default=2e-3, gt=0, le=100, description="Initial (one_cycle: largest) learning rate.")
    gradient_clip: float | None = Field(default=5.0, gt=0, description="Largest norm of the whole gradient.")


def _check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    """Refuse a tagger that would look at nothing."""
    del training
    assert isinstance(config, SequenceTaggerConfig)
    if config.encoder == "none" and not config.templates:
        detail = (
            'must name features when the encoder is none, which reads nothing else; such as ["context", "spelling"]'
        )
        raise ValidationFailed.at("/config/templates", detail)
    if 0 in config.affixes:
        raise ValidationFailed.at("/config/affixes", "an affix has one letter at least; leave out 0")
    if len(meta.get("tags", ())) < 1:  # pyright: ignore[reportArgumentType] - a list, as the kind writes it
        raise ValidationFailed.at("/dataset", "has no tags")


SPEC = FamilySpec(
    name="sequence_tagger",
    task="tagging",
    title="Sequence tagger: LSTM, BI-LSTM, CRF, LSTM-CRF, BI-LSTM-CRF and convolution-CRF",
    paper="Huang, Xu, Yu (2015), Bidirectional LSTM-CRF Models for Sequence Tagging; Collobert et al. (2011), JMLR 12",
    dataset_kinds=("tagged",),
    config=SequenceTaggerConfig,
    training=SequenceTaggerTraining,
    insides=("marginals", "transitions"),
    parts={
        "tagger": PartSignature(
            inputs=(
                TensorSignature(name="words", dtype="int64", shape=("batch", "time")),
                TensorSignature(name="symbols", dtype="int64", shape=("batch", "time", "fields"), optional=True),
                TensorSignature(name="characters", dtype="int64", shape=("batch", "time", "letters"), optional=True),
                TensorSignature(name="features", dtype="int64", shape=("batch", "time", "templates"), optional=True),
            ),
            outputs=(TensorSignature(name="emissions", shape=("batch", "time", "tags"), quantity="logits"),),
        )
    },
    further_datasets={"word_vectors": "vectors"},
    check=_check,
)
