"""Finished runs, measured again and analysed as the papers do.

``evaluate`` measures students, exits, members and the ensembles beside them; ``analyse`` draws what a
paper shows: ``self_distillation``, ``ods``, and ``weight_noise``, which two of them show.
"""
