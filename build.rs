//! Tells the compiler which Python this is built for, `cfg(Py_GIL_DISABLED)`, and the linker how the library gets smaller.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    println!("cargo:rerun-if-changed=build.rs");
    for argument in SMALLER.iter().filter(|argument| links_with(argument)) {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}

/// Options of the linker lld, which Rust brings for Linux on x86-64.
const SMALLER: [&str; 3] = [
    // Keeps one of several functions with the same code (of integers of one size, say): 2 % of the library.
    "-Wl,--icf=all",
    // Puts functions that are alike next to each other: 5 % of the wheel, as what it is compressed by remembers 32 KB.
    "-Wl,--bp-compression-sort=both",
    // Keeps one of strings that end alike.
    "-Wl,-O2",
];

/// Whether an empty library can be linked with an argument.
fn links_with(argument: &str) -> bool {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let directory = variable("OUT_DIR");
    let source = Path::new(&directory).join("empty.rs");
    if variable("CARGO_CFG_TARGET_OS") != "linux" || std::fs::write(&source, "").is_err() {
        return false;
    }
    let mut compiler = Command::new(variable("RUSTC"));
    compiler.args(["--crate-type=cdylib", "--target", &variable("TARGET"), "--out-dir", &directory]);
    compiler.args(["-C", &format!("link-arg={argument}")]).arg(&source).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.args(["-C", &format!("linker={linker}")]);
    }
    compiler.status().is_ok_and(|status| status.success())
}
