"""What a trained network has learned: the analyses of "Be Your Own Teacher" and the cost of its exits."""
