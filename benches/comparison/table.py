"""The table of times and ratios."""

import statistics

from .bars import PEER, bar
from .libraries import SUBJECT


def readable(value, unit):
    """Three digits in a fitting unit."""
    if unit == "s":
        value, unit = next(
            ((value * factor, name) for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if value * factor >= 1), (value * 1e9, "ns")
        )
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


class Table:
    """Prints rows as they come."""

    def __init__(self, peers, markdown):
        self.names, self.markdown = [peer.name for peer in peers], markdown
        self.footnotes = []
        self.missed = self.judged = 0
        head = [*self.names, *(["bar"] if PEER in self.names else [])]
        self.line("", *head)
        if markdown:
            print("|---" * (len(head) + 1) + "|")

    def line(self, first, *cells):
        if self.markdown:
            print(f"| {' | '.join([first, *cells])} |", flush=True)
        else:
            print(f"{first:42}" + "".join(f"{cell:>20}" for cell in cells), flush=True)

    def row(self, title, results, unit):
        base = results.get(SUBJECT, {}).get("seconds")
        cells = [self.cell(title, name, results.get(name, {}), base, unit) for name in self.names]
        if PEER in self.names:
            cells.append(self.verdict(title, base, results.get(PEER, {}).get("seconds")))
        self.line(title, *cells)

    def verdict(self, title, own, other):
        """The bar, and where it was missed the ratio that was reached."""
        limit = bar(title)
        if limit is None or not own or not other:
            return ""
        reached = statistics.median(a / b for a, b in zip(own, other))
        self.judged += 1
        self.missed += reached > limit
        return f"{limit:.2f}" + (f" ! {reached:.2f}" if reached > limit else "")

    def cell(self, title, name, result, base, unit):
        if "error" in result:
            if not result["error"].startswith("NotImplementedError: no "):
                self.footnotes.append(f"{title}, {name}: {result['error']}")
            return "–"
        text = readable(statistics.median(result["seconds"]), unit)
        if base and name != SUBJECT:
            text += f" ({statistics.median(other / own for other, own in zip(result['seconds'], base)):.2f}x)"
        if result.get("differs"):
            self.footnotes.append(f"{title}, {name}: the result differs")
            text += " !"
        return text

    def end(self):
        if self.judged:
            self.footnotes.append(f"{self.missed} of {self.judged} bars missed (a bar: ferrograd's time over {PEER}'s, at most)")
        for note in self.footnotes:
            print(f"\n{note}" if self.markdown else note)
