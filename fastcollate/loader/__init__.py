"""The loader: a dataset's batches collated, on a device, and counted exactly as they are delivered.

`stream` is the door, `delivery` one pass, `feeds` where batches are made: here, or in the processes of `workers`.
The room imports `dataset`, `collate`, `device` and what lies below, and torch; it decides no order.
"""
