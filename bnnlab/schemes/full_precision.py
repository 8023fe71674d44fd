"""The float twin: no binarization at all."""

from bnnlab.schemes.base import Quantized, Scheme


class FullPrecision(Scheme):
    r"""Real weights and ReLU activations: what every other scheme is compared with.

    $\hat w = w$, no estimator, no clipping. Its latent weights start equal to those of the other
    schemes, so that a comparison shows the binarization and nothing else.
    """

    key = "full_precision"
    title = "Full precision"
    authors = ""
    year = 0
    reference = ""
    equations = (r"\hat{w} = w",)
    color = "#4d4d4d"
    dash = "solid"
    marker = "circle"

    def quantize(self, w, second_moment=None, generator=None):
        """The weights as they are."""
        return Quantized(w)

    def weight(self, layer):
        """The weights as they are."""
        return layer.weight
