//! Attributes of tensors that ask whether a class overrides them: see `overrides.rs`.
//!
//! Such an object stands in for the descriptor of the attribute in the class of tensors.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::overrides::{ask, is_overriding, possible};
use super::panics::internal_error;
use crate::tensor::Tensor;

#[repr(C)]
struct Property {
    base: ffi::PyObject,
    /// What it stands for, which gets and sets.
    descriptor: *mut ffi::PyObject,
    get: ffi::descrgetfunc,
    set: ffi::descrsetfunc,
    /// A string.
    name: *mut ffi::PyObject,
    doc: *mut ffi::PyObject,
}

/// What others say that getting or setting gives, as a new reference; null with an error set; None if nobody is asked.
unsafe fn asked(object: *mut ffi::PyObject, method: &str, args: &[*mut ffi::PyObject]) -> Option<*mut ffi::PyObject> {
    // Nothing but this stands between a panic and C.
    let answer = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the interpreter lock is held, and these are borrowed references.
        unsafe {
            let py = Python::assume_attached();
            let args: Vec<_> = args.iter().map(|&arg| Borrowed::from_ptr(py, arg)).collect();
            // Nobody asks the class of what is assigned.
            let classes = is_overriding(args[0]);
            ask(|| Bound::from_borrowed_ptr(py, object).getattr(method), py, &args, None, classes)
                .map(|answer| answer.map(Bound::into_ptr))
        }
    }));
    match answer.unwrap_or_else(|cause| Err(internal_error(cause))) {
        Ok(answer) => answer,
        Err(error) => {
            // SAFETY: the interpreter lock is held.
            error.restore(unsafe { Python::assume_attached() });
            Some(std::ptr::null_mut())
        }
    }
}

unsafe extern "C" fn get(
    object: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    class: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the descriptor protocol: borrowed references, the instance null if looked up on the class.
    unsafe {
        if instance.is_null() {
            return ffi::Py_NewRef(object);
        }
        if possible()
            && let Some(answer) = asked(object, "__get__", &[instance])
        {
            return answer;
        }
        let property = object.cast::<Property>();
        ((*property).get)((*property).descriptor, instance, class)
    }
}

unsafe extern "C" fn set(object: *mut ffi::PyObject, instance: *mut ffi::PyObject, value: *mut ffi::PyObject) -> c_int {
    // SAFETY: the descriptor protocol: borrowed references, the value null for `del`.
    unsafe {
        if possible() {
            let answer = if value.is_null() {
                asked(object, "__delete__", &[instance])
            } else {
                asked(object, "__set__", &[instance, value])
            };
            if let Some(answer) = answer {
                let failed = answer.is_null();
                ffi::Py_XDECREF(answer);
                return if failed { -1 } else { 0 };
            }
        }
        let property = object.cast::<Property>();
        ((*property).set)((*property).descriptor, instance, value)
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, for an object of the class, which owns a reference to each of these and one to its class.
    unsafe {
        let property = object.cast::<Property>();
        ffi::Py_DECREF((*property).descriptor);
        ffi::Py_DECREF((*property).name);
        ffi::Py_DECREF((*property).doc);
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called for an object of the class, whose name is a string; %U takes one.
    unsafe {
        ffi::PyUnicode_FromFormat(c"<attribute '%U' of 'ferrograd.Tensor' objects>".as_ptr(), (*object.cast::<Property>()).name)
    }
}

fn class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_OBJECT_EX,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    // The type reads the members for as long as it lives: for ever.
    let members = Box::leak(Box::new([
        member(c"__name__", offset_of!(Property, name)),
        member(c"__doc__", offset_of!(Property, doc)),
        member(c"__wrapped__", offset_of!(Property, descriptor)),
        ffi::PyMemberDef::default(),
    ]));
    let slot = |slot: i32, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_descr_get, get as *mut c_void),
        slot(ffi::Py_tp_descr_set, set as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(0, std::ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"ferrograd.property".as_ptr(),
        basicsize: size_of::<Property>() as i32,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_IMMUTABLETYPE) as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec describes `Property`: the offsets are those of its fields, the slots have C's signatures.
    let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
    Ok(class.cast_into::<PyType>()?)
}

/// An object of the class that stands for a descriptor.
fn property<'py>(
    class: &Bound<'py, PyType>,
    name: &Bound<'py, PyString>,
    descriptor: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let missing = || PyAttributeError::new_err("not a descriptor that gets and sets");
    let doc = descriptor.getattr("__doc__")?;
    // SAFETY: the type of a valid object; the fresh object is of the class, laid out as `Property`; all fields are set before
    // anybody sees it, the objects with a reference of their own.
    unsafe {
        let kind = ffi::Py_TYPE(descriptor.as_ptr());
        let (get, set) = ((*kind).tp_descr_get.ok_or_else(missing)?, (*kind).tp_descr_set.ok_or_else(missing)?);
        let object = Bound::from_owned_ptr_or_err(class.py(), ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0))?;
        let new = object.as_ptr().cast::<Property>();
        (*new).descriptor = descriptor.clone().into_ptr();
        (*new).get = get;
        (*new).set = set;
        (*new).name = name.clone().into_ptr();
        (*new).doc = doc.into_ptr();
        Ok(object)
    }
}

/// Attributes that nobody overrides.
const NOT_OVERRIDDEN: [&str; 4] = ["__array_priority__", "__array_struct__", "__dict__", "__weakref__"];

/// Puts such an object in the place of each attribute of `Tensor`.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let tensor = py.get_type::<Tensor>();
    let plain = tensor.getattr("shape")?.get_type();
    let class = class(py)?;
    for item in tensor.getattr("__dict__")?.call_method0("items")?.try_iter()?.collect::<PyResult<Vec<_>>>()? {
        let (name, descriptor) = item.extract::<(Bound<'_, PyString>, Bound<'_, PyAny>)>()?;
        if descriptor.is_instance(&plain)? && !NOT_OVERRIDDEN.contains(&name.to_str()?) {
            tensor.setattr(&name, property(&class, &name, &descriptor)?)?;
        }
    }
    Ok(())
}
