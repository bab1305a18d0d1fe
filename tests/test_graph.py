"""Helpers about the recorded graph, and its drawing."""

import re
import shutil

import pytest

import ferrograd
from ferrograd.nn import functional as F
from ferrograd.utils import graph


def test_a_drawing_names_ops_leaves_and_shapes():
    w, x = ferrograd.ones(2, 3, requires_grad=True), ferrograd.ones(3)
    loss = (w * x).sum()
    source = graph.dot(loss, {"w": w})
    assert isinstance(source, str) and source.startswith("digraph {") and source.endswith("}\n")
    labels = dict(re.findall(r"(\w+) \[label=\"([^\"]*)\"", source))
    assert sorted(labels.values()) == ["MulBackward0", "SumBackward0", "result\\n()", "w\\n(2, 3)"]
    arrows = {(labels[a], labels[b]) for a, b in re.findall(r"(\w+) -> (\w+);", source)}
    assert arrows == {("w\\n(2, 3)", "MulBackward0"), ("MulBackward0", "SumBackward0"), ("SumBackward0", "result\\n()")}


def test_shared_nodes_are_drawn_once():
    x = ferrograd.ones(2, requires_grad=True)
    y = x.exp()
    source = graph.dot([y * y, y + 1])
    assert source.count("ExpBackward0") == 1 and source.count("leaf\\n(2)") == 1
    assert "leaf" in graph.dot(x)


def test_names_are_escaped():
    x = ferrograd.ones(1, requires_grad=True)
    assert 'label="a \\"b\\"\\n(1)"' in graph.dot(x * 2, {'a "b"': x})


def test_deep_graphs_are_drawn():
    x = ferrograd.ones(1, requires_grad=True)
    for _ in range(3000):
        x = x + 1
    assert graph.dot(x).count("AddBackward0") == 3000


def test_what_notebooks_show(monkeypatch):
    source = graph.dot(ferrograd.ones(1, requires_grad=True) * 2)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert source._repr_mimebundle_() == {"text/plain": str(source)}
    monkeypatch.setattr(graph.Dot, "svg", lambda self: "<svg/>")
    assert source._repr_mimebundle_()["image/svg+xml"] == "<svg/>"
    with pytest.raises(TypeError, match="dot: expected a Tensor"):
        graph.dot([3])


def nodes(tensor, leaves):
    """The nodes behind a tensor, as an expression of their names and of leaves by their numbers."""

    def expression(node):
        if node is None:
            return "None"
        if hasattr(node, "variable"):
            return str([leaf is node.variable for leaf in leaves].index(True))
        return f"{node.name()}({', '.join(expression(following) for following, _ in node.next_functions)})"

    return expression(tensor.grad_fn)


SUMS = "AddBackward0(SliceBackward0(0), SliceBackward0(0))"
STEPS = "SubBackward0(SliceBackward0(1), SliceBackward0(1))"
PLACE, PLACES = ferrograd.tensor(0), ferrograd.tensor([0])

