"""L-BFGS."""

from collections import namedtuple

import ferrograd
from ferrograd.optim.optimizer import Optimizer, _check_lr, _number, _scalar

__all__ = ["LBFGS"]


class _Point(namedtuple("_Point", ("t", "loss", "grad", "slope"))):
    """A point of a line: how far it is, the loss, its gradient, and its slope along the line."""

    __slots__ = ()


def _lowest(a, b, bounds=None):
    """Where the cubic through two points has its minimum, within bounds; the middle if it has none."""
    low, high = bounds or sorted((a.t, b.t))
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2.0
    d2 = square.sqrt()
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(t, low), high)


def _strong_wolfe(evaluate, t, d, start, max_ls, c1=1e-4, c2=0.9, tolerance_change=1e-9):
    """A point of low loss and small slope along direction `d`, by bracketing and zooming, and how often the loss was computed.

    Source: Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6.
    """
    size = d.abs().max()
    previous, new = start, evaluate(t)
    done, tries = False, 0
    while tries < max_ls:
        rises = new.loss > start.loss + c1 * new.t * start.slope or (tries > 1 and new.loss >= previous.loss)
        done = not rises and bool(abs(new.slope) <= -c2 * start.slope)
        if rises or done or new.slope >= 0:
            bracket = [new] if done else [previous, new]
            break
        t = _lowest(previous, new, (new.t + 0.01 * (new.t - previous.t), new.t * 10))
        previous, new = new, evaluate(t)
        tries += 1
    else:
        bracket = [start, new]
    evaluations = tries + 1
    low, high = (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)
    stuck = False
    while not done and tries < max_ls:
        near, far = sorted(point.t for point in bracket)
        if abs(far - near) * size < tolerance_change:
            break
        t = _lowest(*bracket)
        # Twice near an end is no progress: then move away from it.
        margin = 0.1 * (far - near)
        at_end = min(far - t, t - near) < margin
        if at_end and (stuck or t >= far or t <= near):
            t = far - margin if abs(t - far) < abs(t - near) else near + margin
            at_end = False
        stuck = at_end
        new = evaluate(t)
        evaluations += 1
        tries += 1
        if new.loss > start.loss + c1 * t * start.slope or new.loss >= bracket[low].loss:
            bracket[high] = new
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        if abs(new.slope) <= -c2 * start.slope:
            done = True
        elif new.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
    return bracket[low], evaluations


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal, 1989): steps along -H g, where H, of the last `history_size` steps, is near the Hessian's inverse.

    A step runs up to `max_iter` iterations and computes the loss up to `max_eval` times (1.25 max_iter if None), so it needs a
    closure, which clears the gradients, computes the loss and its gradients, and returns the loss. It ends early if no gradient
    is above `tolerance_grad`, or loss and parameters change by less than `tolerance_change`. `line_search_fn`: None or
    "strong_wolfe". There is one group of parameters, whose state is that of the first.
    """

    def __init__(
        self,
        params,
        lr=1,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    ):
        _check_lr(lr)
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        options = dict(lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad)
        how = dict(tolerance_change=tolerance_change, history_size=history_size, line_search_fn=line_search_fn)
        super().__init__(params, options | how)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self):
        if len(self.param_groups) != 1:
            raise AssertionError(f"Expected exactly one param_group, but got {len(self.param_groups)}")
        return self.param_groups[0]["params"]

    def _flat_grad(self):
        grads = (p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self._params)
        return ferrograd.cat([ferrograd.view_as_real(g).reshape(-1) if g.is_complex() else g for g in grads])

    def _move(self, t, direction):
        parts = [ferrograd.view_as_real(p) if p.is_complex() else p for p in self._params]
        for p, part in zip(parts, direction.split([p.numel() for p in parts])):
            p.add_(part.view(p.shape), alpha=_number(t))

    def _on_line(self, closure, start, direction):
        """A function that computes the point at a distance from the parameters `start`."""

        def evaluate(t):
            self._move(t, direction)
            loss, grad = float(closure()), self._flat_grad()
            for p, value in zip(self._params, start):
                p.copy_(value)
            return _Point(t, loss, grad, grad.dot(direction))

        return evaluate

    @ferrograd.no_grad()
    def step(self, closure):
        """Runs up to `max_iter` iterations. Returns the loss before the first."""
        closure = ferrograd.enable_grad()(closure)
        group = self.param_groups[0]
        lr, tolerance_change = _scalar(group["lr"]), group["tolerance_change"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        grad = self._flat_grad()
        if grad.abs().max() <= group["tolerance_grad"]:
            return first_loss

        d, t, previous_grad, previous_loss = (state.get(key) for key in ("d", "t", "prev_flat_grad", "prev_loss"))
        for n_iter in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d = grad.neg()
                state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
                t = min(1.0, 1.0 / grad.abs().sum()) * lr
            else:
                d = self._direction(state, grad, grad.sub(previous_grad), d.mul(t), group["history_size"])
                t = lr
            previous_grad = grad.clone()
            previous_loss = loss
            slope = grad.dot(d)
            if slope > -tolerance_change:
                break
            count = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                evaluate = self._on_line(closure, [p.clone() for p in self._params], d)
                start = _Point(0, loss, grad, slope)
                best, count = _strong_wolfe(evaluate, t, d, start, group["max_eval"] - evaluations)
                t, loss, grad = best.t, best.loss, best.grad
                self._move(t, d)
            else:
                self._move(t, d)
                if n_iter != group["max_iter"]:
                    loss, grad, count = float(closure()), self._flat_grad(), 1
            evaluations += count
            state["func_evals"] += count
            if (
                evaluations >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or d.mul(t).abs().max() <= tolerance_change
                or abs(loss - previous_loss) < tolerance_change
            ):
                break
        state.update(d=d, t=t, prev_flat_grad=previous_grad, prev_loss=previous_loss)
        return first_loss

    @staticmethod
    def _direction(state, grad, y, s, history_size):
        """-H g, by the recursion over the last steps `s` and changes `y` of the gradient, of which these are the newest."""
        steps, changes, ro = state["old_stps"], state["old_dirs"], state["ro"]
        ys = y.dot(s)
        if ys > 1e-10:
            if len(changes) == history_size:
                for some in (steps, changes, ro):
                    some.pop(0)
            changes.append(y)
            steps.append(s)
            ro.append(1.0 / ys)
            state["H_diag"] = ys / y.dot(y)
        al = state.setdefault("al", [None] * history_size)
        q = grad.neg()
        for i in reversed(range(len(changes))):
            al[i] = steps[i].dot(q) * ro[i]
            q.add_(changes[i], alpha=-al[i].item())
        r = ferrograd.mul(q, state["H_diag"])
        for i in range(len(changes)):
            r.add_(steps[i], alpha=(al[i] - changes[i].dot(r) * ro[i]).item())
        return r
