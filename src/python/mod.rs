//! The Python module: its tree, argument types, exceptions. Knows everything.

mod apply;
mod arguments;
mod autograd;
mod callable;
mod convert;
mod creation;
mod data;
mod dlpack;
mod dtype;
mod errors;
mod factors;
mod function;
mod garbage;
mod index;
mod info;
mod interpreter;
mod join;
mod legacy;
mod memory;
mod memory_format;
mod method;
mod numpy;
mod operators;
mod options;
mod overrides;
mod panics;
mod plain;
mod printing;
mod properties;
mod property;
mod random;
mod repr;
mod results;
mod shapes;
mod size;

use pyo3::prelude::*;
use pyo3::types::PyCFunction;

/// The extension module behind `ferrograd`.
///
/// A free-threaded interpreter stays without its lock: locks and atomics guard storages, the tape and all statics, and who changes
/// a tensor object itself (`x.data = y`, `x.resize_()`) does so alone (see [`crate::interpreter::show`]).
#[pymodule(gil_used = false)]
#[allow(non_snake_case)]
mod _C {
    use super::*;

    #[pymodule_export]
    use super::convert::_rebuild;
    #[pymodule_export]
    use super::creation::{
        arange, as_tensor, asarray, empty, empty_like, empty_permuted, empty_strided, eye, frombuffer, full, full_like, linspace,
        logspace, ones, ones_like, range, scalar_tensor, tril_indices, triu_indices, zeros, zeros_like,
    };
    #[pymodule_export]
    use super::data::tensor;
    #[pymodule_export]
    use super::dlpack::from_dlpack;
    #[pymodule_export]
    use super::dtype::DTypeObject;
    #[pymodule_export]
    use super::function::_function_form;
    #[pymodule_export]
    use super::info::{
        FloatInfo, IntInfo, can_cast, get_default_dtype, get_num_threads, is_tensor, is_warn_always_enabled, promote_types,
        result_type, set_default_dtype, set_num_threads, set_printoptions, set_warn_always,
    };
    #[pymodule_export]
    use super::join::{cat, column_stack, concat, concatenate, dstack, hstack, row_stack, stack, vstack};
    #[pymodule_export]
    use super::legacy::{TensorType, set_default_tensor_type};
    #[pymodule_export]
    use super::memory_format::MemoryFormatObject;
    #[pymodule_export]
    use super::numpy::from_numpy;
    #[pymodule_export]
    use super::options::{Device, LayoutObject};
    #[pymodule_export]
    use super::overrides::{
        _ask, _asks_only_modes, _disabled_torch_function_impl, _is_overridden, _is_torch_function_enabled, _overridable,
        _pop_mode, _push_mode, DisableTorchFunction, DisableTorchFunctionSubclass,
    };
    #[pymodule_export]
    use super::panics::_panic_for_tests;
    #[pymodule_export]
    use super::random::{
        GeneratorObject, get_rng_state, initial_seed, manual_seed, normal, poisson, rand, rand_like, randint, randint_like,
        randn, randn_like, randperm, seed, set_rng_state,
    };
    #[pymodule_export]
    use super::shapes::broadcast_shapes;
    #[pymodule_export]
    use crate::ops::complex::{complex_of, imag, is_complex, polar, real};
    #[pymodule_export]
    use crate::ops::convolution::{
        conv_tbc, conv_transpose1d, conv_transpose2d, conv_transpose3d, conv1d, conv2d, conv3d, convolution,
    };
    #[pymodule_export]
    use crate::ops::distance::{cdist, pdist};
    #[pymodule_export]
    use crate::ops::dropout::{
        alpha_dropout, alpha_dropout_, dropout, dropout_, feature_alpha_dropout, feature_alpha_dropout_, feature_dropout,
        feature_dropout_, native_dropout,
    };
    #[pymodule_export]
    use crate::ops::embedding::{embedding, embedding_bag};
    #[pymodule_export]
    use crate::ops::float_parts::fill;
    #[pymodule_export]
    use crate::ops::grid::{affine_grid_generator, grid_sampler, grid_sampler_2d, grid_sampler_3d};
    #[pymodule_export]
    use crate::ops::join::{
        atleast_1d, atleast_2d, atleast_3d, block_diag, broadcast_tensors, cartesian_prod, combinations, meshgrid,
    };
    #[pymodule_export]
    use crate::ops::layer_norms::{
        _batch_norm_with_update, _native_batch_norm_legit, batch_norm, group_norm, instance_norm, layer_norm, native_batch_norm,
        native_group_norm, native_layer_norm, rms_norm,
    };
    #[pymodule_export]
    use crate::ops::linalg::lu::lu_unpack;
    #[pymodule_export]
    use crate::ops::loss::pointwise::binary_cross_entropy_with_logits;
    #[pymodule_export]
    use crate::ops::pad::constant_pad_nd;
    #[pymodule_export]
    use crate::ops::pointwise::polygamma;
    #[pymodule_export]
    use crate::ops::pool::adaptive::{adaptive_avg_pool1d, adaptive_max_pool1d};
    #[pymodule_export]
    use crate::ops::pool::sliding::{avg_pool1d, max_pool1d, max_pool1d_with_indices, max_pool2d, max_pool3d};
    #[pymodule_export]
    use crate::ops::search::{bucketize, searchsorted, unravel_index};
    #[pymodule_export]
    use crate::ops::select::where_;
    #[pymodule_export]
    use crate::ops::shuffle::{channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle};
    #[pymodule_export]
    use crate::ops::trapezoid::{cumulative_trapezoid, trapezoid, trapz};
    #[pymodule_export]
    use crate::python::autograd::{_current_graph_task_id, _will_engine_execute_node};
    #[pymodule_export]
    use crate::tensor::Tensor;

