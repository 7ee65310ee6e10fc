"""A student's own text: a simple subset of Markdown, read into blocks that report.typ lays out.

Headings, paragraphs, lists, *emphasis*, **strong**, `code` and [links](https://...) are read. Everything else
stays the text that it is: nothing in the file is ever run as Typst markup.
"""

from __future__ import annotations

import re
from typing import Any

HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
ITEM = re.compile(r"\s*(?:[-*+]|(\d+)[.)])\s+(.*)")
INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<strong>\S(?:.*?\S)?)\*\*"
    r"|(?<!\w)([*_])(?P<emph>\S(?:.*?\S)?)\3(?!\w)"
    r"|\[(?P<link>[^\]]+)\]\((?P<url>(?:https?://|mailto:)[^\s)]+)\)"
)


def blocks(text: str) -> list[dict[str, Any]]:
    """Return headings {"heading": level, "text"}, paragraphs {"text"} and lists {"items", "ordered"}.

    A text is a list of parts [style, characters, address]: the style is "", "code", "strong", "emph" or
    "link", and only a link has an address.
    """
    found: list[dict[str, Any]] = []
    fresh = True  # whether the next line begins a block
    for line in text.expandtabs(4).splitlines():
        if not line.strip():
            fresh = True
        elif heading := HEADING.match(line):
            found.append({"heading": len(heading[1]), "text": heading[2]})
            fresh = True
        elif item := ITEM.match(line):
            ordered = item[1] is not None
            if not (found and found[-1].get("ordered") is ordered):
                found.append({"ordered": ordered, "items": []})
            found[-1]["items"].append(item[2])
            fresh = False
        elif fresh or "heading" in found[-1]:
            found.append({"text": line.strip()})
            fresh = False
        elif "items" in found[-1]:
            found[-1]["items"][-1] += f" {line.strip()}"
        else:
            found[-1]["text"] += f" {line.strip()}"
    for block in found:
        if "items" in block:
            block["items"] = [parts(item) for item in block["items"]]
        else:
            block["text"] = parts(block["text"])
    return found


def parts(text: str) -> list[list[str]]:
    """Return a line's parts: style, characters and address of each."""
    found, end = [], 0
    for match in INLINE.finditer(text):
        style = next(name for name in ("code", "strong", "emph", "link") if match[name])
        found += [["", text[end : match.start()], ""], [style, match[style], match["url"] or ""]]
        end = match.end()
    return [part for part in [*found, ["", text[end:], ""]] if part[1]]
