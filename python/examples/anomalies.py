"""How well anomaly scores tell other data from what a network was trained on, beside two common detectors.

    python python/examples/anomalies.py --out docs/results/anomalies.md

Without `--data` it measures tables that scikit-learn ships; with the folder of data sets, images too.

For each pair of sets a small network is trained on the usual one, and `coordinator score` scores held-out samples of both by every
method. An isolation forest and the reconstruction error of PCA, both of scikit-learn, read the same inputs. What is measured is the area
under the ROC curve: the probability that an unusual sample scores higher than a usual one. Methods are compared on samples that
are held out of the training files; the test files are measured once, for the table. Each pair's areas are kept beside the table as soon
as they are measured, in a JSON file; the same command goes on after them.

Needs numpy, scikit-learn and Pillow; MNIST, Fashion-MNIST and CIFAR-10 as `coordinator data fetch` leaves them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import strata

ROOT = Path(__file__).parents[2]
METHODS = ["mahalanobis", "neighbours", "goodness", "partners"]
OTHERS = ["isolation forest", "PCA of the input"]
# Samples that are learned from, held out and tested, at most.
LEARNED, HELD_OUT, TESTED = 20_000, 2_000, 2_000
SMALL = ["layers.0.units=500", "layers.1.units=500", "layers.0.epochs=4", "layers.1.epochs=3"]
TABLE = """
seed = 1
[training]
batch = 50
block = 64
report_every = 50
checkpoint_every = 1000
[[layers]]
name = "dense1"
kind = "dense"
units = 256
pairs = "makes"
transmit = "triangle"
negatives = 3
epochs = 40
lr = 0.003
weight_decay = 1e-4
gamma = 0.9
period = 1000
theta_pos = 4.0
theta_neg = 6.0
lambda = 1e-4
"""

TEXT = """\
# Anomaly scores

`coordinator score` on pairs of sets: a small network is trained on the first one alone, and scores samples of both that it has not
seen. The numbers are areas under the ROC curve in per cent, one seed each: the probability that a sample of the second set scores higher.
Beside them are an isolation forest (200 trees) and the reconstruction error of PCA (as many components as hold 90 % of the variance), both of
scikit-learn, on the same inputs, each column standardised.

    python python/examples/anomalies.py --out docs/results/anomalies.md

With `--data datasets` it measures images too: MNIST and Fashion-MNIST against each other and against glyphs that it draws, CIFAR-10 one class against
the others. Networks: for tables one dense layer of 256 units for 40 epochs; for MNIST and Fashion-MNIST that of `configs/mnist.toml` with 500 units a
layer, on 20,000 images for 4 and 3 epochs; for CIFAR-10 that of `configs/cifar10-tiny.toml` on 4,000 images of one class.

**What no score sees.** Layers standardise every sample: its mean and its deviation over columns or pixels are gone before the first weight. Where
unusual samples differ by just that, scores are no better than chance: most measures of malignant tumours are larger, and the mean of a row's
standardised columns alone tells 98.0 % of pairs apart. There a detector that reads the input itself is the right one.

**Photographs.** One class of CIFAR-10 is hardly told from the others by anything here: at most 66 % of pairs, by goodness or `mahalanobis`.

**Why `partners` is near chance.** Training pushes goodness of pairs of two training samples down. What a pair with an unusual half should
have nothing says: on these sets it is as often lower as it is higher. It is kept for comparison; `mahalanobis` is the default.

## Held-out samples

On samples of the training files that are not learned from. By these the default, `mahalanobis`, was chosen.

HELD_OUT_AREAS

## Test samples

On samples of the test files (of tables, a part that nothing was chosen by), measured once.

