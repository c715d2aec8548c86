"""One list of colours for all figures."""

from __future__ import annotations

import matplotlib
from matplotlib.colors import to_rgb

COLOURS = tuple(to_rgb(colour) for colour in matplotlib.color_sequences["tab10"])
