"""The shapes data has between rooms. It imports NumPy, `errors` and `arguments`, and no other room."""

from fastcollate.ragged.packs import Packs
from fastcollate.ragged.ragged import IntArray, Ragged, Rows, row_numbers, rows_side_by_side
from fastcollate.ragged.ragged_batch import Column, RaggedBatch

__all__ = ["Column", "IntArray", "Packs", "Ragged", "RaggedBatch", "Rows", "row_numbers", "rows_side_by_side"]
