"""How many parameters a network would have, told of its options alone, and the most that are built."""

from __future__ import annotations

from models.contract.errors import ValidationFailed
from models.data.texts.segmentation import END_INDEX
from models.seq2seq.languages import MOST_LETTERS
from models.seq2seq.options import Seq2SeqConfig

MOST_PARAMETERS = 200_000_000
"""Some 3 GB while it trains: weights, gradients and two moments of Adam."""

GATES = {"gru": 3, "lstm": 4}
STATES = {"gru": 1, "lstm": 2}


def check_size(config: Seq2SeqConfig) -> None:
    """Return if the network has not too many parameters with as many tokens as it may come to know.

    Raises:
        ValidationFailed: it has; names what most of them come from.
    """
    tokens = config.vocabulary_size + END_INDEX + 1
    letters = MOST_LETTERS + END_INDEX + 1 if config.vocabulary == "hybrid" else 0
    bare, together = parameters(config, 0, 0, 0), parameters(config, tokens, tokens, letters)
    if together <= MOST_PARAMETERS:
        return
    option, remedy = "hidden", "use fewer units, a smaller depth or a smaller embedding"
    if together > 2 * bare:
        option, remedy = "vocabulary_size", "know fewer tokens, or use a smaller embedding"
    detail = f"the network would have up to {together:,} parameters, more than {MOST_PARAMETERS:,}; {remedy}"
    raise ValidationFailed.at(f"/config/{option}", detail)


def parameters(config: Seq2SeqConfig, sources: int, targets: int, letters: int) -> int:
    """Return how many a network has for vocabularies of ``sources`` and ``targets`` tokens, and ``letters`` if any."""
    hidden, embedding = config.hidden, config.embedding
    output = (targets if config.tied else hidden * targets + targets) + (sources + targets) * embedding
    if config.tied and hidden != embedding:
        output += _linear(hidden, embedding)
    spelling = 0
    if letters:
        spelling = 2 * letters * embedding + 2 * _layer("gru", embedding, embedding)
        spelling += _linear(hidden, embedding) + _linear(embedding, letters)
    return output + spelling + _encoder(config) + _decoder(config) + _attention(config)


def _encoder(config: Seq2SeqConfig) -> int:
    both = {"none": 0, "first": 1, "all": config.depth}[config.bidirectional]
    widths = [config.embedding, *[config.hidden] * (config.depth - 1)]
    return sum(
        2 * _layer(config.cell, width, config.hidden // 2)
        if number < both
        else _layer(config.cell, width, config.hidden)
        for number, width in enumerate(widths)
    )


def _decoder(config: Seq2SeqConfig) -> int:
    hidden, looks_first = config.hidden, config.decoder == "bahdanau"
    told = config.attention == "none" and config.summary == "every_step"
    widths = [config.embedding + (hidden if config.input_feeding or looks_first or told else 0)]
    widths += [hidden] * (config.depth - 1)
    found = sum(_layer(config.cell, width, hidden) for width in widths)
    found += _linear(hidden, config.depth * STATES[config.cell] * hidden)
    if config.attention == "none" and not told:
        return found
    return found + (_linear(2 * hidden + config.embedding, 2 * hidden) if looks_first else _linear(2 * hidden, hidden))


def _attention(config: Seq2SeqConfig) -> int:
    hidden, square = config.hidden, config.hidden**2
    return {
        "none": 0,
        "dot": 0,
        "general": square,
        "concat": 2 * square + hidden,
        "additive": 2 * square + 2 * hidden,
        "local_m": square,
        "local_p": square + _linear(hidden, hidden) + _linear(hidden, 1),
    }[config.attention]


def _layer(cell: str, inputs: int, hidden: int) -> int:
    return GATES[cell] * hidden * (inputs + hidden + 2)


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs
