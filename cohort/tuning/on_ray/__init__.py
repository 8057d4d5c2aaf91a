"""Studies on Ray Tune: all that needs ray.

- ``run``: ``run_study``, from a study to its results, by way of one ``session`` of training.
- ``placing``: what each trial takes of the cluster, tried out before anything starts.
- ``fit``: trials started, watched, stopped. ``watch``: what happens to them, shown and put on record.
- ``searcher`` hands out trials; ``schedulers`` decides which of them go on.
- ``trial`` and ``reporter``: what runs in a trial's process, and what it tells Tune.
"""
