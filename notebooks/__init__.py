"""The notebooks: pairs of a text, which is edited, and an .ipynb, which is made of it by `python -m notebooks`."""
