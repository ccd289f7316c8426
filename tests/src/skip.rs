//! Tests that can't run here.

use std::{env, fs, io::Write, os::unix::fs::MetadataExt, path::Path};

/// Says why a test does not run, past the harness, which keeps what passing tests print to itself.
///
/// # Panics
///
/// With `CI=true`, where what is missing could have been installed: as root on a Debian.
pub fn skip(why: &str) {
    // There is nobody else to tell.
    let _untold = writeln!(std::io::stderr(), "SKIPPED: {why}");
    assert!(!is_refused(), "CI could have run it: {why}");
}

/// Whether what can't run here fails for that: with `CI=true` as root on a Debian, where what is
/// missing could have been installed.
pub fn is_refused() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let could_run = is_root && Path::new("/usr/bin/apt-get").exists();
    could_run && env::var("CI").is_ok_and(|ci| ci == "true")
}