    /// Differentiation; `ferrograd.autograd` is its public face.
    #[pymodule]
    mod _autograd {
        #[pymodule_export]
        use crate::python::autograd::{
            _again, _as_output, _check_saved, _current_run, _custom_node, _delayed_error, _depends_on, _end_of_leaf,
            _end_of_sample, _enter_transform, _exchange, _forget_sample, _is_captured, _is_recording, _joined, _keep_batch,
            _leads_to, _leads_to_others, _leave_transform, _mode, _of_all_samples, _of_transform, _pop_saved_hooks,
            _push_saved_hooks, _rebase_history, _run_has_inputs, _sample, _saving, _set_grad_layout, _set_history, _set_mode,
            _set_recording, _set_version, _step_in, _step_out, _values, _variable, _view_of_parts, _views_in_place,
            _writes_to_batch, PyNode, RemovableHandle, WeakNode, backward, grad, increment_version, is_anomaly_check_nan_enabled,
            is_anomaly_enabled, is_grad_enabled, is_inference_mode_enabled, queue_callback, set_anomaly_enabled,
        };
        #[pymodule_export]
        use crate::python::autograd::{_as_leaf, _saved_by_function, _saved_hooks, SavedTensor};
        #[pymodule_export]
        use crate::python::autograd::{
            _carry_tangent, _end_forward, _has_recorded_tangent, _is_followed, _is_reached, _linked, _place, _set_forward,
            _show_primal, _without_tangent,
        };
        #[pymodule_export]
        use crate::python::autograd::{_pop_keeper, _push_keeper};
        #[pymodule_export]
        use crate::python::errors::OtherSamples;
    }

    /// Discrete Fourier transforms; `ferrograd.fft` is their public face.
    #[pymodule]
    mod _fft {
        #[pymodule_export]
        use crate::ops::fft::functions::{
            fft, fft2, fftn, fftshift, hfft, hfft2, hfftn, ifft, ifft2, ifftn, ifftshift, ihfft, ihfft2, ihfftn, irfft, irfft2,
            irfftn, rfft, rfft2, rfftn,
        };
        #[pymodule_export]
        use crate::python::creation::{fftfreq, rfftfreq};
    }

    /// Linear algebra; `ferrograd.linalg` is its public face.
    #[pymodule]
    mod _linalg {
        #[pymodule_export]
        use crate::ops::difference::cross_product;
        #[pymodule_export]
        use crate::ops::linalg::cholesky::{cholesky_ex, linalg_cholesky};
        #[pymodule_export]
        use crate::ops::linalg::det::{linalg_det, linalg_slogdet};
        #[pymodule_export]
        use crate::ops::linalg::eig::{eigvals, eigvalsh, linalg_eig, linalg_eigh};
        #[pymodule_export]
        use crate::ops::linalg::ldl::{ldl_factor, ldl_factor_ex, ldl_solve};
        #[pymodule_export]
        use crate::ops::linalg::lu::{linalg_lu, linalg_lu_solve, lu_factor, lu_factor_ex};
        #[pymodule_export]
        use crate::ops::linalg::matrix_exp::linalg_matrix_exp;
        #[pymodule_export]
        use crate::ops::linalg::matrix_norm::{matrix_norm, norm, vector_norm};
        #[pymodule_export]
        use crate::ops::linalg::pinv::{_pinv, lstsq};
        #[pymodule_export]
        use crate::ops::linalg::qr::{householder_product, linalg_qr};
        #[pymodule_export]
        use crate::ops::linalg::solve::{inv, inv_ex, solve, solve_ex};
        #[pymodule_export]
        use crate::ops::linalg::svd::{linalg_svd, svdvals};
        #[pymodule_export]
        use crate::ops::linalg::triangular::solve_triangular;
        #[pymodule_export]
        use crate::python::errors::LinAlgError;
    }

