//! The `ndarray` crate: elements are copied both ways, whatever the strides.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::dtype::Element;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

impl<T: Element> TryFrom<ArrayViewD<'_, T>> for Tensor {
    type Error = Error;

    /// A contiguous tensor of the view's elements.
    fn try_from(view: ArrayViewD<'_, T>) -> Result<Tensor> {
        let elements = view.as_standard_layout();
        let shape = view.shape();
        match elements.as_slice() {
            Some(slice) => Tensor::from_slice(shape, slice),
            None => Tensor::from_slice(shape, &view.iter().copied().collect::<Vec<T>>()),
        }
    }
}

impl Tensor {
    /// The elements as an array, converted to `T` if they are of another dtype. Not recorded.
    ///
    /// ```
    /// use ferrograd::Tensor;
    /// use ndarray::array;
    ///
    /// let x = array![[1.0, 2.0], [3.0, 4.0]];
    /// let y = Tensor::try_from(x.view().reversed_axes().into_dyn())?;
    /// assert_eq!(y.to_ndarray::<f64>()?, x.t().into_dyn());
    /// # Ok::<(), ferrograd::error::Error>(())
    /// ```
    pub fn to_ndarray<T: Element>(&self) -> Result<ArrayD<T>> {
        let shape = IxDyn(self.shape());
        ArrayD::from_shape_vec(shape, self.to_vec()?).map_err(|error| Error::Runtime(format!("to_ndarray: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Array2, arr0, s};

    use super::*;
    use crate::layout::Layout;

    fn counted(rows: usize, columns: usize) -> Array2<f32> {
        Array::from_shape_fn((rows, columns), |(i, j)| (10 * i + j) as f32)
    }

    /// There and back; the view has no particular strides.
    fn round_trip(view: ArrayViewD<'_, f32>) {
        let x = Tensor::try_from(view.view()).unwrap();
        assert!(x.is_contiguous());
        assert_eq!(x.shape(), view.shape());
        assert_eq!(x.to_ndarray::<f32>().unwrap(), view);
    }

    #[test]
    fn views_of_any_strides_come_over() {
        let x = counted(4, 6);
        round_trip(x.view().into_dyn());
        round_trip(x.t().into_dyn());
        round_trip(x.slice(s![1..4;2, ..;-1]).into_dyn());
        round_trip(x.slice(s![2..2, ..]).into_dyn());
        round_trip(x.row(1).broadcast((3, 6)).unwrap().into_dyn());
        round_trip(arr0(7.0).view().into_dyn());
    }

    #[test]
    fn tensors_of_any_strides_go_over() {
        let x = Tensor::try_from(counted(3, 5).view().into_dyn()).unwrap();
        let columns = Layout { shape: [5, 2].as_slice().into(), strides: [1, 10].as_slice().into(), offset: 0 };
        let expected = counted(3, 5).slice(s![..;2, ..]).reversed_axes().to_owned().into_dyn();
        assert_eq!(x.with_layout(columns).to_ndarray::<f32>().unwrap(), expected);
    }

    #[test]
    fn elements_are_converted() {
        let x = Tensor::from_slice(&[3], &[1.9f64, -1.9, 0.0]).unwrap();
        assert_eq!(x.to_ndarray::<i32>().unwrap(), ndarray::array![1, -1, 0].into_dyn());
    }
}
