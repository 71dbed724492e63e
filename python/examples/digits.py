"""Three commands from a folder of unlabelled pictures to features, and what the features are worth.

    pip install './python[sklearn]' pillow
    STRATA_DATA=datasets python python/examples/digits.py --coordinator target/release/coordinator

Writes MNIST's first 7,000 training images, and its test images, as PNG files without labels; has the program look at them, train and
compute features, no file edited; and compares logistic regression on features and on pixels. The test images choose nothing.
"""

import argparse
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

arguments = argparse.ArgumentParser()
arguments.add_argument("--coordinator", default="coordinator")
given = arguments.parse_args()
warnings.filterwarnings("ignore", message="lbfgs failed to converge")
mnist = Path(os.environ["STRATA_DATA"]) / "mnist"


def read(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many images of MNIST, (samples, 28, 28), and their labels."""
    images = np.fromfile(mnist / f"{part}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28)
    labels = np.fromfile(mnist / f"{part}-labels-idx1-ubyte", np.uint8)[8:]
    return images[:count], labels[:count]


def program(*words: str | Path) -> float:
    """Runs it; returns how many seconds it took."""
    began = time.monotonic()
    subprocess.run([given.coordinator, *words], check=True)
    return time.monotonic() - began


def accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """In percent, of a classifier of standardised columns."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    return 100 * model.fit(train, labels).score(test, truth)


(train, labels), (test, truth) = read("train", 7000), read("t10k", 10000)
with tempfile.TemporaryDirectory() as name:
    place = Path(name)
    for folder, images in (("digits", train), ("test", test)):
        (place / folder).mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(place / folder / f"{index:05}.png")
    seconds = program("init", place / "digits", "--out", place / "digits.toml")
    seconds += program("run", place / "digits.toml", "--local", "1", "--out", place / "run")
    seconds += program("features", place / "run", place / "digits", "--out", place / "digits.npz", "--local", "1")
    program("features", place / "run", place / "test", "--out", place / "test.npz", "--local", "1")
    features, of_test = (np.load(place / f"{part}.npz")["features"] for part in ("digits", "test"))

print(f"init, run and features: {seconds:.0f} s")
few = []
for draw in range(5):
    random = np.random.default_rng(draw)
    few.append(np.concatenate([random.permutation(np.where(labels == digit)[0])[:10] for digit in range(10)]))
for words, of_train, of_tests in (
    ("features", features, of_test),
    ("pixels", train.reshape(7000, -1) / 255.0, test.reshape(10000, -1) / 255.0),
):
    found = [accuracy(of_train[some], labels[some], of_tests, truth) for some in few]
    every = accuracy(of_train, labels, of_tests, truth)
    print(f"{words}: {every:.2f} % with all labels, {np.mean(found):.2f} ± {np.std(found, ddof=1):.2f} % with ten of each digit")
