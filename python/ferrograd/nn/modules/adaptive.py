"""A softmax over many classes, most of which are rare."""

from collections import namedtuple

import ferrograd
from ferrograd.nn import functional as F
from ferrograd.nn.modules.container import ModuleList, Sequential
from ferrograd.nn.modules.linear import Linear
from ferrograd.nn.modules.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of targets and their mean loss, by clusters of classes (Grave et al. 2017).

    Classes are sorted by frequency. The head knows those below ``cutoffs[0]`` and one for each cluster; the cluster i of the tail,
    with in_features / div_value^(i + 1) features, those from ``cutoffs[i]`` on.
    Shape: (n, in_features) and (n), or (in_features) and (), to ``output`` of the target's shape and ``loss``.
    """

    def __init__(self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        ascending = all(a < b for a, b in zip([0, *cutoffs], cutoffs))
        if not ascending or cutoffs[-1] > n_classes - 1 or any(int(c) != c for c in cutoffs):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is "
                "between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // div_value ** (i + 1))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, False, device, dtype), Linear(hidden, classes, False, device, dtype)
                )
            )

    def reset_parameters(self):
        self.head.reset_parameters()
        for project, classify in self.tail:
            project.reset_parameters()
            classify.reset_parameters()

    def forward(self, input_, target_):
        self._check(input_, target_)
        input, target = (input_, target_) if target_.dim() else (input_.unsqueeze(0), target_.unsqueeze(0))
        # Each target's place in the head: the class itself, or its cluster.
        in_head = target.clone()
        output = input.new_zeros(target.size(0))
        known = target < self.shortlist_size
        known &= target >= 0
        for i, (first, end) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            inside = (target >= first) & (target < end)
            rows = inside.nonzero().squeeze(1)
            if rows.numel() == 0:
                continue
            known |= inside
            in_head.index_fill_(0, rows, self.shortlist_size + i)
            log_probs = F.log_softmax(self.tail[i](input.index_select(0, rows)), dim=1)
            classes = (target.index_select(0, rows) - first).unsqueeze(1)
            output = output.index_copy(0, rows, log_probs.gather(1, classes).squeeze(1))
        if not known.all():
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        head = F.log_softmax(self.head(input), dim=1)
        output = output + head.gather(1, in_head.unsqueeze(1)).squeeze()
        loss = (-output).mean()
        return _ASMoutput(output if target_.dim() else output.squeeze(0), loss)

    def _check(self, input, target):
        if target.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.dim() == 1 and input.size(0) != target.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input.dim() != target.dim() + 1:
            raise RuntimeError(
                f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with size {input.size()}"
            )

    def _get_full_log_prob(self, input, head_output):
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            parts.append(F.log_softmax(cluster(input), dim=1) + head[:, self.shortlist_size + i].unsqueeze(1))
        return ferrograd.cat(parts, 1)

    def log_prob(self, input):
        """The log-probabilities of all classes: (n, in_features) to (n, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input):
        """The most probable classes, (n, in_features) to (n): clusters are looked into only where the head prefers one."""
        head_output = self.head(input)
        output = head_output.argmax(1)
        rare = output >= self.shortlist_size
        if rare.any():
            output[rare] = self._get_full_log_prob(input[rare], head_output[rare]).argmax(1)
        return output
