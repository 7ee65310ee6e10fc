"""What the scripts share: data, augmentation, training, sweeps, metrics, figures."""

import os
import sys


def _end_quietly(kind, error, trace):
    """End with 130 when Ctrl-C comes while a script is still importing; show any other error as usual."""
    if issubclass(kind, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr, flush=True)
        os._exit(130)
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _end_quietly
