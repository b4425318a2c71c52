"""Plans of packs: rows of one length that hold whole documents, or pieces of a stream of them.

`best_fit.py` fills packs, `pack_window.py` holds the batches of a window, `balance.py` gives the ranks of a step
as much work, `pack_plan.py` is both plans. The room imports `ragged` and the files of `plan`.
"""
