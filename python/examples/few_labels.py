"""How far labels go: a classifier of what layers have learned, of what random layers make, and of the pixels themselves.

    pip install './python[sklearn]'
    export STRATA_DATA=datasets
    coordinator run configs/cifar10-tiny.toml --local 1 --out runs/trained
    coordinator baseline random configs/cifar10-tiny.toml --local 1 --out runs/random
    python python/examples/few_labels.py --run runs/trained --random runs/random --coordinator target/release/coordinator

Prints a table for docs/results/few-labels.md. Labelled samples are drawn anew for each of five draws; the test set chooses nothing.
"""

import argparse
import os
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

arguments = argparse.ArgumentParser()
arguments.add_argument("--run", required=True)
arguments.add_argument("--random", required=True)
arguments.add_argument("--coordinator", default="coordinator")
arguments.add_argument("--labels", type=int, nargs="+", default=[10, 40, 100, 400])
arguments.add_argument("--draws", type=int, default=5)
given = arguments.parse_args()
warnings.filterwarnings("ignore", message="lbfgs failed to converge")


def pixels(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images of CIFAR-10 as its files have them, and their labels."""
    files = [f"data_batch_{batch}" for batch in range(1, 6)] if part == "train" else ["test_batch"]
    folder = Path(os.environ["STRATA_DATA"]) / "cifar-10-batches-bin"
    records = np.concatenate([np.fromfile(folder / f"{file}.bin", np.uint8) for file in files]).reshape(-1, 3073)
    return records[:, 1:].astype(np.float32) / 255.0, records[:, 0]


def samples(run: str, part: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The features of a part of the data set and its labels, by the program."""
    out = folder / f"{Path(run).name}-{part}.npz"
    command = [given.coordinator, "features", run, f"cifar-10:{part}", "--out", out, "--local", "2"]
    subprocess.run(command, check=True)
    with np.load(out) as arrays:
        return arrays["features"], arrays["labels"]


def accuracies(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray, each: int) -> str:
    """Mean and deviation, over draws, of a classifier that has learned from so many labels of each class."""
    found = []
    for draw in range(given.draws):
        random = np.random.default_rng(draw)
        few = np.concatenate([random.permutation(np.where(labels == kind)[0])[:each] for kind in np.unique(labels)])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        found.append(100 * model.fit(train[few], labels[few]).score(test, truth))
    return f"{np.mean(found):.2f} ± {np.std(found, ddof=1):.2f} %"


with tempfile.TemporaryDirectory() as name:
    columns = {}
    for words, run in (("trained", given.run), ("random weights", given.random)):
        columns[words] = (*samples(run, "train", Path(name)), *samples(run, "test", Path(name)))
    columns["pixels"] = (*pixels("train"), *pixels("test"))
for column in columns.values():
    assert (column[1] == columns["pixels"][1]).all() and (column[3] == columns["pixels"][3]).all(), "one order of samples"
print("| labels of each class |", " | ".join(columns), "|")
print("| ---: |", " | ".join("---:" for _ in columns), "|")
for each in given.labels:
    print(f"| {each} |", " | ".join(accuracies(*column, each) for column in columns.values()), "|", flush=True)
