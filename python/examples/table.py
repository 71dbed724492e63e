"""A table: features of its rows, learned without labels, serve a classifier in a scikit-learn pipeline.

    pip install './python[sklearn]'
    cargo build --release && export STRATA_BIN=target/release
    python python/examples/table.py
"""

# %% The data: 569 tumours of 30 measures each, malignant or benign, which scikit-learn ships.
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import strata

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)

# %% Features, and a classifier of them. The network sees no label.
classifier = LogisticRegression(max_iter=200)
features = make_pipeline(strata.SCFF(), StandardScaler(), classifier)
features.fit(X_train, y_train)
print(f"on features:  {features.score(X_test, y_test):.3f} of the test rows are right")

# %% The same classifier of the columns themselves.
columns = make_pipeline(StandardScaler(), classifier)
columns.fit(X_train, y_train)
print(f"on columns:   {columns.score(X_test, y_test):.3f}")

# %% What was learned, and how.
network = features[0]
print(f"{X.shape[1]} columns became {features[:1].transform(X_test).shape[1]} features")
for layer in network.summary_["layers"]:
    print(f"{layer['name']}: {layer['steps']} steps in {layer['seconds']:.1f} s, loss {layer['loss']:.3f}")
