"""Where tasks are worked on: in this process (`engine.py`), in workers of this machine (`processes.py`), on Ray.

An engine knows nothing of what the work is. The room imports errors alone, and Ray in `ray_cluster.py`.
"""
