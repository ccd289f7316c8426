//! Where the spool is, as far as it can be told when the agent begins.

use std::path::PathBuf;

use anyhow::Context as _;
use tracing::{info, warn};

use crate::{
    folder::{Folder, FolderError},
    settings::{SPOOL_DIR, SpoolDir},
    telemetry::chain,
};

/// Takes the folder, if there is to be one. Fails when another agent works in a folder that was
/// asked for; one that can't be used yet is taken once it can be.
pub(super) fn choose(place: &SpoolDir) -> anyhow::Result<Option<Folder>> {
    match place {
        SpoolDir::Nowhere => {
            info!("no spool: frames that wait for the aggregator are in memory only");
            Ok(None)
        }
        SpoolDir::Usual => {
            let mut folder = Folder::new(PathBuf::from(SPOOL_DIR));
            match folder.take() {
                Ok(()) => {
                    info!(folder = SPOOL_DIR, "the spool is in its usual folder");
                    Ok(Some(folder))
                }
                Err(error) => {
                    info!(
                        reason = %chain(&error),
                        "no spool: frames that wait for the aggregator are in memory only, and a \
                         restart loses them; name a folder by --spool-dir"
                    );
                    Ok(None)
                }
            }
        }
        SpoolDir::At(path) => {
            let mut folder = Folder::new(path.clone());
            match folder.take() {
                Ok(()) => (),
                Err(error @ FolderError::Owned(_)) => {
                    return Err(error).context("cannot use --spool-dir");
                }
                Err(error) => warn!(
                    reason = %chain(&error),
                    "frames that wait for the aggregator are in memory only until this works"
                ),
            }
            Ok(Some(folder))
        }
    }
}
