"""Pictures: features learned without labels, and how well a classifier does on them with few labels.

    pip install './python[sklearn]'
    cargo build --release && export STRATA_BIN=target/release
    python python/examples/pictures.py
"""

# %% The data: 1,797 digits of 8x8 grey pixels, which scikit-learn ships.
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import strata

digits = load_digits()
# Pictures are bytes, (samples, height, width); colours would be a last axis of three.
pictures = (digits.images * (255.0 / digits.images.max())).astype(np.uint8)
train, test = np.arange(1200), np.arange(1200, 1797)

# %% A network learns from the pictures alone. `set` changes any key of the configuration that suits them.
network = strata.SCFF(local=1).fit(pictures[train])
features = network.transform(pictures)
print(f"64 pixels became {features.shape[1]} features")


# %% A classifier of features and one of pixels, with 5 and with 50 labels of each digit.
def accuracy(samples: np.ndarray, labels: int) -> float:
    """The share of the test pictures that are classified as what they are."""
    few = np.concatenate([train[digits.target[train] == digit][:labels] for digit in range(10)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    classifier.fit(samples[few], digits.target[few])
    return float(classifier.score(samples[test], digits.target[test]))


pixels = pictures.reshape(len(pictures), -1).astype(float)
for labels in (5, 50):
    on_features, on_pixels = accuracy(features, labels), accuracy(pixels, labels)
    print(f"{labels:3} labels of each digit: {on_features:.3f} on features, {on_pixels:.3f} on pixels")
