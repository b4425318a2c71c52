"""interleaved races"""
import sys; sys.path[:0]=['/tmp/w/dev','/tmp/w/old']
import time, statistics, numpy as np, torch
from pathlib import Path
from fastcollate import *
P=Path('/tmp/w/c')
def drain(make):
    def f():
        with make() as l:
            for _ in l: pass
    return f
def race(title, fs, rounds=7):
    t={k:[] for k in fs}
    for f in fs.values(): f()
    for _ in range(rounds):
        for k,f in fs.items():
            b=time.perf_counter(); f(); t[k].append(time.perf_counter()-b)
    ks=list(fs); base=t[ks[0]]
    print(title, '|', '  '.join(f"{k}: {statistics.median(t[k])*1e3:.0f} ms ({statistics.median(a/b for a,b in zip(base,t[k])):.2f}x)" for k in ks), flush=True)
