"""The .ds files of datatrove and nanotron, read in place."""

import numpy as np
import pytest
from foreign import assert_holds, assert_is_a_corpus, documents, store_of
from foreign_files import write_datatrove

from fastcollate import BucketedDataset, InputError, PaddingCollator, StoreCorruptError, open_corpus

ROWS = [[7, 8, 9], [10], [11, 12]]


def test_it_gives_the_batches_of_a_store(tmp_path):
    rows = documents()
    corpus = open_corpus(write_datatrove(tmp_path / "a.ds", rows, metadata="gpt2|eos|2\n9\n9 T"))
    assert corpus.layout.noted == {"tokenizer": "gpt2|eos"}
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_the_size_of_a_token_follows_from_the_index(tmp_path, dtype):
    corpus = open_corpus(write_datatrove(tmp_path / "a.ds", ROWS, dtype=dtype))
    assert_holds(corpus, ROWS)
    assert corpus[0].dtype == np.dtype(dtype)


def test_a_folder_of_shards_is_one_corpus(tmp_path):
    write_datatrove(tmp_path / "00001_00000_shuffled.ds", ROWS)
    write_datatrove(tmp_path / "00000_00000_shuffled.ds", [[5, 6], [4]])
    assert_holds(open_corpus(tmp_path), [[5, 6], [4], *ROWS])


def test_without_an_index_documents_are_cut_at_the_end_token_that_is_named(tmp_path):
    path = write_datatrove(tmp_path / "a.ds", [[7, 8, 0], [9, 0]], metadata="gpt2|2\n5")
    path.with_name("a.ds.index").unlink()
    with pytest.raises(InputError, match="does not say where its documents end: name the token"):
        open_corpus(path)
    assert_holds(open_corpus(path, eot_token_id=0), [[7, 8, 0], [9, 0]])
    path.with_name("a.ds.metadata").unlink()
    with pytest.raises(InputError, match="has neither an index nor metadata: name the dtype"):
        open_corpus(path, eot_token_id=0)
    assert_holds(open_corpus(path, eot_token_id=0, dtype="uint16"), [[7, 8, 0], [9, 0]])


def test_what_the_mask_of_the_loss_leaves_out_is_no_target(tmp_path):
    write_datatrove(tmp_path / "0.ds", ROWS, loss=[[0, 1, 1], [0], [1, 1]])
    write_datatrove(tmp_path / "1.ds", [[5, 6]])
    corpus = open_corpus(tmp_path)
    assert [corpus.labels(i).tolist() for i in range(4)] == [[-100, 8, 9], [-100], [11, 12], [5, 6]]
    (batch,) = map(PaddingCollator(0), BucketedDataset(corpus, batch_size=4, shuffle=False))
    by_record = dict(zip(batch.record_ids.tolist(), batch["labels"].tolist(), strict=True))
    assert by_record == {
        0: [-100, 8, 9],
        1: [-100, -100, -100],
        2: [11, 12, -100],
        3: [5, 6, -100],
    }
    (tmp_path / "0.ds.loss").write_bytes(bytes(5))
    with pytest.raises(StoreCorruptError, match=r"0.ds.loss .*\(it has 5 bytes for 6 tokens\)"):
        open_corpus(tmp_path)


def test_an_index_of_another_file_is_told(tmp_path):
    path = write_datatrove(tmp_path / "a.ds", ROWS)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(StoreCorruptError, match="it has 10 bytes where its index ends at token 6"):
        open_corpus(path)
    write_datatrove(path, ROWS, metadata="gpt2|4\n6")
    with pytest.raises(StoreCorruptError, match="it has 12 bytes where its index ends at token 6 of 4 bytes"):
        open_corpus(path)
    write_datatrove(path, ROWS, metadata="gpt2|2\n6")
    path.with_name("a.ds.index").write_bytes(np.array([3, 2**63 + 5, 6], np.uint64).tobytes())
    with pytest.raises(StoreCorruptError, match="row 1 has"):
        open_corpus(path)


def test_what_datatrove_writes_is_read(tmp_path):
    tokenizer = pytest.importorskip("datatrove.pipeline.tokens.tokenizer", reason="needs datatrove")
    rows = documents(40)
    written = tokenizer.TokenizedFile(
        str(tmp_path), "a.ds", save_loss_metadata=True, save_final_metadata=True, tokenizer_name_or_path="gpt2"
    )
    for row in rows:
        written.write(row.tolist(), np.arange(len(row)) > 0)
    written.close()
    corpus = open_corpus(tmp_path / "a.ds")
    assert_holds(corpus, [row.tolist() for row in rows])
    assert corpus.labels(3).tolist() == [-100, *rows[3][1:].tolist()]
    assert corpus.layout.noted == {"tokenizer": "gpt2"}
