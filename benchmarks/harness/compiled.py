"""Padding in C, where there is a compiler: how fast a kernel would be that needs one to be installed."""

import ctypes
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import torch

SOURCE = """
#include <stdint.h>
void pad(const uint16_t *values, const int64_t *starts, const int64_t *lengths, int64_t rows, int64_t width,
         int64_t pad, int64_t ignore, int64_t *inputs, int64_t *labels)
{
    for (int64_t i = 0; i < rows; i++) {
        const uint16_t *row = values + starts[i];
        int64_t n = lengths[i], *x = inputs + i * width, *y = labels + i * width, j;
        for (j = 0; j < n; j++) x[j] = row[j];
        for (j = 0; j + 1 < n; j++) y[j] = row[j + 1];
        for (j = n; j < width; j++) { x[j] = pad; y[j] = ignore; }
        y[n - 1] = pad;
    }
}
"""


def compiler():
    """The path of a C compiler, or None."""
    name = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(name) or shutil.which("cc")


def compiled_collate(directory):
    """A function of a batch and the pad id that returns what `row_loop` does."""
    directory = Path(directory)
    source, library = directory / "pad.c", directory / "pad.so"
    source.write_text(SOURCE)
    options = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler(), *options, str(source), "-o", str(library)], check=True, capture_output=True)
    pad_rows = ctypes.CDLL(str(library)).pad
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    pad_rows.argtypes = [pointer, pointer, pointer, number, number, number, number, pointer, pointer]
    pad_rows.restype = None

    def collate(batch, pad, ignore=-100):
        rows = batch.tokens
        shape = len(rows.starts), int(rows.lengths.max())
        inputs, labels = np.empty(shape, np.int64), np.empty(shape, np.int64)
        addresses = [array.ctypes.data for array in (rows.values, rows.starts, rows.lengths)]
        pad_rows(*addresses, *shape, pad, ignore, inputs.ctypes.data, labels.ctypes.data)
        return torch.from_numpy(inputs), torch.from_numpy(labels)

    return collate
