"""ReActNet: learnt shifts of what the sign of an activation receives (ECCV 2020)."""

import param
import torch
import torch.nn.functional as F

from bnnlab.schemes.bi_real import BiReal, approx_sign


class ReActNet(BiReal):
    r"""ReActNet's sign and PReLU with learnt shifts.

    Activations, a channel c at a time: RPReLU, $y = \mathrm{PReLU}(x - \gamma_c) + \zeta_c$ with a
    learnt slope $a_c \geq 0$ below zero, then RSign, $\hat x = \mathrm{sign}(y + \beta_c)$ with
    ApproxSign's derivative backward. All four are learnt with the other parameters; they begin at
    0, the slope at 1/4. Weights as in Bi-Real Net. First and last layers stay real.

    Faithfulness: in the paper RPReLU closes a block whose shortcut goes around it, and RSign opens
    the next; networks here have no shortcuts, so that the two meet and, forward, amount to one
    learnt threshold (backward they do not). The slope is kept from becoming negative, which would
    make the activation fall and rise; a neuron then is one threshold of its sum, as packing needs.
    Training in two stages and the distributional loss against a real network are left out.
    """

    key = "react_net"
    title = "ReActNet"
    authors = "Liu, Shen, Savvides, Cheng"
    year = 2020
    order = 1
    reference = "arXiv:2003.03488"
    equations = (
        r"\hat{x} = \mathrm{sign}\left(\mathrm{PReLU}(x - \gamma_c) + \zeta_c + \beta_c\right)",
        r"\hat{w} = \mathrm{mean}|w|\;\mathrm{sign}(w)",
    )
    color = "#001e78"
    dash = "solid"
    marker = "cross"

    rprelu = param.Boolean(
        default=True,
        constant=True,
        doc="Whether the shifted PReLU stands before the shifted sign.",
    )

    def attach_activation(self, module, channels):
        """Give an activation its shifts and, with RPReLU, its slopes, one a channel."""
        module.threshold = torch.nn.Parameter(torch.zeros(channels))
        if self.rprelu:
            module.before = torch.nn.Parameter(torch.zeros(channels))
            module.slope = torch.nn.Parameter(torch.full((channels,), 0.25))
            module.after = torch.nn.Parameter(torch.zeros(channels))

    def activation(self, x, module=None):
        """sign(PReLU(x - before) + after + threshold), without a module sign(x)."""
        if module is None:
            return approx_sign(x)

        def wide(parameter):
            return parameter.reshape(1, -1, *[1] * (x.ndim - 2))

        if self.rprelu:
            x = F.prelu(x - wide(module.before), module.slope.clamp_min(0)) + wide(module.after)
        return approx_sign(x + wide(module.threshold))
