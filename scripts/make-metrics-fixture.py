"""Writes test/fixtures/metrics.json: what scikit-learn and SciPy say of fixed labels and predictions.

Needs scikit-learn and SciPy. Run from anywhere: python scripts/make-metrics-fixture.py
"""

import json
import pathlib

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    mean_absolute_error,
    precision_recall_fscore_support,
    root_mean_squared_error,
)

rng = np.random.default_rng(0)


def classes(count, labels, predicted):
    """Figures of one classification."""
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=range(count), zero_division=0
    )
    return {
        "classes": count,
        "labels": list(map(int, labels)),
        "predicted": list(map(int, predicted)),
        "accuracy": accuracy_score(labels, predicted),
        "macroF1": f1_score(labels, predicted, average="macro", zero_division=0),
        "matthews": matthews_corrcoef(labels, predicted),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "confusion": confusion_matrix(labels, predicted, labels=range(count)).tolist(),
    }


def numbers(labels, predicted):
    """Figures of one regression."""
    return {
        "labels": list(map(float, labels)),
        "predicted": list(map(float, predicted)),
        "rmse": root_mean_squared_error(labels, predicted),
        "mae": mean_absolute_error(labels, predicted),
        "pearson": float(pearsonr(labels, predicted).statistic),
        "spearman": float(spearmanr(labels, predicted).statistic),
    }


labels = rng.integers(0, 5, 60)
noisy = np.where(rng.random(60) < 0.6, labels, rng.integers(0, 5, 60))
truth = rng.normal(3, 2, 40)
fixture = {
    "classification": [
        classes(5, labels, noisy),
        # Class 3 of 6 is neither a label nor a prediction; 5 is only predicted, 4 never.
        classes(6, [0, 0, 1, 2, 2, 4, 4], [0, 1, 1, 2, 5, 0, 2]),
        classes(2, [1, 0, 1, 1, 0, 1, 0, 0], [1, 0, 0, 1, 1, 1, 0, 0]),
        classes(2, [1, 1, 0, 0], [1, 1, 1, 1]),
        classes(3, [2, 0, 1], [2, 0, 1]),
    ],
    "regression": [
        numbers(truth, truth * 0.7 + rng.normal(0, 1, 40)),
        # Ties on both sides.
        numbers(np.round(truth), np.round(truth + rng.normal(0, 2, 40))),
        numbers([1, 2, 3], [3, 2, 1]),
    ],
}
target = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "metrics.json"
target.write_text(json.dumps(fixture) + "\n")
