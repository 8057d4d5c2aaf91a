"""The data sets, one file each: where their pictures lie, and what is in them."""
