"""What a run of `prepare` did, as it is shown while it goes on and summed up at its end.

`account_shown.py` draws the line or the bar, `account_summary.py` the table. The room imports `reports.text` and
what `reports` may import.
"""
