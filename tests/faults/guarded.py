"""What becomes of reading a store that somebody damages: told from outside, for it may kill whoever reads."""

import hashlib
import os
import select
import signal
import time
from contextlib import suppress

from batches import content

from fastcollate import BucketedDataset, FastCollateError, PaddingCollator, TokenStore

DEADLINE = 20  # seconds, of what takes a tenth of one


def outcome(read):
    """("gave", what `read()` returns) or ("told", error of ours), from a process of its own.

    What must never happen is an outcome too: ("raised", another error), ("died", a signal), ("hung", "").
    """
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        try:
            told = _told(read)
            with suppress(BrokenPipeError):
                os.write(there, "\n".join(told)[:4000].encode())
        finally:
            os._exit(0)
    os.close(there)
    try:
        return _heard(here, child)
    finally:
        os.close(here)


def _told(read):
    try:
        return "gave", read()
    except FastCollateError as error:
        return "told", f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001  # that is what is looked for
        return "raised", repr(error)


def _heard(here, child):
    if not select.select([here], [], [], DEADLINE)[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "hung", ""
    data = os.read(here, 5000)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "died", signal.Signals(os.WTERMSIG(status)).name
    kind, _, detail = data.decode().partition("\n")
    return kind, detail


def all_of(path, *, verify="index", then=None):
    """The SHA-256 of whatever an epoch and the store itself give; `then` is called after two batches."""
    store = TokenStore(path, verify=verify)
    digest = hashlib.sha256()
    collate = PaddingCollator(256, supervise="response")
    for number, ragged in enumerate(BucketedDataset(store, batch_size=7, seed=1)):
        digest.update(repr((content(ragged), content(collate(ragged)))).encode())
        if number == 1 and then is not None:
            then()
            time.sleep(0.02)
    for i in range(len(store)):
        digest.update(store[i].tobytes() + store.spans(i).tobytes() + str(store.source_row(i)).encode())
    return digest.hexdigest()


def assert_right_or_told(found, right, harm):
    """An outcome is what was written, or an error of ours."""
    kind, detail = found
    assert (kind == "gave" and detail == right) or kind == "told", f"{harm}: {kind} {detail}"
