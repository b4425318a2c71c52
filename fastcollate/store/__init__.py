"""The store: token ids on disk, one writer, one reader, and checks of every byte. Its format, version 2:

A store is a directory of shards and one `manifest.json`. A shard holds any number of records, in one of two
layouts. Any Arrow or NumPy program can open both without this library, and nothing in them is ever unpickled or
run:

    arrow   shard-00000.arrow             an Arrow IPC file of one record batch, with the columns
                                          input_ids   large_list<uint16 | uint32>
                                          spans       large_list<uint32>   start, stop, start, stop, ...
                                          source_row  int64
                                          supervised  int32
                                          NAME        one for each named column
    npy     shard-00000.input_ids.npy     uint16|uint32[V], all records side by side
            shard-00000.offsets.npy       int64[N+1], record i is input_ids[offsets[i]:offsets[i+1]]
            shard-00000.spans.npy         uint32[2S]
            shard-00000.span_offsets.npy  int64[N+1], into spans
            shard-00000.source_row.npy    int64[N]
            shard-00000.supervised.npy    int32[N]
            shard-00000.NAME.npy          one for each named column
    both    shard-00000.blocks.npy        uint32[B], the CRC-32 of each 16 KiB of the token ids' bytes

Token ids have the smaller of the two dtypes if it holds the vocabulary. Spans are the tokens that are targets,
counted from the beginning of their record, and `supervised` is how many these are; in a store without spans every
token is a target. Record i comes from row `row_base + source_row[i]` of the source, where `row_base` stands in the
manifest: so a shard keeps its bytes when other records come before it.

Named columns have one value per token, per span or per record, numbers of 8 to 64 bits. Strings are int32 codes
into a dictionary of the shard's own: an Arrow dictionary, or `NAME.words` (UTF-8, uint8) and `NAME.word_offsets`
(int64). Two names mean the same in every store: `weights`, float32 per span, where some targets count otherwise
than 1, and `group`, int64 per record, where documents belong together: neighbours of one number from 0, counted
within the shard, and -1 for a record alone. A shard whose weights are all 1, or without any group, has no array of
that name.

The manifest is canonical JSON: sorted keys, no white space. It says which encoding and template made the tokens,
how long the records are, how many were rejected or noted and why, which columns there are, and of each shard its
counts, its files with their sizes and SHA-256, and the place of each array: the number of its file, the first byte
there and the number of values. So a store opens by mapping files, without parsing any but the manifest. It has
also of each shard the SHA-256 of all arrays but the token ids, one after another in the order of the table above,
named columns by name: the index. All hashes are of the bytes as they were written, not as they were
read back. The manifest carries its own hash. It is renamed into place last, so that a directory with a manifest is
a whole store, and one without is none; until then `prepare` keeps finished parts of a large source in files called
`task-...`, and in `journal.jsonl` what they are. It names no clock, host or path, so that equal input gives equal
bytes. The SHA-256 of the manifest is the fingerprint of the store.

No file of a shard is ever written into, so stores may share them as hard links. Records that are appended come in
further shards, whose rows count on, and the manifest of all takes the old one's place. The old one stays beside it
as `manifest-FINGERPRINT.json`, byte for byte: whoever opens the store by that fingerprint has the records of that
time.

Here are two records, each with a column `kind`. The last two tokens of the first are targets, and both tokens of
the second, which count half:

>>> import tempfile, numpy as np, pyarrow as pa
>>> from pathlib import Path
>>> from fastcollate import Ragged, StoreWriter, TokenStore
>>> tokens, spans = Ragged.from_rows([[72, 105, 256], [33, 256]]), Ragged.from_rows([[1, 3], [0, 2]])
>>> columns = {"kind": ["a", "b"], "weights": np.array([1, 0.5], np.float32)}
>>> folder = Path(tempfile.mkdtemp())
>>> for layout in ("npy", "arrow"):
...     with StoreWriter(folder / layout, encoding="bytes", layout=layout) as writer:
...         writer.append(tokens, spans, [7, 9], columns)
>>> names = ["input_ids", "offsets", "spans", "span_offsets", "source_row", "supervised"]
>>> for name in [*names, "kind", "kind.words", "kind.word_offsets", "weights", "blocks"]:
...     array = np.load(folder / "npy" / f"shard-00000.{name}.npy")
...     print(f"{name:17} {str(array.dtype):7} {array.tolist()}")
input_ids         uint16  [72, 105, 256, 33, 256]
offsets           int64   [0, 3, 5]
spans             uint32  [1, 3, 0, 2]
span_offsets      int64   [0, 2, 4]
source_row        int64   [7, 9]
supervised        int32   [2, 2]
kind              int32   [0, 1]
kind.words        uint8   [97, 98]
kind.word_offsets int64   [0, 1, 2]
weights           float32 [1.0, 0.5]
blocks            uint32  [4088022479]
>>> path = folder / "arrow" / "shard-00000.arrow"
>>> for record in pa.ipc.open_file(path).get_batch(0).to_pylist():
...     print(list(record.values()))
[[72, 105, 256], [1, 3], 7, 2, 'a', [1.0]]
[[33, 256], [0, 2], 9, 2, 'b', [0.5]]

In both layouts a program that knows NumPy alone finds an array by its place:

>>> shard = TokenStore(folder / "arrow").manifest.shards[0]
>>> file, at, count = shard.places["input_ids"]
>>> np.fromfile(folder / "arrow" / shard.files[file].name, np.uint16, count, offset=at).tolist()
[72, 105, 256, 33, 256]

The room imports `ragged`, `storage`, `plan`, `tokenizers` and what lies below; pyarrow is allowed here, torch is
not.
"""
