"""How good and how calibrated a posterior is."""
