//! Whether ops are recorded, per thread: `no_grad`, `enable_grad`, `inference_mode`.

use std::cell::Cell;

use super::level::Level;
use super::sample::Maps;

/// What becomes of tangents, whose histories ([`super::node::Node::is_shown`]) only lead to what carries one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forward {
    /// There are none: such histories are as none.
    Off,
    /// What carries one is followed, under `no_grad`, too. The user differentiates as if there were none.
    Followed,
    /// They are being computed from what has been recorded.
    Computed,
}

/// The state that the context managers save and restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Whether ops on tensors that require a gradient are recorded.
    pub grad: bool,
    /// Whether tensors are made that can never take part in a recording.
    pub inference: bool,
    /// Whether ops are recorded there, too, as a function is being differentiated.
    pub always: bool,
    /// What becomes of tangents.
    pub forward: Forward,
    /// Whether tangents are carried on this thread, perhaps hidden from what runs now: what they come of is listed, see [`super::former`].
    pub lists: bool,
    /// Whether views remember what they are views of: all that a user can see do.
    pub views: bool,
    /// Whether the first gradient of a leaf is copied if it does not lie as the leaf does.
    pub grad_layout: bool,
    /// The transforms of functions that the thread is in.
    pub level: Level,
    /// The maps whose samples all depends on that is made now. See [`super::sample::made_of`].
    pub made_of: Maps,
}

impl Mode {
    /// See [`is_recording`].
    #[inline]
    pub fn records(self) -> bool {
        (self.grad || self.forward == Forward::Followed) && (!self.inference || self.always)
    }
}

thread_local! {
    static MODE: Cell<Mode> = const {
        let level = Level { number: 0, differentiates: 0, maps: 0 };
        let (forward, lists, made_of) = (Forward::Off, false, Maps::NONE);
        Cell::new(Mode { grad: true, inference: false, always: false, forward, lists, views: true, grad_layout: true, level, made_of })
    };
}

/// This thread's mode.
pub fn mode() -> Mode {
    MODE.get()
}

/// Sets this thread's mode and returns the one before.
pub fn set_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}

/// Whether ops are being recorded on this thread: in inference mode not even where `enable_grad` is on, but where a function is
/// being differentiated.
#[inline]
pub fn is_recording() -> bool {
    MODE.get().records()
}

/// Whether ops note what comes of their operands: they are recorded, or a function is being mapped.
#[inline]
pub fn is_following() -> bool {
    let mode = MODE.get();
    mode.records() || mode.level.maps != 0
}

/// Whether histories that only lead to tangents count.
#[inline]
pub fn has_tangents() -> bool {
    MODE.get().forward != Forward::Off
}

/// Whether tangents are being followed.
pub fn follows_tangents() -> bool {
    MODE.get().forward == Forward::Followed
}

/// Whether rules run for the derivative along tangents. A few have another value at kinks then, as torch's formulas do.
pub fn is_forward() -> bool {
    MODE.get().forward == Forward::Computed
}

/// Whether tensors made now are inference tensors.
#[inline]
pub fn is_inference() -> bool {
    MODE.get().inference
}

/// Restores the mode when dropped.
pub struct ModeGuard(Mode);

impl ModeGuard {
    /// For derivative rules whose own derivatives nobody asked for: their views are seen by nobody else.
    pub fn of_rule() -> ModeGuard {
        ModeGuard(MODE.replace(Mode { grad: false, views: false, ..MODE.get() }))
    }

    /// For views that no user can see.
    pub fn without_views() -> ModeGuard {
        ModeGuard(MODE.replace(Mode { views: false, ..MODE.get() }))
    }

    /// What is made depends on samples of these.
    pub(super) fn made_of(maps: Maps) -> ModeGuard {
        ModeGuard(MODE.replace(Mode { made_of: maps, ..MODE.get() }))
    }

    /// Switches recording on or off, as the user does, until the guard is dropped.
    pub fn grad(enabled: bool) -> ModeGuard {
        ModeGuard(MODE.replace(Mode { grad: enabled, ..MODE.get() }))
    }

    /// Nothing is recorded, for tangents neither.
    pub fn off() -> ModeGuard {
        let mode = MODE.get();
        let forward = if mode.forward == Forward::Followed { Forward::Off } else { mode.forward };
        ModeGuard(MODE.replace(Mode { grad: false, forward, ..mode }))
    }
}

impl Drop for ModeGuard {
    fn drop(&mut self) {
        MODE.set(self.0);
    }
}

/// Runs something whose ops are not recorded.
pub fn without_recording<R>(body: impl FnOnce() -> R) -> R {
    let _guard = ModeGuard::off();
    body()
}