    /// Functions for layers; `ferrograd.nn.functional` is their public face.
    #[pymodule]
    mod _nn {
        #[pymodule_export]
        use crate::ops::activation::{
            celu, celu_, elu, elu_, gelu, glu, logsigmoid, mish, mish_, selu, selu_, silu, silu_, softplus,
        };
        #[pymodule_export]
        use crate::ops::arithmetic::{_minus, _minus_from, _over, _plus, _times};
        #[pymodule_export]
        use crate::ops::convolution::{conv_tbc, conv_transpose1d, conv_transpose2d, conv_transpose3d, conv1d, conv2d, conv3d};
        #[pymodule_export]
        use crate::ops::fold::{fold, unfold};
        #[pymodule_export]
        use crate::ops::loss::classes::{cross_entropy, nll_loss};
        #[pymodule_export]
        use crate::ops::loss::ctc::ctc_loss;
        #[pymodule_export]
        use crate::ops::loss::margin::{multi_margin_loss, multilabel_margin_loss};
        #[pymodule_export]
        use crate::ops::loss::pointwise::{binary_cross_entropy, huber_loss, mse_loss, smooth_l1_loss, soft_margin_loss};
        #[pymodule_export]
        use crate::ops::matmul::linear;
        #[pymodule_export]
        use crate::ops::norm::_norm;
        #[pymodule_export]
        use crate::ops::pad::pad;
        #[pymodule_export]
        use crate::ops::pool::adaptive::{adaptive_avg_pool2d, adaptive_avg_pool3d, adaptive_max_pool2d, adaptive_max_pool3d};
        #[pymodule_export]
        use crate::ops::pool::places::{fractional_max_pool2d, fractional_max_pool3d, max_unpool2d, max_unpool3d};
        #[pymodule_export]
        use crate::ops::pool::sliding::{avg_pool2d, avg_pool3d, max_pool2d_with_indices, max_pool3d_with_indices};
        #[pymodule_export]
        use crate::ops::rectifier::{
            hardsigmoid, hardsigmoid_, hardswish, hardswish_, hardtanh, hardtanh_, leaky_relu, leaky_relu_, relu, relu_, relu6,
            relu6_, rrelu, rrelu_, softshrink, threshold, threshold_,
        };
        #[pymodule_export]
        use crate::ops::recurrent::_recurrent_layer;
        #[pymodule_export]
        use crate::ops::resample::_upsample;
        #[pymodule_export]
        use crate::ops::search::one_hot;
        #[pymodule_export]
        use crate::ops::softmax::{
            _log_softmax_backward_data, _safe_softmax, _softmax_backward_data, log_softmax, softmax, softmin,
        };
    }

    /// Special functions; `ferrograd.special` is their public face.
    #[pymodule]
    mod _special {
        #[pymodule_export]
        use crate::ops::special::{
            airy_ai, bessel_j0, bessel_j1, bessel_y0, bessel_y1, chebyshev_polynomial_t, chebyshev_polynomial_u,
            chebyshev_polynomial_v, chebyshev_polynomial_w, entr, erfcx, hermite_polynomial_h, hermite_polynomial_he, i0e, i1,
            i1e, laguerre_polynomial_l, legendre_polynomial_p, log_ndtr, modified_bessel_i0, modified_bessel_i1,
            modified_bessel_k0, modified_bessel_k1, ndtr, ndtri, scaled_modified_bessel_k0, scaled_modified_bessel_k1,
            shifted_chebyshev_polynomial_t, shifted_chebyshev_polynomial_u, shifted_chebyshev_polynomial_v,
            shifted_chebyshev_polynomial_w, spherical_bessel_j0, xlog1py, zeta,
        };
    }

    /// Steps of optimizers; `ferrograd.optim` has the optimizers.
    #[pymodule]
    mod _optim {
        #[pymodule_export]
        use crate::ops::optim::{adam, sgd};
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::panics::install(module.py())?;
        super::interpreter::install();
        super::autograd::install();
        crate::fork::watch();
        let tensor = module.py().get_type::<Tensor>();
        for (alias, method) in crate::ops::aliases::ALIASES {
            tensor.setattr(*alias, tensor.getattr(*method)?)?;
        }
        super::method::install(module.py())?;
        super::factors::install(module.py())?;
        super::property::install(module.py())?;
        super::dtype::add_to(module)?;
        super::memory_format::add_to(module)?;
        super::options::add_to(module)?;
        super::legacy::add_to(module)?;
        module.add("default_generator", super::random::default_generator())?;
        // Python finds modules by their full names; those within an extension are not files that it could look for.
        let modules = module.py().import("sys")?.getattr("modules")?;
        for name in ["_autograd", "_fft", "_linalg", "_nn", "_optim", "_special"] {
            let (part, path) = (module.getattr(name)?, format!("ferrograd._C.{name}"));
            // By this name functions are pickled; classes have it already.
            for (_, function) in part.cast::<PyModule>()?.dict().iter().filter(|(_, x)| x.is_instance_of::<PyCFunction>()) {
                function.setattr("__module__", &path)?;
            }
            modules.set_item(path, part)?;
        }
        super::overrides::install(module)?;
        Ok(())
    }
}
