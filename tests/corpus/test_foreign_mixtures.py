"""Foreign files in mixtures with stores: dtypes differ, and some rows are copied when they are read."""

import numpy as np
import pyarrow as pa
import pytest
from batches import DATASETS
from contracts import assert_resumes_everywhere
from foreign import assert_equal_batches, documents, labelled_store_of, labels_of, store_of

from fastcollate import BucketedDataset, PaddingCollator, mix, open_corpus

ROWS = documents(80)


def arrow_of(path, rows, kind, *, labels=None):
    table = {"input_ids": pa.array([row.tolist() for row in rows], kind)}
    if labels is not None:
        table["labels"] = pa.array([row.tolist() for row in labels], pa.list_(pa.int32()))
    with pa.ipc.new_stream(path, pa.table(table).schema) as writer:
        writer.write_table(pa.table(table))
    return open_corpus(path, eot_token_id=256)


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.list_(pa.int64())])
def test_a_mixture_of_a_store_and_a_file_is_that_of_two_stores(tmp_path, kind):
    store, collate = store_of(tmp_path / "one", ROWS[:50]), PaddingCollator(256)
    foreign = arrow_of(tmp_path / "a.arrow", ROWS[50:], kind)
    mixture, wanted = (mix([(store, 1), (two, 2)]) for two in (foreign, store_of(tmp_path / "two", ROWS[50:])))
    assert mixture.at_epoch(0, 0).copies == (kind.value_type == pa.int64())
    for found, expected in zip(*(BucketedDataset(each, batch_size=9) for each in (mixture, wanted)), strict=True):
        assert found.record_ids.tolist() == expected.record_ids.tolist()
        assert_equal_batches(collate(found), collate(expected), "padded")
    assert_resumes_everywhere(lambda: DATASETS["packs"](mixture), epochs=(1,))


def test_labels_of_other_dtypes_are_those_of_the_mixture(tmp_path):
    store = labelled_store_of(tmp_path / "one", ROWS[:50])
    foreign = arrow_of(tmp_path / "a.arrow", ROWS[50:], pa.list_(pa.int32()), labels=labels_of(ROWS[50:]))
    two = labelled_store_of(tmp_path / "two", ROWS[50:])
    collate = PaddingCollator(256)
    mixture, wanted = (BucketedDataset(mix([(store, 1), (other, 1)]), batch_size=9) for other in (foreign, two))
    for found, expected in zip(mixture, wanted, strict=True):
        assert_equal_batches(collate(found), collate(expected), "padded")
        assert np.any(np.asarray(collate(found)["labels"]) == -100)
