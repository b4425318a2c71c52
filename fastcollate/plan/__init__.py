"""Which records make which batch of an epoch: pure functions of integers, without a clock or any input or output.

A plan is an order of records (`permutation`), cut into windows, steps and batches (`order`) of buckets or packs;
`planning` checks what is asked for, `ranks` deals it out, `state` says how far a run is. It imports `ragged`.
"""
