//! The numbers that ops save besides tensors: `grad_fn._saved_dim`.
//!
//! An op names them with its rules, `vjp!(.., saves { dim, keepdim })`, and they are kept as they are, in the same
//! allocation. Only when somebody asks, or the rules are freed, do they become a list.

use std::sync::Arc;

use smallvec::SmallVec;

use super::node::Node;
use super::record::{Derivative, JointDerivative, JointRule};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::tensor::Tensor;

/// A number, or what else is no tensor.
#[derive(Clone)]
pub enum Number {
    /// None.
    None,
    /// An integer, which torch shows without a sign: -1 as 2^64 - 1.
    Int(i64),
    /// Several.
    Ints(Vec<i64>),
    /// One of the user's numbers, shown as it is.
    Scalar(Scalar),
    /// Several, as floats.
    Floats(Vec<f64>),
    /// Text.
    Text(&'static str),
    /// A dtype.
    DType(DType),
}

/// What becomes a [`Number`].
pub trait ToNumber {
    /// The number.
    fn to_number(&self) -> Number;
}

/// The number 1, which takes no room.
#[derive(Clone, Copy)]
pub struct One;

macro_rules! to_number {
    ($($type:ty: |$value:ident| $number:expr;)+) => {$(
        impl ToNumber for $type {
            fn to_number(&self) -> Number {
                let $value = self;
                $number
            }
        }
    )+};
}

to_number! {
    (): |_none| Number::None;
    One: |_one| Number::Scalar(Scalar::Int(1));
    bool: |flag| Number::Scalar(Scalar::Bool(*flag));
    i64: |v| Number::Int(*v);
    isize: |v| Number::Int(*v as i64);
    usize: |v| Number::Int(*v as i64);
    f64: |v| Number::Scalar(Scalar::Float(*v));
    Scalar: |v| Number::Scalar(*v);
    &'static str: |text| Number::Text(text);
    DType: |dtype| Number::DType(*dtype);
    Vec<f64>: |values| Number::Floats(values.clone());
    Vec<i64>: |values| Number::Ints(values.clone());
    Vec<usize>: |values| values[..].to_number();
    Vec<isize>: |values| values[..].to_number();
    [usize]: |values| Number::Ints(values.iter().map(|&v| v as i64).collect());
    [isize]: |values| Number::Ints(values.iter().map(|&v| v as i64).collect());
}

impl<T, const N: usize> ToNumber for [T; N]
where
    [T]: ToNumber,
{
    fn to_number(&self) -> Number {
        self[..].to_number()
    }
}

impl<T, const N: usize> ToNumber for SmallVec<[T; N]>
where
    [T; N]: smallvec::Array<Item = T>,
    [T]: ToNumber,
{
    fn to_number(&self) -> Number {
        self[..].to_number()
    }
}

impl<T: ToNumber> ToNumber for Option<T> {
    fn to_number(&self) -> Number {
        self.as_ref().map_or(Number::None, T::to_number)
    }
}

impl<T: ToNumber> ToNumber for Box<T> {
    fn to_number(&self) -> Number {
        (**self).to_number()
    }
}

/// Numbers by their names. They outlive the tensors, as in torch.
pub type Named = Vec<(&'static str, Number)>;

/// The numbers of an op for [`Saving`]: `saves! { dim: -1, keepdim }`, or `saves! { ..list }` with a function that lists them.
#[macro_export]
macro_rules! saves {
    (..$numbers:expr) => {
        $numbers
    };
    ($($name:ident $(: $value:expr)?),+ $(,)?) => {{
        $($(let $name = $value;)?)+
        move || vec![$((stringify!($name), $crate::tape::numbers::ToNumber::to_number(&$name))),+]
    }};
}

/// Rules with the numbers of their op.
#[derive(Clone)]
pub struct Saving<R, N> {
    /// The rules.
    pub rules: R,
    /// Its numbers.
    pub numbers: N,
}

impl<R, N> Derivative for Saving<R, N>
where
    R: Derivative,
    N: Fn() -> Named + Clone + Send + Sync + 'static,
{
    fn of_input(&self, input: usize, g: &Tensor, node: &Arc<Node>) -> Option<Result<Tensor>> {
        self.rules.of_input(input, g, node)
    }

    fn again(&self) -> Option<Arc<dyn Derivative>> {
        Some(Arc::new(Saving { rules: self.rules.again()?, numbers: self.numbers.clone() }))
    }

    fn numbers(&self) -> Named {
        (self.numbers)()
    }
}

impl<R, N> JointDerivative for Saving<R, N>
where
    R: JointDerivative + Clone + 'static,
    N: Fn() -> Named + Clone + Send + Sync + 'static,
{
    fn of_inputs(&self, grads: &[Option<Tensor>], wanted: &[bool], node: &Arc<Node>) -> Result<Vec<Option<Tensor>>> {
        self.rules.of_inputs(grads, wanted, node)
    }

    fn again(&self) -> JointRule {
        Arc::new(self.clone())
    }

    fn numbers(&self) -> Named {
        (self.numbers)()
    }
}
