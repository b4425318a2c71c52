"""Races on a user's own data: plain loops beside ours, over the same records, checked to deliver the same.

Here live the loops that race, the sample and the made-up corpus that they race over, and the table of results.
This room may import the loader, the reports and the rooms below. Only the command line, the benchmarks and the
tools import it.
"""
