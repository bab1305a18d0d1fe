"""Differences, covariances, segments, and floats taken apart."""

import numpy as np

import ferrograd

from .case import APART, Input, case, not_differentiable, places, shaped

shaped("diff", numpy=np.diff)
shaped("diff", 2, 0, shape=(4, 2), numpy=lambda x: np.diff(x, 2, 0))
shaped("diff", 0, numpy=lambda x: x)
shaped("diff", 5, numpy=lambda x: x[:, :0])
shaped("diff", shape=(2, 0), numpy=lambda x: x)
case("diff", lambda x, a, b: x.diff(2, 1, a, b), (2, 3), (2, 1), (2, 2), numpy=lambda x, a, b: np.diff(x, 2, 1, a, b), label="parts")

for edge in (1, 2):
    case("gradient", lambda x, e=edge: ferrograd.gradient(x, edge_order=e), (4, 3), label=f"all-{edge}")
    case("gradient", lambda x, e=edge: ferrograd.gradient(x, spacing=0.5, dim=0, edge_order=e)[0], (4, 3), numpy=lambda x, e=edge: np.gradient(x, 0.5, axis=0, edge_order=e), label=f"number-{edge}")
    case("gradient", lambda x, p, e=edge: ferrograd.gradient(x, spacing=[p.cumsum(0)], dim=-1, edge_order=e)[0], (2, 4), Input((4,), ((0.5, 1.0),)), label=f"places-{edge}")
    case(
        "gradient",
        lambda x, e=edge: ferrograd.gradient(x, spacing=[ferrograd.tensor([0.0, 1.0, 1.5, 3.0], dtype=x.dtype)], dim=1, edge_order=e)[0],
        (2, 4),
        numpy=lambda x, e=edge: np.gradient(x, np.array([0.0, 1.0, 1.5, 3.0]), axis=1, edge_order=e),
        label=f"constant_places-{edge}",
    )

COUNTS = [2, 0, 1, 3]
case("cov", lambda x: x.cov(), (3, 4), numpy=np.cov)
case("cov", lambda x: ferrograd.cov(x, correction=0), (4,), numpy=lambda x: np.cov(x, ddof=0), label="variance")
case("cov", lambda x: x.cov(fweights=places(COUNTS)), (2, 4), numpy=lambda x: np.cov(x, fweights=COUNTS), label="counts")
case("cov", lambda x, w: x.cov(fweights=places(COUNTS), aweights=w), (2, 4), Input((4,), ((0.5, 1.5),)), label="weights", numpy=lambda x, w: np.cov(x, fweights=COUNTS, aweights=w))
case("corrcoef", lambda x: x.corrcoef(), (2, 4), numpy=np.corrcoef, second=False)  # 1 on the diagonal, or as much as rounding leaves
case("corrcoef", lambda x: x.corrcoef(), (4,), numpy=lambda x: np.ones(()))

case("frexp", lambda x: x.frexp()[0], (2, 3), domain=((0.6, 0.9), (1.2, 1.8), (-3.5, -2.5)), numpy=lambda x: np.frexp(x)[0])
case("nextafter", lambda x, y: x.nextafter(y), (2, 3), (3,), numpy=lambda x, y: x, domain=APART)
case("fill", lambda x: ferrograd.fill(x, 2.5), (2, 3), numpy=lambda x: x * 0 + 2.5)
case("fill", lambda x, v: ferrograd.fill(x, v), Input((2, 3), transposed=True), (), numpy=lambda x, v: x * 0 + v, label="tensor")

LENGTHS = [2, 3, 1]
REDUCTIONS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min}
for reduce, f in REDUCTIONS.items():
    case(
        "segment_reduce",
        lambda x, r=reduce: ferrograd.segment_reduce(x, r, lengths=places(LENGTHS)),
        (6, 2),
        numpy=lambda x, f=f: np.stack([f(part, 0) for part in np.split(x, np.cumsum(LENGTHS)[:-1])]),
        label=reduce,
    )
    case(
        "segment_reduce",
        lambda x, r=reduce: ferrograd.segment_reduce(x, r, offsets=places([[0, 1, 3], [0, 2, 3]]), axis=1),
        (2, 3),
        numpy=lambda x, f=f: np.array([[f(x[0, :1]), f(x[0, 1:])], [f(x[1, :2]), f(x[1, 2:])]]),
        label=f"{reduce}-offsets",
    )
case("_chunk_cat", lambda a, b: ferrograd._chunk_cat([a, b], 0, 2), (3, 2), (2, 2), numpy=lambda a, b: np.concatenate([np.pad(a, ((0, 1), (0, 0))).reshape(2, 4), b], 1))
MASK, PLACES = [True, False, True, True], [0, 9, 2, 0]
case("_unsafe_masked_index", lambda x: ferrograd._unsafe_masked_index(x, places(MASK), [None, places(PLACES)], 7), (2, 3), numpy=lambda x: np.where(MASK, x[:, [0, 0, 2, 0]], 7))
case(
    "_unsafe_masked_index_put_accumulate",
    lambda x, v: ferrograd._unsafe_masked_index_put_accumulate(x, places(MASK), [places(PLACES)], v),
    (3,),
    (4,),
    numpy=lambda x, v: x + np.array([v[0] + v[3], 0, v[2]]),
)

not_differentiable("counts", "histc", "histogram")
