//! Tensors that derivative rules hold: at which version they were saved, and what they show if their tensor has been given other data.

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::{Body, Counts, Tensor};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::storage::Storage;
use crate::tape::held::Role;
use crate::tape::{mode, node::short_name, saved};

/// How a tensor was saved for backward.
#[derive(Clone, Copy)]
pub(super) struct Saved {
    /// The version that the memory must still have when it is read.
    version: u32,
    /// What it is to the op that saved it.
    role: Role,
    /// Whether its tensor has been given data of another shape since: its elements are of no use.
    outgrown: bool,
    /// Whether this is a copy of what was there before a write: for tangents only. See [`crate::tape::former`].
    former: bool,
}

/// An input that a rule holds. To read it is to read what the tensor shows then: it may have been given other data (`x.data = y`).
///
/// Rules count on shape and dtype: data of another precision are converted, those of a shape that broadcasts expanded. With others of
/// another shape reading fails, with those of another dtype they go on with what was saved.
pub struct SavedInput {
    tensor: Tensor,
    /// With the data given since, if it has been read.
    later: OnceLock<Box<SavedInput>>,
}

impl Clone for SavedInput {
    fn clone(&self) -> SavedInput {
        SavedInput { tensor: self.tensor.clone(), later: OnceLock::new() }
    }
}

impl std::ops::Deref for SavedInput {
    type Target = Tensor;
    #[inline]
    fn deref(&self) -> &Tensor {
        match self.tensor.body.given.get() {
            Some(given) if !self.tensor.fixed => self.with_data_of(given),
            _ => &self.tensor,
        }
    }
}

impl SavedInput {
    #[cold]
    fn with_data_of(&self, given: &Given) -> &Tensor {
        if let Some(later) = self.later.get() {
            return later;
        }
        let later = self.tensor.with_data_of(given);
        let later = later.outgrown(false);
        let tensor = match (later.shape() == self.tensor.shape(), later.dtype() == self.tensor.dtype()) {
            (true, true) => later,
            (same_shape, _) => match later.fitted_to(&self.tensor) {
                Some(fitted) => fitted,
                None if same_shape || self.tensor.saved.is_some_and(|saved| saved.outgrown) => return &self.tensor,
                None => self.tensor.clone().outgrown(true),
            },
        };
        self.later.get_or_init(|| Box::new(SavedInput { tensor, later: OnceLock::new() }))
    }
}

/// What a tensor shows that has been given other data.
pub(super) type Given = Mutex<Arc<Body>>;

impl Tensor {
    /// A handle for a derivative rule: reading it later fails if the memory has been written to meanwhile.
    pub fn save(&self) -> Tensor {
        self.save_as(Role::Other)
    }

    /// The same for a rule of an op to which this is one of its operands or results.
    pub fn save_as(&self, role: Role) -> Tensor {
        let mut y = self.kept();
        if mode::is_recording() && !(self.is_inference() && mode::is_inference()) {
            let (version, former) = self.saved.map_or_else(|| (self.version(), false), |saved| (saved.version, saved.former));
            y.saved = Some(Saved { version, role, outgrown: false, former });
        }
        // A place on the tape may change by in-place ops: keep the one of now.
        let y = match (self.body.meta.get().map(|meta| (meta, meta.node())), &self.body.origin) {
            (Some((_, Some((node, output)))), Some((origin, place))) if Arc::ptr_eq(&node, origin) && output == *place => y,
            (Some((_, Some((node, output)))), _) => y.with_origin(node, output),
            // It has been detached in place.
            (Some((meta, None)), Some(_)) if self.saved.is_none() => y.with_meta(meta.clone()),
            _ => y,
        };
        // In inference mode only functions are differentiated, which are over before anybody writes to what they saved.
        let refused = self.is_inference() && mode::is_recording() && self.saved.is_none() && !mode::is_inference();
        if refused { y.refused() } else { y }
    }

    /// The same as [`save_as`](Self::save_as) of an input; see [`SavedInput`].
    pub fn save_input(&self, role: Role) -> SavedInput {
        SavedInput { tensor: self.save_as(role), later: OnceLock::new() }
    }

    /// What a saved tensor is to the op that saved it.
    pub(crate) fn role(&self) -> Role {
        self.saved.map_or(Role::Other, |saved| saved.role)
    }

    /// Whether both are handles of one saved tensor of an op.
    pub(crate) fn is_saved_as(&self, other: &Tensor) -> bool {
        self.role() == other.role() && self.shows_the_same_as(other)
    }

    /// This tensor as it was before it was saved.
    pub(crate) fn unsaved(&self) -> Tensor {
        Tensor { saved: None, ..self.clone() }
    }

    /// A saved tensor without elements, for a rule to hold in the place of this one.
    pub(crate) fn stand_in(&self) -> Tensor {
        let nothing = Tensor::from_parts(Storage::nothing(), Layout::contiguous(&[0]), self.dtype());
        Tensor { saved: self.saved, ..nothing }
    }

    /// This saved handle with the data that the tensor has been given since.
    pub fn current(&self) -> Tensor {
        let given = self.body.given.get().filter(|_| !self.fixed);
        given.map_or_else(|| self.clone(), |given| self.with_data_of(given).current())
    }

    /// This saved handle over a copy of what it shows, which is about to be written to.
    pub(crate) fn former(&self, copy: &Tensor) -> Option<Tensor> {
        let saved = Saved { former: true, ..self.saved? };
        let (storage, layout) = (copy.storage().clone(), copy.layout().clone());
        let Body { dtype, inference, level, samples, origin, meta, .. } = &*self.body;
        let y = Tensor::of(Body {
            storage,
            contiguous: layout.is_contiguous(),
            layout,
            dtype: *dtype,
            inference: *inference,
            level: *level,
            samples: samples.clone(),
            counts: self.counts_of_copies(),
            origin: origin.clone(),
            meta: meta.clone(),
            given: OnceLock::new(),
            found_by: Weak::new(),
        });
        Some(Tensor { saved: Some(saved), fixed: self.fixed, ..y })
    }

