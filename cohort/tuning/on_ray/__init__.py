"""Studies on Ray Tune.

- ``run``: ``run_study``, from a study to its results, by way of one ``session`` of training.
- ``fit``: trials started, watched, stopped. ``placing``: their places. ``watch``: what happens to
  them, shown and put on record. ``unsaved``: what Tune would save, and need not.
- ``searcher`` hands out trials; ``schedulers`` and ``population`` decide which of them go on.
- ``trial`` and ``reporter``: what runs in a trial's process, and what it tells Tune; ``exploit``: a
  trial that goes on from another one's weights.
"""
