"""The records of a store as a `datasets.Dataset`: the files themselves, with what SFTTrainer wants to see."""

import numpy as np
import pytest
from stores import write_store

from fastcollate import InputError, Ragged, StoreWriter, TokenStore, mix
from fastcollate.corpus.corpus import RaggedCorpus
from fastcollate.trainers.trl import as_dataset

datasets = pytest.importorskip("datasets", reason="needs the extra trainers")

ROWS = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [9], [1, 1]]
SPANS = [[1, 3], [0, 2], [0, 1, 2, 4], [], [1, 2]]
LABELS = [[-100, 2, 3], [4, 5], [6, -100, 8, 9], [-100], [-100, 1]]


def supervised(path, **given):
    with StoreWriter(path, encoding="bytes", records_per_shard=2, **given) as writer:
        writer.append(Ragged.from_rows(ROWS), Ragged.from_rows(SPANS))
    return TokenStore(path)


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_a_store_is_its_files_with_labels_beside(tmp_path, layout):
    store = supervised(tmp_path / "store", layout=layout)
    found = as_dataset(store)
    assert found["input_ids"][:] == ROWS
    assert found["labels"][:] == LABELS
    chunks = found.data.column("input_ids").chunks
    assert len(chunks) == 3
    for chunk, shard in zip(chunks, store.at_epoch(0, 0).shards, strict=True):
        assert np.shares_memory(chunk.values.to_numpy(), shard.tokens.values)


def test_views_and_other_corpora_have_their_own_records(tmp_path):
    store = supervised(tmp_path / "store")
    part = store.split({"a": 0.6, "b": None}, seed=3)["a"]
    found = as_dataset(part)
    assert found["input_ids"][:] == [row.tolist() for row in part]
    assert len(found["labels"][:]) == 3
    corpus = RaggedCorpus(Ragged.from_rows(ROWS), spans=Ragged.from_rows(SPANS))
    assert as_dataset(corpus)["labels"][:] == LABELS
    bare = as_dataset(Ragged.from_rows(ROWS))
    assert (bare.column_names, bare["input_ids"][:]) == (["input_ids"], ROWS)
    mixed = as_dataset(mix([(store, 1), (part, 1)]))
    assert sorted(mixed["input_ids"][:]) == sorted(ROWS + found["input_ids"][:])


def test_weights_are_refused(tmp_path):
    with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
        weights = np.array([0.5], np.float32)
        writer.append(Ragged.from_rows([[1, 2]]), Ragged.from_rows([[0, 2]]), columns={"weights": weights})
    with pytest.raises(InputError, match="the corpus has weights"):
        as_dataset(TokenStore(tmp_path / "store"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_sft_trainer_trains_on_them(tmp_path):
    trl = pytest.importorskip("trl", reason="needs the extra trainers")
    transformers = pytest.importorskip("transformers", reason="needs the extra trainers")
    import tokenizers

    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<end>": 0, "a": 1}, unk_token="<end>"))
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<end>")
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 260, "n_positions": 256}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    store = write_store(tmp_path / "store", [5, 3, 9, 12, 2, 7, 8, 4], spans=True)
    config = trl.SFTConfig(
        str(tmp_path / "run"),
        max_steps=3,
        per_device_train_batch_size=4,
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = trl.SFTTrainer(model, config, train_dataset=as_dataset(store), processing_class=wrapped)
    batch = next(iter(trainer.get_train_dataloader()))
    learnt = batch["labels"] != -100
    assert learnt.any()
    assert not learnt[:, 0].any()
    trainer.train()
    assert trainer.state.global_step == 3
