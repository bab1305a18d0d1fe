//! Letting other Python threads run while a kernel works or a lock is awaited. The Python layer says how; ops and
//! storage only say when.

use std::sync::OnceLock;

/// Runs its argument without the interpreter lock.
pub type Release = fn(&mut dyn FnMut());

static RELEASE: OnceLock<Release> = OnceLock::new();

/// Elements above which a kernel takes longer than a few microseconds.
const WORTH_RELEASING: usize = 32 * 1024;

/// Says how the interpreter lock is released; called once, when the module is loaded.
pub fn set_release(release: Release) {
    let _ = RELEASE.set(release);
}

/// Runs something without the interpreter lock.
pub fn released(body: &mut dyn FnMut()) {
    match RELEASE.get() {
        Some(release) => release(body),
        None => body(),
    }
}

/// Runs a kernel of so much `work` (elements touched, or multiply-adds / 16) without the interpreter lock if that pays.
pub fn without_interpreter<R>(work: usize, body: impl FnOnce() -> R) -> R {
    match RELEASE.get() {
        Some(release) if work >= WORTH_RELEASING => {
            let mut body = Some(body);
            let mut result = None;
            release(&mut || {
                if let Some(body) = body.take() {
                    result = Some(body());
                }
            });
            match (result, body) {
                (Some(result), _) => result,
                (None, Some(body)) => body(),
                (None, None) => unreachable!("a kernel runs once"),
            }
        }
        _ => body(),
    }
}
