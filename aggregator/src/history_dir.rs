//! Where history lies when nobody says.

use std::{ffi::OsString, path::PathBuf};

/// The history directory of this user: of root the system's, of others below their home. Nothing
/// when there is no home.
pub fn default_history_dir(
    is_root: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/tally-aggregator"));
    }
    // A relative path means nothing there, says the standard for these variables.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME");
    let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("tally-aggregator"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_root: bool, variables: &[(&str, &str)], expected: Option<&str>) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        assert_eq!(default_history_dir(is_root, variable), expected.map(PathBuf::from));
    }

    #[test]
    fn root_has_the_systems_and_others_one_below_their_home() {
        check(true, &[("HOME", "/root")], Some("/var/lib/tally-aggregator"));
        check(false, &[("HOME", "/home/a")], Some("/home/a/.local/state/tally-aggregator"));
        let both = [("HOME", "/home/a"), ("XDG_STATE_HOME", "/state")];
        check(false, &both, Some("/state/tally-aggregator"));
        check(
            false,
            &[("HOME", "/h"), ("XDG_STATE_HOME", "s")],
            Some("/h/.local/state/tally-aggregator"),
        );
        check(false, &[], None);
    }
}
