"""Nested tuples, lists, dicts and the like of values: taken apart, and put together again. Everything else is a leaf."""

from collections import OrderedDict, defaultdict, deque

from ferrograd.return_types import _Results

__all__ = ["TreeSpec", "tree_flatten", "tree_leaves", "tree_map", "tree_structure", "tree_unflatten"]


class TreeSpec:
    """The structure of a tree without its leaves: the kind of its root (None for a leaf), the keys, the children.

    `more` is what else its root is made with: the length that a deque may have, the factory of a defaultdict.
    """

    __slots__ = ("kind", "keys", "children", "more", "num_leaves")

    def __init__(self, kind=None, keys=None, children=(), more=None):
        self.kind, self.keys, self.children, self.more = kind, keys, tuple(children), more
        self.num_leaves = sum(child.num_leaves for child in self.children) if kind else 1

    def is_leaf(self):
        """Whether the tree is just a leaf."""
        return self.kind is None

    def __eq__(self, other):
        if not isinstance(other, TreeSpec):
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self):
        return hash(self._parts())

    def _parts(self):
        return self.kind, self.keys, self.children, self.more

    def __repr__(self):
        return self._text(0)

    def _text(self, indent):
        """As torch's: each child but the first on a line of its own."""
        if self.kind is None:
            return "*"
        if _is_namedtuple(self.kind):
            root = f"namedtuple, {self.kind}"
        else:
            root = f"{self.kind.__name__}, {None if self.keys is None else list(self.keys)}"
        children = f",\n{' ' * (indent + 2)}".join(child._text(indent + 2) for child in self.children)
        return f"TreeSpec({root}, [{children}])"


_LEAF = TreeSpec()
_DICTS = (dict, OrderedDict, defaultdict)


def _is_namedtuple(kind):
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _children(tree):
    """Kind, keys and children of a node; None for a leaf."""
    kind = type(tree)
    if kind in (tuple, list, deque) or _is_namedtuple(kind) or issubclass(kind, _Results):
        return kind, None, tree
    if kind in _DICTS:
        return kind, tuple(tree), tree.values()
    return None


def _more(tree):
    return tree.maxlen if type(tree) is deque else tree.default_factory if type(tree) is defaultdict else None


def tree_flatten(tree, is_leaf=None):
    """The leaves in order, and the structure."""
    node = None if is_leaf and is_leaf(tree) else _children(tree)
    if node is None:
        return [tree], _LEAF
    kind, keys, children = node
    leaves, specs = [], []
    for child in children:
        found, spec = tree_flatten(child, is_leaf)
        leaves += found
        specs.append(spec)
    return leaves, TreeSpec(kind, keys, specs, _more(tree))


def tree_leaves(tree, is_leaf=None):
    """The leaves in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree, is_leaf=None):
    """The structure."""
    return tree_flatten(tree, is_leaf)[1]


def tree_unflatten(leaves, treespec):
    """The tree of a structure with these leaves."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a pytree that holds "
            f"{treespec.num_leaves} items ({treespec})."
        )
    return _build(iter(leaves), treespec)


def _build(leaves, spec):
    if spec.kind is None:
        return next(leaves)
    children = [_build(leaves, child) for child in spec.children]
    if spec.keys is not None:
        items = zip(spec.keys, children)
        return defaultdict(spec.more, items) if spec.kind is defaultdict else spec.kind(items)
    if spec.kind is deque:
        return deque(children, spec.more)
    return spec.kind(*children) if _is_namedtuple(spec.kind) else spec.kind(children)


def tree_map(func, tree, *rests, is_leaf=None):
    """The tree with `func` of each leaf, and of those in its place in the `rests`."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [flatten_like(rest, spec) for rest in rests]
    if None in others:
        raise ValueError(f"tree_map: the trees have different structures; expected {spec}")
    return tree_unflatten([func(*items) for items in zip(leaves, *others)], spec)


def flatten_like(tree, spec):
    """For each leaf of a structure, what the tree has in its place; a leaf of the tree may stand for a whole subtree.

    None if the tree does not fit.
    """
    if spec.kind is None:
        return [tree]
    node = _children(tree)
    if node is None:
        return [tree] * spec.num_leaves
    kind, keys, children = node
    # One kind of dict stands for another, with the keys in the same order: torch takes what is in the place, not at the key.
    if not (kind is spec.kind or kind in _DICTS and spec.kind in _DICTS) or keys != spec.keys or len(children) != len(spec.children):
        return None
    leaves = []
    for child, child_spec in zip(children, spec.children):
        found = flatten_like(child, child_spec)
        if found is None:
            return None
        leaves += found
    return leaves
