"""Small stores, and ways to damage them: a file replaced, a manifest edited and sealed again."""

import hashlib
import json

import numpy as np

from fastcollate import Ragged, StoreWriter

DTYPES = {"input_ids": np.uint16, "offsets": np.int64, "spans": np.uint32, "span_offsets": np.int64}
LAYOUTS = ["arrow", "npy"]
ROWS = [[7, 7, 7], [8, 8], [9], [10, 10, 10, 10], [11]]


def write(path, layout, rows=ROWS):
    options = {"layout": layout, "records_per_shard": 2, "template": "alpaca"}
    with StoreWriter(path, encoding="bytes", **options) as writer:
        writer.append(Ragged.from_rows(rows), Ragged.from_rows([[0, 1]] * len(rows)))
    return path


def overwrite(file, data):
    """Put `data` into a new file of that name: the old one may still be mapped."""
    draft = file.parent / "draft"
    draft.write_bytes(data)
    draft.replace(file)


def change(path, shard, array, place, value):
    """Put another value into an array of a shard, which stays as long as it was."""
    entry = json.loads((path / "manifest.json").read_bytes())["shards"][shard]
    file, at, count = entry["places"][array]
    data = bytearray((path / entry["files"][file]["name"]).read_bytes())
    values = np.frombuffer(data, DTYPES[array], count, at)
    assert values[place] != value
    values[place] = value
    overwrite(path / entry["files"][file]["name"], bytes(data))


def edit(path, change):
    """Let `change` edit the manifest's content."""
    file = path / "manifest.json"
    content = json.loads(file.read_bytes())
    change(content)
    if content.pop("sha256", None):  # seal it again: the change is all that is wrong
        content["sha256"] = hashlib.sha256(canonical(content)).hexdigest()
    overwrite(file, canonical(content))


def canonical(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"
