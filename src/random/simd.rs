//! Compiling a loop a second time for AVX2 and FMA.

/// Defines a function whose body is compiled twice, plainly and for AVX2 with FMA, and picks at run time.
///
/// The loops are ordinary Rust that the compiler vectorises; Rust never fuses or reorders floating-point
/// operations on its own, so both versions give the same bits. A macro, because a target feature belongs
/// to a function and cannot be a parameter.
macro_rules! dispatched {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            fn body($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $ty),*) {
                    body($($arg),*)
                }
                if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has just been found to have both features.
                    return unsafe { wide($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

pub(super) use dispatched;
