//! Python objects that stand for a method or a function and hand their arguments on by the vectorcall protocol, without a
//! Python frame or a tuple.

use std::ffi::{CStr, c_char, c_void};
use std::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

/// Such an object. The rules of its call are plain data.
#[repr(C)]
pub struct Callable<R: Copy> {
    base: ffi::PyObject,
    vectorcall: ffi::vectorcallfunc,
    /// What it stands for.
    pub method: *mut ffi::PyObject,
    /// A string.
    pub name: *mut ffi::PyObject,
    doc: *mut ffi::PyObject,
    /// What its call needs to know.
    pub rules: R,
}

impl<R: Copy> Callable<R> {
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
        let end = slot(0, std::ptr::null_mut());
        let mut slots = [
            slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
            slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
            slot(ffi::Py_tp_dealloc, Self::dealloc as *mut c_void),
            slot(ffi::Py_tp_repr, repr as *mut c_void),
            if binds { slot(ffi::Py_tp_descr_get, bind as *mut c_void) } else { end },
            end,
        ];
        let mut flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_VECTORCALL;
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
    /// `class` comes from [`Callable::class`] of the same type, and `call` treats its first argument as such an object.
    pub unsafe fn make<'py>(
        class: &Bound<'py, PyType>,
        call: ffi::vectorcallfunc,
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
            (*new).vectorcall = call;
            (*new).method = method.clone().into_ptr();
            (*new).name = name.clone().into_ptr();
            (*new).doc = doc.into_ptr();
            (*new).rules = rules;
            Ok(object)
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

unsafe extern "C" {
    /// A bound method. Part of CPython's C API, but not of pyo3's declarations.
    fn PyMethod_New(function: *mut ffi::PyObject, instance: *mut ffi::PyObject) -> *mut ffi::PyObject;
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
