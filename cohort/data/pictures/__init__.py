"""Pictures in files: found, checked, decoded as a viewer shows them, and cut to one size."""
