//! Python objects that stand for a method or a function and hand their arguments on by the vectorcall protocol, without a
//! Python frame or a tuple.

use std::ffi::{CStr, c_char, c_void};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::overrides::{any_overriding, ask, expect, possible};
use super::panics::{SetAside, internal_error};

/// How such an object is called: the rules are plain data.
pub trait Rules: Copy {
    /// Calls it, by the vectorcall protocol.
    ///
    /// # Safety
    /// `object` is a [`Callable`] with these rules, `args` holds as many borrowed references as `nargsf` and `kwnames` say, `kwnames`
    /// is null or a tuple of strings, and the interpreter lock is held.
    unsafe extern "C" fn call(
        object: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;

    /// Whether the classes of the arguments may override it, or only modes.
    fn asks_classes(&self) -> bool {
        true
    }
}

/// Such an object.
#[repr(C)]
pub struct Callable<R: Rules> {
    base: ffi::PyObject,
    vectorcall: ffi::vectorcallfunc,
    /// What it stands for.
    pub method: *mut ffi::PyObject,
    /// How that is called.
    pub method_call: ffi::vectorcallfunc,
    /// A string.
    pub name: *mut ffi::PyObject,
    doc: *mut ffi::PyObject,
    /// What its call needs to know.
    pub rules: R,
}

impl<R: Rules> Callable<R> {
    /// The class of these objects; with `binds` an object in a class becomes a method of its instances.
    pub fn class<'py>(py: Python<'py>, name: &'static CStr, binds: bool) -> PyResult<Bound<'py, PyType>> {
        let member = |name: &'static CStr, kind: i32, offset: usize| ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: kind,
            offset: offset as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        };
        let object = ffi::Py_T_OBJECT_EX;
        // The type reads the members for as long as it lives: for ever.
        let members = Box::leak(Box::new([
            member(c"__vectorcalloffset__", ffi::Py_T_PYSSIZET, offset_of!(Self, vectorcall)),
            member(c"__name__", object, offset_of!(Self, name)),
            member(c"__qualname__", object, offset_of!(Self, name)),
            member(c"__doc__", object, offset_of!(Self, doc)),
            member(c"__wrapped__", object, offset_of!(Self, method)),
            ffi::PyMemberDef::default(),
        ]));
        let slot = |slot: i32, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
        let repr: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject =
            if binds { Self::repr_of_method } else { Self::repr };
        let mut slots = [
            slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
            slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
            slot(ffi::Py_tp_dealloc, Self::dealloc as *mut c_void),
            slot(ffi::Py_tp_repr, repr as *mut c_void),
            slot(ffi::Py_tp_descr_get, if binds { bind as *mut c_void } else { keep as *mut c_void }),
            slot(0, std::ptr::null_mut()),
        ];
        // Python remembers the way to methods of types that never change.
        let mut flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_VECTORCALL | ffi::Py_TPFLAGS_IMMUTABLETYPE;
        if binds {
            flags |= ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
        }
        let mut spec = ffi::PyType_Spec {
            name: name.as_ptr() as *const c_char,
            basicsize: size_of::<Self>() as i32,
            itemsize: 0,
            flags: flags as u32,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the spec describes `Self`: the offsets are those of its fields, the slots have C's signatures.
        let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
        Ok(class.cast_into::<PyType>()?)
    }

