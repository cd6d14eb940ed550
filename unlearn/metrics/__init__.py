"""Metrics: pure functions on score tables and on generated answers, and their catalogue.

`catalogue` says of every metric which way is good and what it is called. `tofu` and `muse` hold the
measures of these benchmarks, `choice` those of multiple choice, `memorization` what a model can
recite, `privacy` what gives away which rows it has seen, `text` what its generated answers share
with the true ones; `table` is how they all read a score table. Nothing here knows of models, files
or configurations: the evaluation room writes the tables and names the results.
"""
