"""The scaling factor, over training."""

from bnnlab.figures.layer_lines import LayerLines
from bnnlab.figures.series import Series
from bnnlab.figures.view import Z


class Scale(LayerLines):
    """Scaling factor alpha of each layer: what the weights' signs or levels are multiplied by.

    Where each row or channel has a factor of its own, their mean. Schemes that multiply by none,
    or by 1, have no line. With several seeds the line is their mean and the band their range.
    """

    key = "scale"
    title = "Scaling factor"
    question = "By what each scheme multiplies its signs, and how that settles."
    order = 37
    column, named = "alpha", "α"
    lacking = "no layer here is binarized"

    def has(self, layer):
        """Return whether a layer is binarized."""
        return layer["binarized"]

    def shown(self, series):
        """Return the factors; nothing of those that are 1 throughout."""
        return Series(Z, Z, Z, Z) if (series.mean == 1).all() else series