    /// An object of such a class that stands for `method`, whose documentation it takes over.
    ///
    /// # Safety
    /// `class` comes from [`Callable::class`] of the same type.
    pub unsafe fn make<'py>(
        class: &Bound<'py, PyType>,
        method: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
        rules: R,
    ) -> PyResult<Bound<'py, PyAny>> {
        let doc = method.getattr("__doc__")?;
        // SAFETY: the fresh object is of the class, laid out as `Self`; all fields are set before anybody sees it, the objects
        // with a reference of their own.
        unsafe {
            let object = Bound::from_owned_ptr_or_err(class.py(), ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0))?;
            let new = object.as_ptr().cast::<Self>();
            (*new).vectorcall = Self::enter;
            (*new).method = method.clone().into_ptr();
            (*new).method_call = ffi::PyVectorcall_Function(method.as_ptr()).unwrap_or(ffi::PyObject_Vectorcall);
            (*new).name = name.clone().into_ptr();
            (*new).doc = doc.into_ptr();
            (*new).rules = rules;
            Ok(object)
        }
    }

    /// Its call, unless somebody overrides it.
    unsafe extern "C" fn enter(
        object: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        // SAFETY: that of `call`; the answer is a new reference.
        unsafe {
            if possible() {
                match Self::ask(object, args, nargsf, kwnames) {
                    Ok(None) => {}
                    Ok(Some(answer)) => return answer.into_ptr(),
                    Err(error) => {
                        error.restore(Python::assume_attached());
                        return std::ptr::null_mut();
                    }
                }
                return R::call(object, args, nargsf, kwnames);
            }
            let result = R::call(object, args, nargsf, kwnames);
            // Objects that are no tensors but have rules are not known before they come.
            if result.is_null() && Self::met_one_with_rules(args, nargsf, kwnames) {
                return Self::enter(object, args, nargsf, kwnames);
            }
            result
        }
    }

    /// What others say that a call gives.
    unsafe fn ask<'py>(
        object: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        // Nothing but this stands between a panic and C.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: that of `call`.
            unsafe {
                let py = Python::assume_attached();
                let args = arguments(py, args, nargsf, kwnames);
                let names = Bound::from_borrowed_ptr_or_opt(py, kwnames).map(|names| names.cast_into::<PyTuple>()).transpose()?;
                let function = || Ok(Bound::from_borrowed_ptr(py, object));
                ask(function, py, &args, names.as_ref(), (*object.cast::<Self>()).rules.asks_classes())
            }
        }));
        answer.unwrap_or_else(|cause| Err(internal_error(cause)))
    }

    /// Whether a call failed because an argument's class has rules, which nobody knew. The error is cleared then.
    #[cold]
    unsafe fn met_one_with_rules(args: *const *mut ffi::PyObject, nargsf: usize, kwnames: *mut ffi::PyObject) -> bool {
        // SAFETY: that of `call`.
        unsafe {
            let py = Python::assume_attached();
            let error = SetAside::new(py);
            let found = catch_unwind(AssertUnwindSafe(|| any_overriding(&arguments(py, args, nargsf, kwnames)).unwrap_or(false)));
            if found.unwrap_or(false) {
                expect();
                error.clear();
                return true;
            }
            false
        }
    }

    unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
        // SAFETY: called once, for an object of the class, which owns a reference to each of these and one to its class.
        unsafe {
            let callable = object.cast::<Self>();
            ffi::Py_DECREF((*callable).method);
            ffi::Py_DECREF((*callable).name);
            ffi::Py_DECREF((*callable).doc);
            let class = ffi::Py_TYPE(object);
            ffi::PyObject_Free(object.cast());
            ffi::Py_DECREF(class.cast());
        }
    }

    unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: called for an object of the class, whose name is a string; %U takes one.
        unsafe { ffi::PyUnicode_FromFormat(c"<function ferrograd.%U>".as_ptr(), (*object.cast::<Self>()).name) }
    }

    unsafe extern "C" fn repr_of_method(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: called for an object of the class.
        unsafe { ffi::PyObject_Repr((*object.cast::<Self>()).method) }
    }
}

/// All arguments of a vectorcall, those with names last.
unsafe fn arguments<'a, 'py>(
    py: Python<'py>,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> Vec<Borrowed<'a, 'py, PyAny>> {
    // SAFETY: `args` holds as many references as this.
    unsafe {
        let named = if kwnames.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(kwnames) };
        let count = ffi::PyVectorcall_NARGS(nargsf) + named;
        (0..count as usize).map(|i| Borrowed::from_ptr(py, *args.add(i))).collect()
    }
}

unsafe extern "C" {
    /// A bound method. Part of CPython's C API, but not of pyo3's declarations.
    fn PyMethod_New(function: *mut ffi::PyObject, instance: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// A function in a class stays a function; `help` takes only what has this for one.
unsafe extern "C" fn keep(
    object: *mut ffi::PyObject,
    _instance: *mut ffi::PyObject,
    _class: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the descriptor protocol: a borrowed reference.
    unsafe { ffi::Py_NewRef(object) }
}

/// `x.sum` without a call, and `Tensor.sum`.
unsafe extern "C" fn bind(
    object: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    _class: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the descriptor protocol: borrowed references, the instance null if looked up on the class.
    unsafe { if instance.is_null() { ffi::Py_NewRef(object) } else { PyMethod_New(object, instance) } }
}
