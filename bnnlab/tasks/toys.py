"""Points of the plane: small enough to train in a second, and their boundary can be drawn."""

import numpy as np
import param

from bnnlab.tasks.base import Split, Task

SEED = 20260101


class Toy(Task):
    """A task in the plane, drawn anew (always the same) for its noise and number of samples."""

    shape = (2,)
    is_2d = True
    order = 10

    noise = param.Number(
        default=0.1,
        bounds=(0, 1),
        constant=True,
        doc="Standard deviation of the noise added to each coordinate.",
    )
    samples = param.Integer(default=1000, bounds=(200, 20_000), constant=True, doc="Points in all.")

    def points(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw points without noise `(samples, 2)`, within about one unit of 0, and labels."""
        raise NotImplementedError

    def load(self):
        """Return 60 % of the points for training, 20 % for validation, 20 % for testing."""
        random = np.random.default_rng(SEED)
        x, y = self.points(random)
        x = x + random.normal(0, self.noise, x.shape)
        order = random.permutation(len(x))
        x, y = x[order].astype(np.float32), y[order].astype(np.int64)
        train, validation = int(0.6 * len(x)), int(0.8 * len(x))
        parts = slice(train), slice(train, validation), slice(validation, None)
        return Split(*(values[part] for part in parts for values in (x, y)))

    def labels(self) -> np.ndarray:
        """Return a class for each sample, in equal shares."""
        return np.arange(self.samples) % self.classes


class Moons(Toy):
    """Two interleaved half circles."""

    key = "moons"
    title = "Moons"
    description = "Two interleaved half circles."
    classes = 2

    def points(self, random):
        """Half circles of radius 2/3, one the other's mirror image."""
        label = self.labels()
        angle = random.uniform(0, np.pi, self.samples)
        side = 1 - 2 * label
        x = side * (np.cos(angle) - 0.5) * 2 / 3
        y = side * (np.sin(angle) - 0.25) * 2 / 3
        return np.stack([x, y], axis=1), label


class Circles(Toy):
    """One circle inside another."""

    key = "circles"
    title = "Circles"
    description = "One circle inside another."
    classes = 2
    order = 11

    def points(self, random):
        """Circles of radius 1 and 1/2."""
        label = self.labels()
        angle = random.uniform(0, 2 * np.pi, self.samples)
        radius = 1 - 0.5 * label
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), label


class Xor(Toy):
    """Opposite quadrants belong together."""

    key = "xor"
    title = "Exclusive or"
    description = "Four squares; opposite ones belong together."
    classes = 2
    order = 12

    def points(self, random):
        """Points of the four quadrants, a gap of 0.1 from the axes."""
        label = self.labels()
        x = random.uniform(0.1, 1, self.samples) * random.choice([-1, 1], self.samples)
        y = random.uniform(0.1, 1, self.samples) * np.sign(x) * (1 - 2 * label)
        return np.stack([x, y], axis=1), label


class Spirals(Toy):
    """Two spirals, the hardest of the toys."""

    key = "spirals"
    title = "Spirals"
    description = "Two spirals of one and a half turns, the hardest of the toys."
    classes = 2
    order = 13

    noise = param.Number(
        default=0.02,
        bounds=(0, 1),
        constant=True,
        doc="Standard deviation of the noise added to each coordinate.",
    )

    def points(self, random):
        """Spirals evenly covered along their length."""
        label = self.labels()
        radius = np.sqrt(random.uniform(0.01, 1, self.samples))
        angle = 3 * np.pi * radius + np.pi * label
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), label
