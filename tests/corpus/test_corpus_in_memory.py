"""Rows in memory as a corpus: what does not fit is refused, by record."""

import numpy as np
import pytest

from fastcollate import InputError, Ragged, mix
from fastcollate.corpus.corpus import RaggedCorpus

ROWS = Ragged.from_rows([[1], [2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("spans", "record"),
    [
        ([[0], [0], [0, 1]], "record 0 has spans [0]"),
        ([[0, 1, 0], [1], []], "record 0 has spans [0, 1, 0]"),
        ([[0, 1], [2, 1], [0, 3]], "record 1 has spans [2, 1]"),
        ([[0, 1], [], [0, 9]], "record 2 has spans [0, 9]"),
        ([[-3, 1], [], []], "record 0 has spans [-3, 1]"),
    ],
)
def test_spans_that_do_not_fit_are_refused(spans, record):
    with pytest.raises(InputError) as caught:
        RaggedCorpus(ROWS, spans=Ragged.from_rows(spans))
    assert str(caught.value).startswith(f"{record}: they are (start, stop) pairs that rise from 0 to its ")


def test_spans_that_fit_are_kept():
    corpus = RaggedCorpus(ROWS, spans=Ragged.from_rows([[0, 1], [], [0, 1, 2, 3]]))
    batch = corpus.at_epoch(0, 0).gather(np.array([2, 0]), ["spans"])
    assert [row.tolist() for row in batch.spans] == [[0, 1, 2, 3], [0, 1]]


def test_labels_are_token_ids_or_no_target():
    RaggedCorpus(ROWS, labels=Ragged.from_rows([[1], [-100, 3], [4, 5, -100]]))
    with pytest.raises(InputError, match="labels hold -7: a label is a token id, or -100"):
        RaggedCorpus(ROWS, labels=Ragged.from_rows([[1], [2, 3], [4, 5, -7]]))


def test_a_mixture_drops_no_labels_in_silence():
    labelled = RaggedCorpus(ROWS, labels=ROWS)
    assert set(mix([(labelled, 1), (labelled, 1)]).columns) == {"labels"}
    with pytest.raises(InputError, match="mix got labels with some corpora and not with others"):
        mix([(labelled, 1), (ROWS, 1)])


@pytest.mark.parametrize("wrong", [5, zip([ROWS], [1], strict=True), [(ROWS, 10**400)], [(ROWS, 1e300)]])
def test_what_cannot_be_mixed_is_named(wrong):
    with pytest.raises(InputError, match="mix got "):
        mix(wrong)
