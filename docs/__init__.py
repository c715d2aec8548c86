"""The API reference, made of the docstrings."""
