"""A drawing of the recorded graph, in the language of Graphviz."""

import shutil
import subprocess

from ferrograd._C import Tensor

__all__ = ["Dot", "dot"]


class Dot(str):
    """Graphviz source: a string that notebooks show as a picture if the ``dot`` program is installed, as text if not."""

    def svg(self):
        """The picture, or None without the ``dot`` program."""
        program = shutil.which("dot")
        if program is None:
            return None
        return subprocess.run([program, "-Tsvg"], input=self, capture_output=True, text=True, check=True).stdout

    def _repr_mimebundle_(self, include=None, exclude=None):
        svg = self.svg()
        return {"text/plain": str(self)} if svg is None else {"image/svg+xml": svg, "text/plain": str(self)}


def dot(output, params=None):
    """The graph that led to a tensor (or to several): ops by name, the leaves and results with their shapes.

    `params`, a dict of names to tensors, names leaves: ``dict(model.named_parameters())``.

    >>> ferrograd.utils.graph.dot(loss, {"w1": w1, "w2": w2})
    """
    outputs = [output] if isinstance(output, Tensor) else list(output)
    for y in outputs:
        if not isinstance(y, Tensor):
            raise TypeError(f"dot: expected a Tensor or several, got {type(y)}")
    drawing = _Drawing({id(x): name for name, x in (params or {}).items()})
    for y in outputs:
        drawing.add_output(y)
    return drawing.source()


class _Drawing:
    """Lines of source; each node is drawn once."""

    def __init__(self, names):
        self.names = names
        self.numbers = {}
        self.nodes = []  # keeps the objects, and with them their ids
        self.lines = []

    def add_output(self, y):
        """Draws a result and all that led to it. Without recursion: graphs may be deep."""
        if y.grad_fn is None:
            self._leaf(y, y)
            return
        name = f"result{len(self.lines)}"
        label = _escaped("\n".join([self.names.get(id(y), "result"), _shape(y)]))
        self.lines.append(f'    {name} [label="{label}", shape=box, style=filled, fillcolor="#caff70"];')
        stack = [y.grad_fn]
        number, _ = self._number(y.grad_fn)
        self._op(y.grad_fn, number)
        self.lines.append(f"    n{number} -> {name};")
        while stack:
            node = stack.pop()
            here = self.numbers[id(node)]
            for before, _ in node.next_functions:
                if before is None:
                    continue
                number, new = self._number(before)
                if new:
                    self._op(before, number)
                    stack.append(before)
                self.lines.append(f"    n{number} -> n{here};")

    def _number(self, node):
        new = id(node) not in self.numbers
        if new:
            self.numbers[id(node)] = len(self.nodes)
            self.nodes.append(node)
        return self.numbers[id(node)], new

    def _op(self, node, number):
        if type(node).__name__ == "AccumulateGrad":
            self._leaf(node, node.variable)
        else:
            self.lines.append(f'    n{number} [label="{_escaped(type(node).__name__)}"];')

    def _leaf(self, node, x):
        number, _ = self._number(node)
        text = "leaf" if x is None else "\n".join([self.names.get(id(x), "leaf"), _shape(x)])
        self.lines.append(f'    n{number} [label="{_escaped(text)}", shape=box, style=filled, fillcolor="#add8e6"];')

    def source(self):
        head = ["digraph {", '    node [fontname="monospace", fontsize=10, height=0.2];']
        return Dot("\n".join([*head, *self.lines, "}", ""]))


def _shape(x):
    return f"({', '.join(map(str, x.shape))})"


def _escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
