"""Products of tensors summed over dims."""

import numpy as np

import ferrograd
from ferrograd import linalg

from .case import Input, case

EQUATIONS = {
    "ij,jk->ik": ((2, 3), (3, 4)),
    "ij,jk": ((2, 3), (3, 0)),
    "bij,bkj->bik": ((2, 2, 3), (2, 4, 3)),
    "ij->ji": ((2, 3),),
    "ii->i": ((3, 3),),
    "ii": ((3, 3),),
    "iij,i->j": ((2, 2, 3), (2,)),
    "ij,ij->": ((2, 3), (2, 3)),
    "i,j->ij": ((2,), (3,)),
    "...ij,...jk->...ik": ((2, 1, 2, 3), (4, 3, 2)),
    "i...,i...->...": ((2, 3), (2, 3)),
    "ij,jk,kl->il": ((2, 3), (3, 2), (2, 3)),
    "ij,ij,jk->ik": ((2, 3), (2, 3), (3, 2)),
    "a,b,c->cab": ((2,), (1,), (3,)),
    "ij->": ((2, 3),),
    "ij,k->k": ((2, 3), (2,)),
    "bhqd,bhkd->bhqk": ((1, 2, 3, 2), (1, 2, 2, 2)),
    "ij,jk->kj": ((1, 3), (3, 2)),
    ",i->i": ((), (2,)),
}
for equation, shapes in EQUATIONS.items():
    case("einsum", lambda *x, e=equation: ferrograd.einsum(e, *x), *shapes, numpy=lambda *x, e=equation: np.einsum(e, *x), label=equation)
case("einsum", lambda a, b: ferrograd.einsum(a, [0, ..., 1], b, [1, 30], [..., 30, 0]), (2, 4, 3), (3, 2), numpy=lambda a, b: np.einsum("a...b,bc->...ca", a, b), label="lists")
case("einsum", lambda a, b: ferrograd.einsum("ij,kj->ik", a, b), Input((2, 3), transposed=True), (4, 3), numpy=lambda a, b: a @ b.T, label="transposed")

for dims, left, right in (
    (1, (2, 3), (3, 4)),
    (2, (2, 3, 4), (3, 4, 2)),
    (0, (2,), (3,)),
    (([0, -1], [1, 0]), (2, 3, 4), (4, 2, 3)),
    (([], []), (), (2,)),
    (1, (2, 0), (0, 3)),
):
    case("tensordot", lambda a, b, d=dims: ferrograd.tensordot(a, b, d), left, right, numpy=lambda a, b, d=dims: np.tensordot(a, b, d), label=f"{dims}")
case("tensordot", lambda a, b: ferrograd.tensordot(a, b, 1), (2, 1), (3, 2), numpy=lambda a, b: a * b.sum(0), label="one_for_all")

case("multi_dot", lambda *x: linalg.multi_dot(x), (2, 3), (3, 2), numpy=np.matmul)
case("multi_dot", lambda *x: linalg.multi_dot(x), (3,), (3, 2), (2, 4), (4,), numpy=lambda a, b, c, d: a @ b @ c @ d)
case("multi_dot", lambda *x: linalg.multi_dot(x), (2, 3), (3, 4), (4, 1), (1, 2), numpy=lambda a, b, c, d: a @ b @ c @ d)
case("chain_matmul", lambda *x: ferrograd.chain_matmul(*x), (2, 3), (3, 4), (4, 1), numpy=lambda a, b, c: a @ b @ c)
case("chain_matmul", lambda x: ferrograd.chain_matmul(x), (2, 3), numpy=np.positive)
case("vecdot", lambda a, b: linalg.vecdot(a, b), (2, 3), (2, 3), numpy=lambda a, b: (a * b).sum(-1))
case("vecdot", lambda a, b: linalg.vecdot(a, b, dim=0), (2, 3), (2, 1), numpy=lambda a, b: (a * b).sum(0), label="dim")
case("vecdot", lambda a, b: linalg.vecdot(a, b), (3,), (3,), numpy=np.dot)
case("vander", lambda x: linalg.vander(x), (2, 3), numpy=lambda x: np.stack([x**0, x, x**2], -1))
case("vander", lambda x: ferrograd.vander(x), (3,), numpy=np.vander)
case("vander", lambda x: ferrograd.vander(x, 4, increasing=True), (3,), numpy=lambda x: np.vander(x, 4, increasing=True), label="increasing")
case("diagonal", lambda x: linalg.diagonal(x, offset=1), (2, 3, 4), numpy=lambda x: np.diagonal(x, 1, -2, -1), label="linalg")
case("cross", lambda a, b: a.cross(b), (2, 3), (2, 3), numpy=np.cross)
case("cross", lambda a, b: ferrograd.cross(a, b, dim=0), (3, 2), (3, 1), numpy=lambda a, b: np.cross(a, np.broadcast_to(b, (3, 2)), axis=0), label="dim")
case("cross", lambda a, b: linalg.cross(a, b), Input((4, 3), transposed=True), (1, 3), numpy=np.cross, label="linalg")
case("cross", lambda a, b: linalg.cross(a, b), (0, 3), (0, 3), numpy=np.cross, label="empty")
