"""Doors to training frameworks: what each expects to be handed, made of a dataset, a collator and a loader.

One file a framework, at most 150 lines each. It imports its framework, which comes with the extra `trainers`, when
it is used and not before, and no other file of this room but `framework.py`. Every door compares the ranks once
(`check_ranks`) and gives an evaluation set in one order, that of epoch 0.
The room imports `loader` and the rooms below, and torch.
"""
