"""Time and memory of a fit, for more and more images."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
from measuring import Settings, one_training, table

TITLE = "Time and memory for more images"
MINUTES = 7
MODELS = {"svm": "SVM, fit", "ann": "ANN, one epoch"}


def measure(settings: Settings) -> dict[str, Any]:
    """Fit each model on each size in a fresh process, once."""
    result: dict[str, Any] = {"copies": settings.copies}
    sizes = [*((size, 0) for size in settings.sizes), (settings.sizes[-1], settings.copies)]
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            result[model] = []
            for limit, copies in sizes:
                flags = replace(settings, limit=limit).flags()
                took = one_training(model, *flags, "--copies", copies, folder=folder)
                result[model].append(took)
                shown = f"{took['seconds']:.1f} s, peak {took['peak']:,.0f} MB"
                print(f"  {MODELS[model]}, {took['images']:,} images: {shown}", flush=True)
    return result


def exponent(rows: list[dict[str, Any]], value: str) -> float:
    """Return b of value = a n^b, by least squares of the logarithms."""
    numbers = [row["seconds"] if value == "seconds" else row["peak"] - row["base"] for row in rows]
    x, y = np.log([row["images"] for row in rows]), np.log(np.maximum(numbers, 1e-6))
    return float(np.polyfit(x, y, 1)[0])


def page(result: dict[str, Any]) -> str:
    """Write the result as Markdown."""
    columns = [(model, value) for model in MODELS for value in ("seconds", "peak")]
    head = [MODELS[model] if value == "seconds" else "peak memory" for model, value in columns]
    rows = [["images", *head]]
    sizes = [f"{row['images']:,}" for row in result["svm"]]
    sizes[-1] += f", {result['copies']} of {result['copies'] + 1} of them variants"
    for number, size in enumerate(sizes):
        fits = [result[model][number] for model in MODELS]
        cells = [(f"{fit['seconds']:,.1f} s", f"{fit['peak']:,.0f} MB") for fit in fits]
        rows.append([size, *(cell for pair in cells for cell in pair)])
    for title, end in (("exponent, images of MNIST", -1), ("exponent, with the variants", None)):
        exponents = [exponent(result[model][:end], value) for model, value in columns]
        rows.append([title, *(f"{b:.2f}" for b in exponents)])
    return f"""Each in a fresh process, once: the SVM with its default configuration, and the quickest network
above. After an epoch the network is measured on up to 6,000 images, which is counted: its exponent is lower.
Exponents are fitted by least squares of the logarithms; those of the memory without what the libraries take.
A network that trains with `--augment` needs no copies, and no memory for them.

{table(*rows)}"""
