//! What memory held before a write, for tangents.
//!
//! A tangent is computed when it is asked for, from what the rules of the ops hold that led there; in torch each op computes it at
//! once. So ops that lead to what carries a tangent are listed by the memory that their rules hold, and before that is written to
//! the rules get copies. Only tangents are computed from these: for gradients, the memory has been written to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::held::{self, held_by};
use super::meta::Meta;
use super::mode::{self, Mode};
use super::node::{DUAL_LEAF, Node};
use crate::error::Result;
use crate::tensor::Tensor;

/// The ops of a thread that lead to tangents, by where the memory begins that their rules hold.
struct Holders {
    of: HashMap<*const u8, Vec<Weak<Node>>>,
    /// How many have been listed, and at how many those that are gone are looked for.
    listed: usize,
    clean_at: usize,
}

const FIRST_CLEANING: usize = 256;

thread_local! {
    static HOLDERS: RefCell<Option<Holders>> = const { RefCell::new(None) };
    static LEAVES: RefCell<Vec<Weak<Meta>>> = const { RefCell::new(Vec::new()) };
}

/// Lists a node that has just been made, if it leads to what carries a tangent.
#[inline]
pub fn list(node: &Arc<Node>) {
    if node.saves && node.is_dual() && mode::has_tangents() {
        list_holder(node);
    }
}

#[cold]
fn list_holder(node: &Arc<Node>) {
    let mut memory: Vec<*const u8> = held_by(node).iter().map(|(_, x)| x.storage().start().cast_const()).collect();
    memory.sort_unstable();
    memory.dedup();
    HOLDERS.with_borrow_mut(|holders| {
        let holders = holders.get_or_insert_with(|| Holders { of: HashMap::new(), listed: 0, clean_at: FIRST_CLEANING });
        if holders.listed >= holders.clean_at {
            holders.of.retain(|_, nodes| {
                nodes.retain(|node| node.strong_count() > 0);
                !nodes.is_empty()
            });
            holders.listed = holders.of.values().map(Vec::len).sum();
            holders.clean_at = FIRST_CLEANING.max(2 * holders.listed);
        }
        holders.listed += memory.len();
        for start in memory {
            holders.of.entry(start).or_default().push(Arc::downgrade(node));
        }
    });
}

/// Forgets all, as no tangents are followed any more.
pub fn forget() {
    mode::set_mode(Mode { lists: false, ..mode::mode() });
    HOLDERS.take();
    for meta in LEAVES.take().into_iter().filter_map(|meta| meta.upgrade()) {
        let _later = {
            let mut state = meta.lock();
            let node = state.node.take_if(|(node, _)| node.op == DUAL_LEAF);
            state.requires_grad |= node.is_some();
            node
        };
    }
}

/// Lists a leaf that is about to be one that carries a tangent, as something has been written to it that does.
pub fn list_leaf(meta: &Arc<Meta>) {
    LEAVES.with_borrow_mut(|leaves| leaves.push(Arc::downgrade(meta)));
}

/// Before a write to `x`: copies what tangents are to be computed from.
#[inline]
pub fn before_write(x: &Tensor) -> Result<()> {
    if mode::mode().lists { copy_for_holders(x) } else { Ok(()) }
}

#[cold]
fn copy_for_holders(x: &Tensor) -> Result<()> {
    let start = x.storage().start().cast_const();
    let nodes = HOLDERS.with_borrow_mut(|holders| holders.as_mut().and_then(|holders| holders.of.remove(&start)));
    let mut copies: Vec<(Tensor, Tensor)> = Vec::new();
    for node in nodes.into_iter().flatten().filter_map(|node| node.upgrade()) {
        for (_, held) in held_by(&node) {
            let found = !held.storage().same(x.storage()) || copies.iter().any(|(old, _)| old.shows_the_same_as(&held));
            if !found && held.check_saved().is_ok() {
                let copy = mode::without_recording(|| held.unsaved().copied())?;
                copies.push((held, copy));
            }
        }
        let before = {
            let mut rules = node.rules.lock();
            let copied = held::over_copies(&rules, copies.clone());
            std::mem::replace(&mut *rules, copied)
        };
        // It may run code of the user's when it is dropped.
        drop(before);
    }
    Ok(())
}
