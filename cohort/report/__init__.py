"""A page about runs and studies, for people: read from their folders alone, whatever state these are in.

``reading`` takes a run's files as they are, ``settings``, ``curves``, ``events`` and ``students`` say what
of them is shown, ``groups`` compares runs, ``study`` shows one; ``page`` puts it together, ``write`` puts it
on disk. No torch, no Ray, and no code that a file names is run.
"""
