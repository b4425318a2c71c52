"""The processes that train together: which of them this is, and whether all mean the same.

`world.py` asks torch and the environment, `meshes.py` a mesh of devices, `agreement.py` the other ranks, and
`readers.py` who deals out batches. The room imports `plan.planning`, `errors`, `arguments` and torch.
"""
