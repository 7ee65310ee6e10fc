"""What the scripts share: data, augmentation, training, sweeps, metrics, figures."""

import os
import signal
import sys
import threading


def interrupt(number, frame):
    """Raise KeyboardInterrupt as Python does on Ctrl-C, but only when no import is under way.

    Inside an import, NumPy makes another error of it, and PyTorch's C++ code aborts the process.
    """
    outer = frame
    while outer is not None and outer.f_code.co_filename != "<frozen importlib._bootstrap>":
        outer = outer.f_back
    if outer is not None and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.02)  # look again
    else:
        raise KeyboardInterrupt


def _end_quietly(kind, error, trace):
    """End with 130 when Ctrl-C comes while a script is still importing; show any other error as usual."""
    if issubclass(kind, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr, flush=True)
        os._exit(130)
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _end_quietly
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, interrupt)