TEST_AREAS
"""


@dataclass
class Pair:
    """Samples (samples, ...) of a usual and an unusual set: to learn from, to choose methods on, and to test."""

    name: str
    config: str
    overrides: list[str]
    learned: Any
    held_out: tuple[Any, Any]
    tested: tuple[Any, Any]


def idx(path: Path) -> Any:
    """The numbers of an IDX file, raw or gzipped."""
    found = path if path.exists() else path.with_name(path.name + ".gz")
    data = found.read_bytes() if found.suffix != ".gz" else gzip.decompress(found.read_bytes())
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def idx_images(folder: Path) -> tuple[Any, Any]:
    return idx(folder / "train-images-idx3-ubyte"), idx(folder / "t10k-images-idx3-ubyte")


def cifar(folder: Path, names: list[str]) -> tuple[Any, Any]:
    """Images (samples, 32, 32, 3) and their labels."""
    records = np.concatenate([np.fromfile(folder / name, np.uint8).reshape(-1, 3073) for name in names])
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def glyphs(count: int, seed: int) -> Any:
    """Characters of no script: ten, each of four bent strokes, written `count` times in all by an unsteady hand."""
    shapes = np.random.default_rng(0).uniform(3, 25, size=(10, 4, 3, 2))
    random, drawn, side = np.random.default_rng(seed), [], 4 * 28
    along = np.linspace(0, 1, 24)[:, np.newaxis]
    for index in range(count):
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        for start, bend, end in shapes[index % 10] + random.normal(0, 0.8, size=(4, 3, 2)):
            curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * end
            draw.line([tuple(point) for point in 4 * curve], fill=255, width=int(random.uniform(6, 12)), joint="curve")
        drawn.append(np.asarray(image.resize((28, 28), Image.Resampling.BOX)))
    return np.stack(drawn)


def images(data: Path) -> Iterator[Pair]:
    digits, clothes = idx_images(data / "mnist"), idx_images(fashion(data))
    written = glyphs(HELD_OUT, 1), glyphs(TESTED, 2)
    for name, usual, unusual in [
        ("MNIST, Fashion-MNIST", digits, clothes),
        ("MNIST, made-up glyphs", digits, written),
        ("Fashion-MNIST, MNIST", clothes, digits),
        ("Fashion-MNIST, made-up glyphs", clothes, written),
    ]:
        held_out = usual[0][LEARNED : LEARNED + HELD_OUT], unusual[0][:HELD_OUT]
        tested = usual[1][:TESTED], unusual[1][:TESTED]
        yield Pair(name, "mnist.toml", SMALL, usual[0][:LEARNED], held_out, tested)
    folder = data / "cifar-10-batches-bin"
    train, train_labels = cifar(folder, [f"data_batch_{i}.bin" for i in range(1, 6)])
    test, test_labels = cifar(folder, ["test_batch.bin"])
    for kind, name in [(1, "automobile"), (7, "horse")]:
        usual, others = train[train_labels == kind], train[train_labels != kind]
        yield Pair(
            f"CIFAR-10 {name}, the other classes",
            "cifar10-tiny.toml",
            ["data.samples=0"],
            usual[:4_000],
            (usual[4_000:], others[:HELD_OUT]),
            (test[test_labels == kind], test[test_labels != kind][:TESTED]),
        )


def fashion(data: Path) -> Path:
    own = data / "fashion-mnist"
    return own if own.exists() else Path("/usr/share/datasets/fashion-mnist")


def tables() -> Iterator[Pair]:
    """Usual rows are split into learned, held out and tested; unusual ones into held out and tested."""
    cancer, digits = load_breast_cancer(), load_digits()
    for name, rows, usual in [
        ("breast cancer: benign, malignant", cancer.data, cancer.target == 1),
        ("8x8 digits: 0 to 4, 5 to 9", digits.data, digits.target < 5),
    ]:
        order = np.random.default_rng(0).permutation(len(rows))
        rows, usual = rows[order].astype(np.float32), usual[order]
        ordinary, unusual = rows[usual], rows[~usual]
        first, second, half = int(0.6 * len(ordinary)), int(0.8 * len(ordinary)), len(unusual) // 2
        held_out, tested = (ordinary[first:second], unusual[:half]), (ordinary[second:], unusual[half:])
        yield Pair(name, "table", [], ordinary[:first], held_out, tested)


def coordinator(*words: Any) -> None:
    done = subprocess.run([strata.find_program(), *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"coordinator {' '.join(map(str, words))}\n{done.stderr}")


def train(pair: Pair, folder: Path, local: int) -> Path:
    """Trains a network on what is usual, which needs no labels and no readout."""
    np.save(folder / "learned.npy", pair.learned)
    source = 'path = "learned.npy"'
    if pair.config == "table":
        text = TABLE.replace("[training]", f"[data]\n{source}\n[training]")
    else:
        text = (ROOT / "configs" / pair.config).read_text()
        for name in ["mnist", "cifar-10"]:
            text = text.replace(f'name = "{name}"', source)
        text = text.partition("[readout]")[0]
    (folder / "config.toml").write_text(text)
    words = [word for override in pair.overrides for word in ("--set", override)]
    coordinator("run", folder / "config.toml", "--out", folder / "run", "--local", local, *words)
    return folder / "run"


def scores(run: Path, samples: Any, method: str, folder: Path, local: int) -> list[float]:
    np.save(folder / "samples.npy", samples)
    (folder / "scores.csv").unlink(missing_ok=True)
    out = folder / "scores.csv"
    coordinator("score", run, folder / "samples.npy", "--out", out, "--method", method, "--local", local)
    with out.open(newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


def areas(usual: list[list[float]], unusual: list[list[float]]) -> list[float]:
    """The area of each method, by its scores of both sets."""
    return [roc_auc_score([0] * len(a) + [1] * len(b), [*a, *b]) for a, b in zip(usual, unusual)]


def others(pair: Pair) -> Any:
    """What scikit-learn's detectors say of samples: a function of samples to a list of scores for each."""
    scaler = StandardScaler().fit(pair.learned.reshape(len(pair.learned), -1).astype(np.float64))
    learned = scaler.transform(pair.learned.reshape(len(pair.learned), -1).astype(np.float64))
    forest = IsolationForest(n_estimators=200, random_state=0).fit(learned)
    pca = PCA(n_components=0.9, svd_solver="full").fit(learned)

    def of(samples: Any) -> list[list[float]]:
        rows = scaler.transform(samples.reshape(len(samples), -1).astype(np.float64))
        rebuilt = pca.inverse_transform(pca.transform(rows))
        return [list(-forest.score_samples(rows)), list(((rows - rebuilt) ** 2).mean(axis=1))]

    return of


