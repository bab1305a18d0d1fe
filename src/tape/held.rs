//! What derivative rules hold: found, and exchanged, by cloning them.
//!
//! Rules are closures, which nobody can look into. But a clone of a rule has clones of what it holds: while they are looked at on
//! this thread, saved tensors note that they are cloned, and may be asked to answer another tensor. So recording costs nothing.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::node::{Node, Rules};
use super::saved_names;
use crate::tensor::Tensor;

/// What a saved tensor is to its op.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One of those that are differentiated, by number.
    Operand(u8),
    /// One of its results.
    Output(u8),
    /// Anything else.
    Other,
    /// None: a parameter that has no shape yet, and must not be read.
    Missing,
}

impl Role {
    /// The next operand, for the macro that counts them.
    pub fn operand(places: &mut std::ops::RangeFrom<u8>) -> Role {
        places.next().map_or(Role::Other, Role::Operand)
    }
}

/// What is found, and what stands in the place of what.
struct Look {
    found: Vec<Tensor>,
    exchanged: Vec<(Tensor, Tensor)>,
    /// What is held in the place of what memory showed before it was written to; each stays where it is on the tape.
    copies: Vec<(Tensor, Tensor)>,
}

/// How many threads look: all that is asked as long as none does.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LOOK: RefCell<Option<Look>> = const { RefCell::new(None) };
}

/// Whether saved tensors that are cloned must be shown.
#[inline]
pub fn is_looking() -> bool {
    LOOKING.load(Ordering::Relaxed) != 0
}

/// Shows a saved tensor that is being cloned. Answers what its clone is, if not the same.
#[cold]
pub fn show(x: &Tensor) -> Option<Tensor> {
    // Taken away, so that what is cloned here is not shown.
    let mut look = LOOK.try_with(RefCell::take).ok()??;
    if !look.found.iter().any(|found| found.is_saved_as(x)) {
        look.found.push(x.clone());
    }
    let other = match look.copies.iter().find(|(old, _)| old.shows_the_same_as(x)) {
        Some((_, copy)) => x.former(copy),
        None => look.exchanged.iter().find(|(old, _)| old.is_saved_as(x)).map(|(_, new)| new.clone()),
    };
    LOOK.set(Some(look));
    other
}

/// Ends a look, also when it is left by a panic.
struct Looking;

impl Looking {
    fn at(look: Look) -> Looking {
        LOOK.set(Some(look));
        LOOKING.fetch_add(1, Ordering::Relaxed);
        Looking
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        LOOK.take();
        LOOKING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The same rules over other tensors: with each pair, over the second in the place of the first.
pub fn exchange(rules: &Rules, exchanged: Vec<(Tensor, Tensor)>) -> Rules {
    if exchanged.is_empty() {
        return rules.clone();
    }
    let _looking = Looking::at(Look { found: Vec::new(), exchanged, copies: Vec::new() });
    rules.again()
}

/// The same rules over copies of memory that is about to be written to; see [`super::former`].
pub fn over_copies(rules: &Rules, copies: Vec<(Tensor, Tensor)>) -> Rules {
    let _looking = Looking::at(Look { found: Vec::new(), exchanged: Vec::new(), copies });
    rules.again()
}

/// The same rules over tensors without history.
pub fn off_tape(rules: &Rules) -> Rules {
    exchange(rules, found_in(rules).into_iter().map(|x| (x.clone(), x.detached(false))).collect())
}

/// The tensors that rules hold, each once.
fn found_in(rules: &Rules) -> Vec<Tensor> {
    let _looking = Looking::at(Look { found: Vec::new(), exchanged: Vec::new(), copies: Vec::new() });
    let _same = rules.again();
    LOOK.take().map(|look| look.found).unwrap_or_default()
}

/// The tensors that the rules of a node hold, each once, under torch's names and in their order.
pub fn held_by(node: &Node) -> Vec<(&'static str, Tensor)> {
    if !node.saves {
        return Vec::new();
    }
    let rules = node.rules.lock().clone();
    let found = found_in(&rules);
    let mut others = 0..;
    let mut named: Vec<_> = found
        .into_iter()
        .map(|x| {
            let other = if x.role() == Role::Other { others.next().unwrap_or_default() } else { 0 };
            (saved_names::name_of(node, x.role(), other), x)
        })
        .collect();
    // As torch does: results come after the arguments.
    named.sort_by_key(|(name, x)| (*name == saved_names::NAMELESS, matches!(x.role(), Role::Output(_)), *name));
    named
}
