"""What trained networks have learned, as the papers show it, and the cost of their exits."""
