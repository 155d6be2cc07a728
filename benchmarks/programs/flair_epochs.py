"""Flair's side of ``benchmarks/beside_flair.py``: a line on stdin asks for an epoch, one of JSON says how long it took.

Started with a file of sentences in Flair's environment. The loop is the middle of Flair's own trainer:
``forward_loss``, backward, a clipped gradient, a step, and embeddings dropped from the sentences, which else keep them.
"""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

import flair
import torch
from flair.data import Dictionary, Sentence
from flair.embeddings import OneHotEmbeddings
from flair.models import SequenceTagger
from flair.training_utils import store_embeddings


def main() -> None:
    """Train for as many epochs as are asked for."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where Flair writes its log
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    flair.device = torch.device("cpu")
    flair.set_seed(1)
    sentences = [labelled(tokens, spans) for tokens, spans in given["sentences"]]
    words, tags = Dictionary(), Dictionary(add_unk=False)
    for sentence in sentences:
        for token in sentence:
            words.add_item(token.text)
    tags.add_item("X")
    tags.span_labels = True
    tagger = SequenceTagger(
        embeddings=OneHotEmbeddings(words, embedding_length=given["word_dimensions"]),
        tag_dictionary=tags,
        tag_type="tag",
        tag_format="BIOES",
        hidden_size=given["hidden"],
        rnn_layers=1,
        use_crf=True,
        reproject_embeddings=False,
        dropout=given["dropout"],
        word_dropout=0.0,
        locked_dropout=0.0,
    )
    optimizer = torch.optim.Adam(tagger.parameters(), given["learning_rate"])
    tagger.train()
    for _ in sys.stdin:
        started = time.perf_counter()
        random.shuffle(sentences)
        size = given["batch_size"]
        for begin in range(0, len(sentences), size):
            batch = sentences[begin : begin + size]
            loss, count = tagger.forward_loss(batch)
            optimizer.zero_grad()
            (loss / count).backward()
            torch.nn.utils.clip_grad_norm_(tagger.parameters(), given["gradient_clip"])
            optimizer.step()
            store_embeddings(batch, "none")
        print(json.dumps({"seconds": time.perf_counter() - started}), file=answers, flush=True)


def labelled(tokens: list[str], spans: list[list[int]]) -> Sentence:
    """Return a sentence with its spans."""
    sentence = Sentence(tokens)
    for start, end in spans:
        sentence[start:end].add_label("tag", "X")
    return sentence


if __name__ == "__main__":
    main()
