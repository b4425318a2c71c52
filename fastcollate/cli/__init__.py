"""The command line: one file a verb, each thin; `main` finds the verb, and says every error in one line.

A verb says what it takes (`add_arguments`) and does it (`run`); what it prints is made in `reports` and `bench`.
The room may import every other room, and each verb imports the others only when it runs.
"""
