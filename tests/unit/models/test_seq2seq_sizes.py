"""Parameters counted of options alone: as many as the network has that is built of them, and not too many."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.contract.errors import ValidationFailed
from models.conversation.dialogue.spec import SPEC as DIALOGUE
from models.nn.seq2seq.network import Seq2Seq
from models.seq2seq.options import Seq2SeqConfig
from models.seq2seq.sizes import MOST_PARAMETERS, parameters
from models.translation.encoder_decoder.spec import SPEC as TRANSLATION

SMALL: dict[str, Any] = {"hidden": 6, "embedding": 5}


@pytest.mark.parametrize("letters", [0, 9])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"embedding": 6, "depth": 3, "bidirectional": "first", "cell": "lstm"},
        {"tied": False, "bidirectional": "none", "attention": "dot"},
        {"attention": "additive", "decoder": "bahdanau", "depth": 2},
        {"attention": "concat", "input_feeding": True, "cell": "lstm"},
        {"attention": "none"},
        {"attention": "none", "summary": "every_step", "cell": "lstm"},
        {"attention": "local_m"},
        {"attention": "local_p", "depth": 2},
    ],
)
def test_parameters_are_those_of_the_network(options: dict[str, Any], letters: int) -> None:
    config = Seq2SeqConfig.parse({**SMALL, **options})
    module = Seq2Seq(config, 11, 13, letters, torch.Generator().manual_seed(1))
    assert parameters(config, 11, 13, letters) == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("spec", [TRANSLATION, DIALOGUE], ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"hidden": 8192, "depth": 16, "cell": "lstm", "embedding": 8192}, "/config/hidden"),
        ({"vocabulary_size": 200_000, "embedding": 512}, "/config/vocabulary_size"),
        ({"vocabulary_size": 200_000, "embedding": 8_192, "vocabulary": "hybrid"}, "/config/vocabulary_size"),
    ],
)
def test_networks_beyond_all_memory_are_refused(spec: Any, options: dict[str, Any], pointer: str) -> None:  # noqa: ANN401
    """At submission, with the number, the limit and what to make smaller."""
    with pytest.raises(ValidationFailed, match=rf"more than {MOST_PARAMETERS:,}; .*smaller embedding") as refused:
        spec.check(spec.config.parse(options), spec.training(), {})
    assert [item.pointer for item in refused.value.errors] == [pointer]


def test_networks_of_the_papers_are_built() -> None:
    """Luong et al. (2015) with 1,000 units, Bahdanau et al. (2015) as it was."""
    assert TRANSLATION.check is not None
    luong = {"attention": "local_p", "input_feeding": True, "cell": "lstm", "depth": 4, "bidirectional": "none"}
    luong |= {"hidden": 1_000, "embedding": 1_000, "vocabulary_size": 50_000}
    bahdanau = {"attention": "additive", "decoder": "bahdanau", "hidden": 1_000, "embedding": 620}
    for options in (luong, {**bahdanau, "vocabulary_size": 30_000}):
        TRANSLATION.check(TRANSLATION.config.parse(options), TRANSLATION.training(), {})
