"""The table of times and ratios."""

import statistics

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
        self.line("", *self.names)
        if markdown:
            print("|---" * (len(self.names) + 1) + "|")

    def line(self, first, *cells):
        if self.markdown:
            print(f"| {' | '.join([first, *cells])} |", flush=True)
        else:
            print(f"{first:42}" + "".join(f"{cell:>20}" for cell in cells), flush=True)

    def row(self, title, results, unit):
        base = results.get(SUBJECT, {}).get("seconds")
        self.line(title, *(self.cell(title, name, results.get(name, {}), base, unit) for name in self.names))

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
        for note in self.footnotes:
            print(f"\n{note}" if self.markdown else note)