# As torch has them.
NODES = [
    (lambda x, y: x.index_add(0, PLACES, y, alpha=2), "IndexAddBackward0(0, 1)", [(3,), (1,)]),
    (lambda x, y: x.index_add(0, PLACES, y), "IndexAddBackward0(0, 1)", [(), ()]),
    (lambda x, y: x.index_copy(0, PLACE, y), "IndexCopyBackward0(0, 1)", [(), ()]),
    (lambda x, y: x.index_fill(0, PLACES, y), "IndexFillBackward1(0, 1)", [(), ()]),
    (lambda x: x.index_fill(0, PLACES, 2.0), "IndexFillBackward0(0)", [()]),
    (lambda x, y: x.index_reduce(0, PLACES, y, "prod"), "IndexReduceBackward0(0, 1)", [(), ()]),
    (lambda x: x.index_select(0, PLACES), "IndexSelectBackward0(0)", [()]),
    (lambda x, y: x.put(PLACES, y), "PutBackward0(0, 1)", [(2, 3), ()]),
    (lambda x, y: x.put(PLACE, y, accumulate=True), "PutBackward0(0, 1)", [(), (1,)]),
    (lambda x: x.scatter(0, PLACES, 2.0), "ScatterBackward1(0)", [()]),
    (lambda x, y: x.scatter(0, PLACES, y), "ScatterBackward0(0, 1)", [(), ()]),
    (lambda x, y: x.scatter_add(0, PLACE, y), "ScatterAddBackward0(0, 1)", [(), ()]),
    (lambda x, y: x.scatter_reduce(0, PLACE, y, "amax"), "ScatterReduceBackward0(0, 1)", [(), ()]),
    (lambda x: x.take(PLACE), "TakeBackward0(0)", [(2, 3)]),
    (lambda x, y: x.dist(y), "DistBackward0(0, 1)", [(2, 3), (3,)]),
    (lambda x, y: F.pairwise_distance(x, y), "NormBackward1(AddBackward1(SubBackward0(0, 1)))", [(2, 3), (2, 3)]),
    (
        lambda x, y, target: F.margin_ranking_loss(x, y, target, 0.5, reduction="none"),
        "ClampMinBackward0(AddBackward1(MulBackward0(NegBackward0(2), SubBackward0(0, 1))))",
        [(3,), (3,), (3,)],
    ),
    (
        lambda x, y: F.cosine_embedding_loss(x, y, ferrograd.tensor(-1), reduction="none"),
        "AddBackward0(WhereBackward0(SubBackward0(None, {cos}), None), WhereBackward0(ClampMinBackward0(SubBackward1({cos})), None))".format(
            cos="DivBackward0(SumBackward1(MulBackward0(0, 1)), SqrtBackward0(MulBackward0("
            "AddBackward1(SumBackward1(MulBackward0(0, 0))), AddBackward1(SumBackward1(MulBackward0(1, 1))))))"
        ),
        [(3,), (3,)],
    ),
    (lambda x: x.sum(dtype=ferrograd.float64), "SumBackward0(0)", [(3,)]),
    (lambda x: x.mean(0, dtype=ferrograd.float64), "MeanBackward1(0)", [(3,)]),
    (lambda x, y: ferrograd.block_diag(x, y), "BlockDiagBackward0(0, 1)", [(2, 3), (2,)]),
    (lambda x, w: F.prelu(x, w), "PreluKernelBackward0(0, ViewBackward0(1))", [(2, 3), (1,)]),
    (lambda x, w: F.prelu(x, w), "PreluKernelBackward0(0, 1)", [(3,), (1,)]),
    (lambda x, w: F.prelu(x, w), "PreluKernelBackward0(0, 1)", [(), ()]),
    (lambda x: x.renorm(2, 0, 0.5), "RenormBackward0(0)", [(2, 3)]),
    (lambda x, points: ferrograd.trapezoid(x, points), f"DivBackward1(SumBackward1(MulBackward0({SUMS}, {STEPS})))", [(3,), (3,)]),
    (lambda x: ferrograd.cumulative_trapezoid(x, dx=2), f"CumsumBackward0(MulBackward1({SUMS}))", [(3,)]),
    (lambda x: ferrograd.linalg.matrix_norm(x, 1), "AmaxBackward0(LinalgVectorNormBackward0(0))", [(2, 3)]),
    (lambda a, b: ferrograd.linalg.solve(a, b), "LinalgSolveExBackward0(0, 1)", [(3, 3), (3,)]),
    (
        lambda x: ferrograd.fft.ihfft2(x),
        "FftC2CBackward0(ConjPhysicalBackward0(FftR2CBackward0(0)))",
        [(2, 3)],
    ),
    (lambda x: F.layer_norm(x, (3,)), "NativeLayerNormBackward0(0, None, None)", [(2, 3)]),
    (lambda x, w: F.layer_norm(x, (3,), w), "NativeLayerNormBackward0(0, 1, None)", [(2, 3), (3,)]),
    (lambda x: F.group_norm(x, 1), "NativeGroupNormBackward0(0, None, None)", [(2, 3)]),
    (lambda x: F.batch_norm(x, None, None, training=True), "NativeBatchNormBackward0(0, None, None)", [(2, 3)]),
]


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("op, expected, shapes", NODES)
def test_ops_have_the_nodes_of_torch(op, expected, shapes):
    leaves = [ferrograd.rand(shape, requires_grad=True) for shape in shapes]
    result = op(*leaves)
    assert nodes(result, leaves) == expected
    grads = ferrograd.autograd.grad(ferrograd.view_as_real(result).sum() if result.is_complex() else result.sum(), leaves)
    assert [grad.shape for grad in grads] == shapes


