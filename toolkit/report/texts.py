"""A language of the report or of the window: its words, and how it writes numbers, dates and values.

`en.yaml` and `es.yaml` hold the texts. A sentence has a key. In the report it is Typst markup that
`report.typ` evaluates; in the window, words in braces are replaced. A word (a table's head, a label in a
figure) is its own key, in English. A further language is one more file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.metrics import METRICS, number

FOLDER = Path(__file__).parent
LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


class Texts:
    """The texts of one language.

    Attributes
    ----------
    language : "en".
    words : English -> this language; what is missing stays English.
    meanings : name of a hyperparameter -> what it is; what is missing is taken from the configuration's help.
    for_figures : the options with which `figures` draws in this language.
    """

    def __init__(self, language: str, folder: Path = FOLDER) -> None:
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the window must not wait for the slow one
        content = yaml.load((folder / f"{language}.yaml").read_text(encoding="utf-8"), loader)
        self.language = language
        self.sentences: dict[str, str] = content["sentences"]
        self.words: dict[str, str] = content.get("words") or {}
        self.meanings: dict[str, str] = content.get("meanings") or {}
        self.for_figures: dict[str, Any] = {"label": self.word, "language": language}

    def say(self, key: str, **values: object) -> str:
        """Return a sentence with its words in braces replaced."""
        return self.sentences[key].format(**values)

    def word(self, english: str) -> str:
        """Translate a word."""
        return self.words.get(english, english)

    def the(self, kind: str, names: Mapping[str, str], *, first: bool = False) -> str:
        """Name a model inside a sentence, with its article if it has one, or as its first word."""
        text = self.sentences.get(kind, names[kind]).strip()
        return capital(text) if first else text

    def number(self, value: float | None, digits: int | None = None) -> str:
        return number(value, digits, self.language)

    def metric(self, name: str, value: float | None) -> str:
        """Write a metric's value with its unit."""
        return METRICS[name].text(value, self.language)

    def percent(self, share: float | None, digits: int = 2) -> str:
        """Write a share, 0 to 1, in percent."""
        text = self.number(None if share is None else 100 * share, digits)
        return text if text == "–" else f"{text}\N{NO-BREAK SPACE}%"

    def points(self, share: float | None, margin: float | None = None) -> str:
        """Write a share, or a difference of two, in percentage points, with ± a margin if there is one."""
        text = self.number(None if share is None else 100 * share, 2)
        return text if margin is None else f"{text} ± {self.number(100 * margin, 2)}"

    def mean(self, shares: Sequence[float]) -> str:
        """Write the mean of shares in percentage points, from two on with ± their standard deviation."""
        import statistics  # slow to import, and the window does not need it

        spread = statistics.stdev(shares) if len(shares) > 1 else None
        return self.points(statistics.mean(shares), spread) if shares else "–"

    def value(self, value: Any) -> str:
        """Write an entry of a configuration."""
        if isinstance(value, bool):
            return self.word("yes" if value else "no")
        if isinstance(value, (list, tuple)):
            return ", ".join(map(self.value, value)) or "–"
        if isinstance(value, float):
            return self.number(value)
        # Names such as "one-cycle" are not broken at the end of a line.
        return "–" if value is None else str(value).replace("-", "\N{NON-BREAKING HYPHEN}")


def capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]
