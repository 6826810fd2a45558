"""The process that holds one loaded model and answers its runs: `python -m apps.inference.runner --events-fd N`.

It knows no Django, no database and no prompt text: tokens come in by a pipe, text goes out to each run's event log.
"""