def measured(pair: Pair, local: int) -> tuple[list[float], list[float]]:
    """The areas of all methods and detectors on what is held out, and on what is tested."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, detectors = train(pair, folder, local), others(pair)

        def of(samples: Any) -> list[list[float]]:
            return [scores(run, samples, method, folder, local) for method in METHODS] + detectors(samples)

        return areas(*map(of, pair.held_out)), areas(*map(of, pair.tested))


def table(rows: list[tuple[str, list[float]]]) -> list[str]:
    columns = METHODS + OTHERS
    lines = ["| learned, unusual | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    means = [float(np.mean([areas[place] for _, areas in rows])) for place in range(len(columns))]
    for name, row in [*rows, ("mean", means)]:
        lines.append(f"| {name} | " + " | ".join(f"{100 * area:.1f}" for area in row) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of data sets, to measure images too")
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    parser.add_argument("--local", type=int, default=1, help="worker processes")
    arguments = parser.parse_args()
    kept = arguments.out.with_suffix(".json")
    rows: dict[str, list[list[float]]] = json.loads(kept.read_text()) if kept.exists() else {}
    for pair in chain(tables(), images(arguments.data) if arguments.data else []):
        if pair.name not in rows:
            rows[pair.name] = list(measured(pair, arguments.local))
            kept.write_text(json.dumps(rows, indent=1) + "\n")
            print(pair.name, rows[pair.name], flush=True)
    held_out, tested = ([(name, areas[place]) for name, areas in rows.items()] for place in (0, 1))
    text = TEXT.replace("HELD_OUT_AREAS", "\n".join(table(held_out))).replace("TEST_AREAS", "\n".join(table(tested)))
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
