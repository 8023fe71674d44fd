"""Handwritten digits: the 1,797 images that come with scikit-learn."""

import numpy as np

from bnnlab.tasks.base import Split, Task


class Digits(Task):
    """Images of 8 x 8 pixels with 17 grey levels, from 43 people.

    Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
    Learning Repository, 1998 (its test set).
    """

    key = "digits"
    title = "Digits"
    description = "1,797 handwritten digits of 8 x 8 pixels; always at hand."
    inputs = 64
    classes = 10
    order = 0

    def load(self, progress=None):
        """Return 1257, 270 and 270 images, each class in equal shares.

        Pixels p (0 to 16) become (p - 8) / 8: multiples of 1/8, so that their sums with signs are
        exact in float32, whatever the order.
        """
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        pixels, labels = load_digits(return_X_y=True)
        x, y = ((pixels - 8) / 8).astype(np.float32), labels.astype(np.int64)
        train_x, rest_x, train_y, rest_y = train_test_split(
            x, y, test_size=540, random_state=0, stratify=y
        )
        validation_x, test_x, validation_y, test_y = train_test_split(
            rest_x, rest_y, test_size=270, random_state=0, stratify=rest_y
        )
        parts = train_x, train_y, validation_x, validation_y, test_x, test_y
        return Split(*map(np.asarray, parts))