    fn with_data_of(&self, given: &Given) -> Tensor {
        Tensor { body: given.lock().clone(), ..self.clone() }
    }

    /// These data in the shape and dtype of those that were saved, if they broadcast and only the precision is another.
    fn fitted_to(&self, saved: &Tensor) -> Option<Tensor> {
        if !(self.dtype().is_float() && saved.dtype().is_float()) || self.check_saved().is_err() {
            return None;
        }
        self.to_dtype(saved.dtype()).and_then(|x| x.expand_to("backward", saved.shape())).ok()
    }

    fn outgrown(self, outgrown: bool) -> Tensor {
        Tensor { saved: self.saved.map(|saved| Saved { outgrown, ..saved }), ..self }
    }

    /// This handle, in a body of its own, by which the op that saves it finds out whether a rule has kept it.
    fn refused(self) -> Tensor {
        let (origin, meta) = (self.body.origin.clone(), self.body.meta.clone());
        let y = self.placed(origin, meta);
        let body: Arc<dyn Any + Send + Sync> = y.body.clone();
        saved::refuse(Arc::downgrade(&body));
        y
    }

    /// A handle for ops of which torch saves a view or a copy: their rules do not follow if the tensor is given other data.
    pub fn fixed(&self) -> Tensor {
        Tensor { fixed: true, ..self.clone() }
    }

    /// Fails if this is a saved tensor whose memory has been written to since, or that has been taken off the tape in place.
    #[inline]
    pub fn check_saved(&self) -> Result<()> {
        let Some(saved) = self.saved else { return Ok(()) };
        self.check_there()?;
        if saved.former && mode::is_forward() {
            return Ok(());
        }
        // Ops in place that change the shape are writes, too.
        self.check_version(saved.version)?;
        if saved.outgrown {
            return Err(Error::Outgrown { what: self.word() });
        }
        match (&self.body.origin, saved.role) {
            (Some((node, output)), Role::Operand(_) | Role::Other) if !mode::is_forward() => node.check_attached(*output),
            _ => Ok(()),
        }
    }

    /// Fails if this is a parameter that has no shape yet: for ops that look at shapes before they read.
    #[inline]
    pub fn check_there(&self) -> Result<()> {
        match self.saved {
            Some(Saved { role: Role::Missing, .. }) => missing(),
            _ => Ok(()),
        }
    }

    /// Makes this handle a parameter that has no shape yet, or one that has.
    pub fn set_missing(&mut self, is_missing: bool) {
        let saved = Saved { version: self.version(), role: Role::Missing, outgrown: false, former: false };
        self.saved = is_missing.then_some(saved);
    }

    /// What errors call it.
    fn word(&self) -> String {
        format!("[torch.{}Tensor {:?}]", self.dtype().type_word(), self.shape())
    }

    /// Fails if the memory is not as it was at a version, or never counted.
    pub fn check_version(&self, expected: u32) -> Result<()> {
        if self.is_inference() {
            return Err(Error::Inference);
        }
        if expected == self.version() {
            return Ok(());
        }
        let what = self.word();
        // Named is the op whose result it is now: most often the one that changed it.
        let now = self.body.meta.get().and_then(|meta| meta.node()).or_else(|| self.node());
        let what = match now {
            Some((node, output)) => format!("{what}, which is output {output} of {},", short_name(&node.name())),
            None => what,
        };
        Err(Error::Modified { what, found: self.version(), expected, traced: crate::tape::anomaly::is_enabled() })
    }

    /// Makes this handle show what `other` shows, at its own place on the tape: `x.data = other`.
    #[must_use = "what it was before: its end may run the user's code, which must find the tensor free"]
    pub(crate) fn set_data(&mut self, other: &Tensor) -> Tensor {
        let meta = OnceLock::from(self.meta_or_new());
        let Body { storage, layout, contiguous, dtype, inference, .. } = &*other.body;
        if !storage.same(&self.body.storage) {
            self.leave_base();
        }
        // The count of the tensor goes on, with that of the other it has nothing to do.
        let counts = match &self.body.counts {
            Counts::Memory | Counts::OfSample(_) if !storage.same(&self.body.storage) => Counts::own(self.version()),
            counts => counts.clone(),
        };
        let given = self.body.found_by.upgrade().unwrap_or_else(|| Arc::new(Mutex::new(self.body.clone())));
        let body = Arc::new(Body {
            storage: storage.clone(),
            layout: layout.clone(),
            contiguous: *contiguous,
            dtype: *dtype,
            inference: *inference,
            level: self.body.level,
            samples: other.body.samples.clone(),
            counts,
            origin: None,
            meta,
            given: OnceLock::new(),
            found_by: Arc::downgrade(&given),
        });
        let before = std::mem::replace(&mut *given.lock(), body.clone());
        drop(before);
        let body = std::mem::replace(&mut self.body, body);
        let _first = body.given.set(given);
        self.note_layout(body.layout.shape != self.body.layout.shape);
        Tensor { body, saved: None, is_number: false, reusable: false, fixed: false }
    }
}

#[cold]
fn missing() -> Result<()> {
    Err(Error::Value(
        "Attempted to use an uninitialized parameter in an op. It belongs to a lazy module (or was made by hand): call the module's \
         `forward` with a batch first."
            .into(),
    ))
}
