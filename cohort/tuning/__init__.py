"""Studies: many runs from one file, their table and their figure.

The study's file, neither torch nor ray:

- ``study``: from YAML to a ``Study`` and back, by way of ``reading`` (keys and their places),
  ``axes_file``, ``smoke`` (the small size) and ``limits``.
- ``sections``, ``report``, ``space``: what a study consists of; its axes, and the points they span.
- ``check`` with ``check_keys``, ``check_metrics``, ``check_search``: whether all of it can be done.
- ``commands``: what trials run, and their configs.

Its trials, as they lie in the study's folder, no ray:

- ``trials``: a config and a name for each point and seed; ``folder``: what lies where.
- ``measurements``: what a run has measured, under flat names; ``state``: how far a study is.
- ``search``: where points come from, a list or Optuna.
- ``demand``: what a trial takes of a cluster, and whether that ever fits.
- ``exploit``: a run that goes on from another one's weights.

On the cluster, with Ray Tune:

- ``run``: ``run_study``, from all this to the results; ``options``: what the command is asked for.
- ``on_tune``: trials started, watched, stopped; ``placing``: their places; ``watch``: what happens
  to them, shown and put on record; ``unsaved``: what Tune would save, and need not.
- ``searcher`` hands out trials; ``schedulers`` and ``population`` decide which of them go on.
- ``trainable`` and ``reporter``: what runs in the process of a trial, and what it tells Tune.

The results, no ray:

- ``results`` writes all of them: ``table`` (a row per trial), ``summary`` (a row per point) by
  ``statistics``, and ``figure``, of which ``noise`` is one kind.
"""
