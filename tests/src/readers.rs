//! The python that has others' readers of what Tally writes.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The python of `tests/setup/install-readers`, if it is there and has a module.
pub fn python(module: &str) -> Option<PathBuf> {
    let lab = env::var_os("TALLY_LAB")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/tally-lab")))?;
    let python = Some(lab.join("readers/bin/python")).filter(|python| python.exists())?;
    let mut import = Command::new(&python);
    import.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    import.status().is_ok_and(|status| status.success()).then_some(python)
}