def test_one_node_has_both_extremes():
    x = ferrograd.rand(3, requires_grad=True)
    low, high = x.aminmax()
    assert low.grad_fn is high.grad_fn and nodes(low, [x]) == "AminmaxBackward0(0)"
    (grad,) = ferrograd.autograd.grad(low + 2 * high, x)
    assert grad.sum() == 3 and grad[x.argmax()] == 2


def test_the_nodes_of_quantiles():
    x = ferrograd.rand(5, requires_grad=True)
    lerp = x.quantile(ferrograd.tensor([0.3])).grad_fn
    while lerp.name() != "LerpBackward1":
        ((lerp, _),) = lerp.next_functions
    assert [following and following.name() for following, _ in lerp.next_functions] == ["GatherBackward0", "GatherBackward0", None]


def test_what_a_running_backward_comes_to():
    C = ferrograd._C
    x, w = ferrograd.ones(2, requires_grad=True), ferrograd.ones(2, requires_grad=True)
    y = x * 2
    z, aside = y * w, y.exp()
    ends = [ferrograd.autograd.graph.get_gradient_edge(leaf).node for leaf in (x, w)]
    seen, numbers = [], []

    def look(g):
        numbers.append(C._current_graph_task_id())
        seen.append([C._will_engine_execute_node(node) for node in (y.grad_fn, aside.grad_fn, *ends)])
        for other in (None, y):
            with pytest.raises(RuntimeError, match="^_will_engine_execute_node expects an grad_fn, but got"):
                C._will_engine_execute_node(other)

    z.register_hook(look)
    z.sum().backward(retain_graph=True)
    z.sum().backward(inputs=[x], retain_graph=True)
    assert seen == [[True, False, True, True], [True, False, True, False]] and 0 <= numbers[0] < numbers[1]
    assert C._current_graph_task_id() == -1
    with pytest.raises(RuntimeError, match="should only be called during the backward pass"):
        C._will_engine_execute_node(y.grad_fn)


def test_reshape_of_what_is_not_contiguous_has_a_node_of_its_own():
    x = ferrograd.ones(2, 3, requires_grad=True)
    y = x[:, :1].reshape(2)
    assert y._is_view() and y.grad_fn.name() == "ReshapeAliasBackward0" and x.reshape(6).grad_fn.name() == "ViewBackward0"
    (y * 3).sum().backward()
    assert x.grad.tolist() == [[3.0, 0.0, 0.0]] * 2
    (g,) = ferrograd.autograd.grad(x.cos().sum(), x, create_graph=True)
    assert g.grad_fn.name() == "MulBackward0" and [type(n).__name__ for n, _ in g.grad_fn.next_functions] == ["NoneType", "NegBackward0"]


def test_what_torch_saves_can_be_differentiated_once():
    x = ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    ops = (
        lambda x: x.angle(),
        lambda x: ferrograd.complex(x, x).real,
        lambda x: x.div(x, rounding_mode="floor"),
        lambda x: ferrograd.fft.fft(x).real,
        lambda x: ferrograd.linalg.vector_norm(x, 0),
    )
    for op in ops:
        y = op(x).sum()
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()
    y = x.lerp(x.detach() + 1, 0.25).sum()
    y.backward()
    y.backward()


def test_a_number_is_no_input_of_a_power():
    x = ferrograd.tensor([1.0, 2.0], requires_grad=True)
    node = (2**x).grad_fn
    assert node.name() == "PowBackward2" and [end.variable is x for end, _ in node.next_functions] == [True]
    assert node._saved_self == 2 and node._saved_exponent is x and node._saved_result.tolist() == [2, 4]
