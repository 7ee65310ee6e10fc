"""What helps in the window: hints under the pointer, and the list of all keys."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import ttk

from toolkit.cards import Look

DELAY = 600  # ms that the pointer rests before a hint is shown


class Tip:
    """Shows a hint while the pointer rests on a widget, or the keyboard's focus is on it."""

    def __init__(self, widget: tk.Misc, look: Look, text: str) -> None:
        self._widget, self._look, self._text = widget, look, text
        self._root = widget.winfo_toplevel()
        self._pending = ""
        self._shown: tk.Toplevel | None = None
        for event in ("<Enter>", "<FocusIn>"):
            widget.bind(event, self._soon, add=True)
        for event in ("<Leave>", "<ButtonPress>", "<FocusOut>", "<KeyPress>"):
            widget.bind(event, self._hide, add=True)

    def _soon(self, event: tk.Event) -> None:
        self._hide(event)
        self._pending = self._root.after(DELAY, self._show)

    def _show(self) -> None:
        look = self._look
        self._shown = tk.Toplevel(self._root, background=look.colour["line"])
        self._shown.overrideredirect(True)
        label = tk.Label(self._shown, text=self._text, font=look.font(12), justify="left", padx=look.px(8))
        label.configure(background=look.colour["card"], foreground=look.colour["ink"], pady=look.px(4))
        label.pack(padx=1, pady=1)
        below = self._widget.winfo_rooty() + self._widget.winfo_height() + look.px(4)
        if below + label.winfo_reqheight() + 2 > self._root.winfo_screenheight():
            below = self._widget.winfo_rooty() - label.winfo_reqheight() - look.px(6)
        self._shown.geometry(f"+{self._widget.winfo_rootx()}+{below}")

    def _hide(self, event: tk.Event) -> None:
        if self._pending:
            self._root.after_cancel(self._pending)
            self._pending = ""
        if self._shown is not None:
            self._shown.destroy()
            self._shown = None


def show_keys(root: tk.Tk, look: Look, keys: Sequence[tuple[str, str]]) -> tk.Toplevel:
    """Open a window that lists keys and what they do. Esc, F1 and ? close it."""
    window = tk.Toplevel(root, background=look.colour["line"])
    window.title(look.texts.say("keys"))
    window.transient(root)
    frame = ttk.Frame(window, padding=look.px(20))
    frame.pack(padx=1, pady=1)
    for row, (key, meaning) in enumerate(keys):
        label = ttk.Label(frame, text=key, font=look.font(13, "bold"))
        label.grid(row=row, column=0, sticky="w", pady=look.px(3))
        ttk.Label(frame, text=meaning, font=look.font(13)).grid(
            row=row, column=1, sticky="w", padx=(look.px(20), 0)
        )
    for event in ("<Escape>", "<F1>", "<question>"):
        window.bind(event, lambda event: window.destroy())
    window.geometry(f"+{root.winfo_rootx() + look.px(60)}+{root.winfo_rooty() + look.px(60)}")
    window.focus_set()
    return window
