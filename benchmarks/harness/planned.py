"""Plans without a corpus: records by their lengths alone, and how long ranks wait."""

import numpy as np


class Known:
    """Records of which only the lengths are known."""

    def __init__(self, lengths):
        self.lengths = lengths
        self.histogram = np.unique(lengths, return_counts=True)

    def lengths_at(self, indices):
        return self.lengths[indices]


def idle_part(costs):
    """The part of all ranks' time in which they wait for the slowest of a step; `costs` has a row a step."""
    return 1 - costs.mean(axis=1).sum() / costs.max(axis=1).sum()
