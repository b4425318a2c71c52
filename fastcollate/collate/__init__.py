"""Rows of tokens become padded or packed tensors: the collators, their kernels, and what travels to a device.

`inputs` reads whatever a `collate_fn` is handed, `row_layout` and `runs` say where each token goes, `kernels`
write on the host and `device_kernels` on a device. The room imports `ragged`, `arguments`, `errors`, NumPy and
torch; it reads no files and copies nothing to a device.
"""
