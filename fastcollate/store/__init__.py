"""The store: token ids on disk, one writer, one reader, and checks of every byte. Its format, version 1:

A store is a directory of shards and one `manifest.json`. Each shard holds `records_per_shard` records, the last
one as many as are left, in one of two layouts. Any Arrow or NumPy program can open both without this library, and
nothing in them is ever unpickled or run:

    arrow   shard-00000.arrow             an Arrow IPC file of one record batch, with the columns
                                          input_ids   large_list<uint16 | uint32>
                                          spans       large_list<uint32>   start, stop, start, stop, ...
                                          source_row  int64
    npy     shard-00000.input_ids.npy     uint16|uint32[V], all records side by side
            shard-00000.offsets.npy       int64[N+1], record i is input_ids[offsets[i]:offsets[i+1]]
            shard-00000.spans.npy         uint32[2S]
            shard-00000.span_offsets.npy  int64[N+1], into spans
            shard-00000.source_row.npy    int64[N], the row of the source that record i came from

Token ids have the smaller of the two dtypes if it holds the vocabulary. Spans are the tokens that are targets,
counted from the beginning of their record.

The manifest is canonical JSON: sorted keys, no white space. It says which encoding and template made the tokens,
how long the records are, how many were rejected and why, and of each shard its counts, its files and their
SHA-256. It carries its own hash. It is renamed into place last, so that a directory with a manifest is a whole
store, and one without is none. It names no clock, host or path, so that equal input gives equal bytes. The SHA-256
of the manifest is the fingerprint of the store.

Here are two records. The last two tokens of the first are targets, and both tokens of the second:

>>> import tempfile, numpy as np, pyarrow as pa
>>> from pathlib import Path
>>> from fastcollate import Ragged, StoreWriter, TokenStore
>>> tokens, spans = Ragged.from_rows([[72, 105, 256], [33, 256]]), Ragged.from_rows([[1, 3], [0, 2]])
>>> folder = Path(tempfile.mkdtemp())
>>> for layout in ("npy", "arrow"):
...     with StoreWriter(folder / layout, encoding="bytes", layout=layout) as writer:
...         writer.append(tokens, spans=spans)
>>> for name in ("input_ids", "offsets", "spans", "span_offsets", "source_row"):
...     array = np.load(folder / "npy" / f"shard-00000.{name}.npy")
...     print(f"{name:12} {str(array.dtype):6} {array.tolist()}")
input_ids    uint16 [72, 105, 256, 33, 256]
offsets      int64  [0, 3, 5]
spans        uint32 [1, 3, 0, 2]
span_offsets int64  [0, 2, 4]
source_row   int64  [0, 1]
>>> path = folder / "arrow" / "shard-00000.arrow"
>>> pa.ipc.open_file(path).get_batch(0).to_pylist() == [
...     {"input_ids": [72, 105, 256], "spans": [1, 3], "source_row": 0},
...     {"input_ids": [33, 256], "spans": [0, 2], "source_row": 1},
... ]
True

In both layouts the token ids lie side by side in the shard's first file, from byte `values_at` of the manifest on:

>>> shard = TokenStore(folder / "arrow").manifest.shards[0]
>>> path.read_bytes()[shard.values_at :][: 2 * shard.tokens].hex(" ", 2)
'4800 6900 0001 2100 0001'

The room imports `ragged`, `storage`, `tokenizers` and what lies below; pyarrow is allowed here, torch is not.
"""
