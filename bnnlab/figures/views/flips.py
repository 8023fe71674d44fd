"""How many signs flip, over training."""

from bnnlab.figures.layer_lines import LayerLines
from bnnlab.figures.series import Series


class Flips(LayerLines):
    """Share of each layer's signs that changed between one look and the next.

    With several seeds the line is their mean and the band their range.
    """

    key = "flips"
    title = "Flips"
    question = "Whether the bits settle, and in which layers."
    order = 35
    column, named, digits = "flips", "flips (%)", "0.00"
    lacking = "no layer here has 1-bit weights"

    def has(self, layer):
        """Return whether a layer's weights are signs."""
        return layer["weight_bits"] == 1

    def shown(self, series):
        """Return the shares in percent."""
        return Series(series.x, *(100 * column for column in series[1:]))
