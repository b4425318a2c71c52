"""What people look at: aligned lines and JSON, histograms of lengths, a plan's costs, a record as a transcript.

`token_search.py` finds sequences of tokens, `chat_marks.py` tells the turns of conversations by them; `audits/`
tells what of a store is not as it should be.
Every function here takes what it shows and returns text or plain values; only `text` writes to the screen.
The room imports `store`, `plan`, `tokenizers`, `ragged` and what lies below; torch is not allowed here.
"""
