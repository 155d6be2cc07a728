"""What the encoder-decoder takes and promises."""

from __future__ import annotations

from collections.abc import Mapping

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.training import TrainingOptions
from models.seq2seq.options import Seq2SeqConfig, Seq2SeqTraining, check
from models.seq2seq.parts import OPTIONAL, PARTS
from models.seq2seq.sizes import check_size


class EncoderDecoderConfig(Seq2SeqConfig):
    """Options of the network."""


class EncoderDecoderTraining(Seq2SeqTraining):
    """Training options: Adam at 1e-3, decayed linearly to zero, the norm of the gradient at most 1."""


def _check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    del training, meta
    assert isinstance(config, EncoderDecoderConfig)
    check(config)
    check_size(config)


SPEC = FamilySpec(
    name="encoder_decoder",
    task="translation",
    title="Recurrent encoder-decoder with attention, for translation",
    paper="Bahdanau, Cho, Bengio (2015), Neural Machine Translation by Jointly Learning to Align and Translate, ICLR; "
    "Luong, Pham, Manning (2015), Effective Approaches to Attention-based Neural Machine Translation, EMNLP",
    dataset_kinds=("parallel",),
    config=EncoderDecoderConfig,
    training=EncoderDecoderTraining,
    parts=PARTS,
    optional_parts=OPTIONAL,
    insides=("attention",),
    check=_check,
)
