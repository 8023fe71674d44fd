"""The small integers that weights and activations are, as bits.

An activation is low + gap * b with b in binary: that of -1 and +1 is -1 + 2 b. A weight c from
-n to n is half a sum of signs: with top = n, or 2 n where even integers occur too,

    c = (n / top) * sum over j of g_j s_j,    g = 1, 2, 4, ..., 2**(m - 2), r,    s_j = -1 or +1,

m being the bits of `top` and r what its sum with the others is `top` with. So products of few-bit
numbers are sums of products of single bits, and a layer has as many sign planes as its levels ask.
"""

from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np

SIGNS = (-1, 1)
TERNARY = (0, 0, -1, 1)  # by sign bit and mask bit


@dataclass(frozen=True)
class Codes:
    """The values of a quantized activation: integers times a step.

    Attributes:
        codes: the integers, ascending, 2 to 256 of them.
        step: what they are multiplied by; positive.
    """

    codes: tuple[int, ...]
    step: float

    @property
    def low(self) -> int:
        """The least integer: the one whose bits are all zero."""
        return self.codes[0]

    @cached_property
    def gap(self) -> int:
        """The largest number of which all distances are multiples."""
        return gcd(*(code - self.low for code in self.codes))

    @cached_property
    def planes(self) -> int:
        """Bits of (code - low) / gap."""
        return ((self.codes[-1] - self.low) // self.gap).bit_length()

    @property
    def largest(self) -> int:
        """The largest size of a code."""
        return max(-self.codes[0], self.codes[-1])

    @cached_property
    def even(self) -> bool:
        """Whether they lie at equal distances, so that the place of a code is its bits."""
        return self.codes[-1] - self.low == self.gap * (len(self.codes) - 1)

    @cached_property
    def signs(self) -> bool:
        """Whether they are -1 and +1."""
        return self.codes == SIGNS

    @cached_property
    def binary(self) -> np.ndarray:
        """What binary stands for each code: its b."""
        return (np.array(self.codes) - self.low) // self.gap

    def describe(self) -> str:
        """In words."""
        return "signs" if self.signs else f"{(len(self.codes) - 1).bit_length()}-bit codes"


@dataclass(frozen=True)
class Levels:
    """The values of quantized weights: integers, each of which some bits stand for.

    Attributes:
        table: the integer that each pattern of bits stands for; 2, 4, 8 ... or 256 of them.
    """

    table: tuple[int, ...]

    @property
    def bits(self) -> int:
        """Bits of a stored weight."""
        return (len(self.table) - 1).bit_length()

    @cached_property
    def largest(self) -> int:
        """The largest size of a weight."""
        return max(1, *(abs(level) for level in self.table))

    @cached_property
    def gap(self) -> int:
        """2 where all are odd, else 1."""
        return 2 if all(level % 2 for level in self.table) else 1

    @cached_property
    def factors(self) -> tuple[int, ...]:
        """g_j; the sum over j of g_j s_j is 2 / gap times the weight."""
        top = 2 * self.largest // self.gap
        powers = tuple(2**j for j in range(top.bit_length() - 1))
        return (*powers, top - sum(powers))

    @cached_property
    def _steps(self) -> np.ndarray:
        """How many gaps above the lowest each level is."""
        return (np.array(self.table) + self.largest) // self.gap

    @cached_property
    def sign_codes(self) -> np.ndarray:
        """By pattern, the bits that say which of its signs are +1, uint8 or int32."""
        powers = self.factors[:-1]
        half, u = 2 ** len(powers), self._steps
        codes = np.where(u < half, u, half + u - self.factors[-1])
        return codes.astype(np.uint8 if len(self.factors) <= 8 else np.int32)

    def patterns(self, sign_codes: np.ndarray) -> np.ndarray:
        """The patterns whose signs these are, uint8."""
        found = np.zeros(2 ** len(self.factors), np.uint8)
        found[self.sign_codes[::-1]] = np.arange(len(self.table), dtype=np.uint8)[::-1]
        return found[sign_codes]

    def describe(self) -> str:
        """In words."""
        return "ternary" if self.table == TERNARY else f"{self.bits}-bit"
