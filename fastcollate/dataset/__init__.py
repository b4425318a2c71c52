"""A corpus and a plan become batches: the datasets that torch iterates, one rank and one worker at a time.

`planned` is what the datasets share, `position` where the next pass begins, `world` which rank this process is.
The room imports `corpus`, `plan`, `ragged` and what lies below, and torch; it knows no collator and no device.
"""
