//! Drops long chains in pieces.
//!
//! What a node or a leaf holds may hold the next one, and so on for hundreds of thousands: nodes by their inputs and by what
//! hooks keep for them, leaves by their gradients. If each were dropped within the drop of the one before, the stack would
//! overflow.

use std::cell::{Cell, RefCell};

use super::meta::Grad;
use super::node::{Extras, Inputs, Rules};

/// What leads further along a chain.
#[expect(dead_code, reason = "held until it is dropped")]
pub enum Part {
    /// Of a node.
    Node(Inputs, Rules, Option<Box<Extras>>),
    /// Of a leaf.
    Grad(Grad),
}

/// Parts that are dropped within each other's drops at the most; the stack has room for some thousands.
const DEPTH_LIMIT: usize = 100;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static QUEUE: RefCell<Vec<Part>> = const { RefCell::new(Vec::new()) };
}

/// The right to drop a part now. One level up again when it goes, also when a panic passes.
pub struct Level(usize);

impl Level {
    /// One level further down; `None` if that is too deep: then [`defer`] the part.
    pub fn enter() -> Option<Level> {
        let depth = DEPTH.get();
        if depth >= DEPTH_LIMIT {
            return None;
        }
        DEPTH.set(depth + 1);
        Some(Level(depth))
    }

    /// Drops what was deferred, on the outermost level.
    pub fn end(self) {
        while self.0 == 0
            && let Ok(Some(part)) = QUEUE.try_with(|queue| queue.borrow_mut().pop())
        {
            drop(part);
        }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// Leaves a part to the outermost level.
pub fn defer(part: Part) {
    // Where the thread is ending, the queue is gone: then what is left drops here.
    let _ = QUEUE.try_with(|queue| queue.borrow_mut().push(part));
}
