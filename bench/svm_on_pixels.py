"""The SVM's fit and predictions, against scikit-learn's `SVC(C=5, gamma=0.02)` on pixels."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from typing import Any

from measuring import Settings, one_training, spread, table

TITLE = "The SVM against an SVM on pixels"
MINUTES = 6
MOST = 720  # seconds for the SVM on pixels


def measure(settings: Settings) -> dict[str, Any]:
    """Fit each in a fresh process: ours several times, the one on pixels once, after our first."""
    result: dict[str, Any] = {"ours": [], "pixels": None}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(settings.repeats):
            result["ours"].append(one(settings, "svm", folder))
            if number == 0:
                try:
                    result["pixels"] = one(settings, "pixels", folder)
                except subprocess.TimeoutExpired:
                    print(f"  pixels: stopped after {MOST} s", flush=True)
    return result


def one(settings: Settings, model: str, folder: str) -> dict[str, Any]:
    """Fit one machine in a fresh process."""
    took = one_training(model, "--test", *settings.flags(), folder=folder, timeout=MOST)
    shown = (
        f"fit {took['seconds']:.1f} s, predictions {took['predict']:.2f} s, {100 * took['accuracy']:.2f} %"
    )
    print(f"  {model}: {shown}", flush=True)
    return took


def page(result: dict[str, Any]) -> str:
    """Write the result as Markdown."""
    first, pixels = result["ours"][0], result["pixels"]
    rows = [["", "`svm.SVM()`", "`SVC(C=5, gamma=0.02)` on pixels, 0 to 1", "ratio"]]
    what = {
        "seconds": f"fit on {first['images']:,} images",
        "predict": f"{first['predicted']:,} predictions",
    }
    for key, title in what.items():
        own = [took[key] for took in result["ours"]]
        if pixels:
            ratio = f"**{pixels[key] / statistics.median(own):.1f}**"
            rows.append([title, spread(own), spread([pixels[key]]), ratio])
        else:
            rows.append([title, spread(own), f"stopped after {MOST} s, fit and predictions together", "-"])
    if pixels:
        accuracies = [f"{100 * took['accuracy']:.2f} %" for took in (first, pixels)]
        rows.append(["accuracy, test split", *accuracies, ""])
        rows.append(["peak memory", *(f"{took['peak']:,.0f} MB" for took in (first, pixels)), ""])
    return f"""Each in a fresh process. Features and scaling are counted, loading the data is not. The
toolkit's machine fits its pairs of classes on all cores; scikit-learn's uses one.

{table(*rows)}"""
