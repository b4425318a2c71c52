"""Moving batches to a device: page-locked memory used in a ring, a stream of its own, a thread that runs ahead.

It moves buffers and knows nothing of labels: `items` finds the tensors in whatever a loader yields.
The room imports `errors`, `arguments` and torch, and no other room.
"""
