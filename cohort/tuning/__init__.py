"""Studies: many runs from one file, their table and their figure.

What a study is, neither torch nor ray:

- ``study``, ``report``: what it consists of. ``axes``: what is varied. ``space``: the points that
  axes span.
- ``commands``: what its trials run. ``trials``: a config and a name for each point and seed.
- ``folder``: what lies where. ``measurements``: what a run has measured, under flat names.
- ``state``: how far a study is, from its folder alone. ``locks``: who works on it.
- ``search``: where points come from, a list or Optuna.
- ``demand``: what a trial takes of a cluster, and whether that ever fits.
- ``options``: what the command is asked for. ``progress``: trials as they go, on a terminal.

``file``: from YAML to a ``Study`` and back, everything checked before anything starts.
``on_ray``: ``run_study``, trials on Ray Tune.
``results``: tables, statistics over seeds, figures.
"""
