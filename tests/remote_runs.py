"""Runs of `prepare` whose output is in an object store, beside the same run into a directory."""

import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from stores import contents

from fastcollate import prepare
from fastcollate.pretokenize.parts import tasks
from fastcollate.storage.network.failures import MissingError
from fastcollate.storage.storage import Storage, open_storage

OPTIONS = {"encoding": "bytes", "template": "text", "workers": 1, "on_error": "skip", "keep_columns": ["kind"]}


@dataclass
class Runs:
    """Runs from one source to one prefix."""

    source: Path
    url: str
    options: dict
    there: Storage

    def prepare(self, source=None, *, options=None, **more):
        how = OPTIONS | {"storage_options": self.options | (options or {})}
        return prepare(self.source if source is None else source, self.url, **how | more)

    def locally(self, **more):
        """The bytes of each file, as a directory has them."""
        out = self.source.parent / "locally"
        prepare(self.source, out, **OPTIONS | more)
        return contents(out)

    def contents(self):
        """The bytes of each object; what a killed run asked the server for may be done meanwhile."""
        there = self.there
        while True:
            with suppress(MissingError):
                return {
                    name: bytes(there.read_ranges(name, [(0, size)])[0]) for name, size in there.sizes().items()
                }

    def stop_after(self, count, **more):
        """A run that is stopped once so many pieces of work are done."""
        done = []

        def stop(_):
            if done.append(1) or len(done) > count:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.prepare(progress=stop, **more)


def run_with_small_tasks(source, url, temporary, options):
    """A run for a process of its own."""
    tasks._LEAST_BYTES = 4096
    tempfile.tempdir = str(temporary)
    prepare(source, url, storage_options=options, **OPTIONS)


def runs_in(tmp_path, bucket, options):
    """Runs from two files, one of them of several parts, with bad rows and blank lines among them."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in (("a", 150), ("b", 5)):
        lines = [json.dumps({"text": f"{name} {i} " + "x" * (i % 70), "kind": name}) for i in range(count)]
        lines[2::40] = ['{"text": 5, "kind": "bad"}'] * len(lines[2::40])
        lines[3::50] = [""] * len(lines[3::50])
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    url = f"{bucket}/deep/store"
    return Runs(folder, url, options, open_storage(url, options))
