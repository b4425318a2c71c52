"""The shards of a store: flat arrays in files, written whole, mapped, and read as records numbered from 0.

`shard_arrays.py` says which arrays a shard has, `entries.py` what the manifest says of one, `pending.py` collects
records for one, `shard_files.py` writes it, `second_names.py` gives it to another store, too, `mapped_arrays.py`
maps it, `shard.py` checks what is read of it, `background.py` hashes it meanwhile, `dictionaries.py` numbers the
strings of all shards, `sharded.py` reads several as one.
"""
