from __future__ import annotations

from fastcollate.arguments import check_count
from fastcollate.errors import CollateError

__all__ = ["check_capacity"]


def check_capacity(
    layout: str, total: int | None, documents: int | None, multiple_of: int
) -> tuple[int | None, int | None, int]:
    """Return `total`, `documents` and `multiple_of` of a collator as Python ints.

    Raises:
        CollateError: One that is no integer from 1, `total` without `documents`, or both without the flat layout;
            padding that leaves no room in `total`.

    >>> check_capacity("flat", 64, 8, 4)
    (64, 8, 4)
    """
    multiple_of = check_count("multiple_of", multiple_of, 1, error=CollateError)
    if total is None and documents is None:
        return None, None, multiple_of
    if total is None or documents is None:
        raise CollateError(
            f"total is {total} and documents is {documents}: a batch of one shape needs both, its cells and how "
            "many documents it has at most"
        )
    total = check_count("total", total, 1, error=CollateError)
    documents = check_count("documents", documents, 1, error=CollateError)
    if layout != "flat":
        raise CollateError(
            'total and documents are for layout="flat": rows of a PackedDataset have one shape without them'
        )
    if total % multiple_of:
        raise CollateError(
            f"total is {total}, no multiple of multiple_of={multiple_of}: the cells after the last document are "
            f"split too; give total={-(-total // multiple_of) * multiple_of}"
        )
    return total, documents, multiple_of
