//! What plain files cannot play: a real cgroup that is made anew under the same path. Where no
//! cgroup may be made there is nothing to test.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::{fs, path::PathBuf};

use tally_agent::sampler::{Sampler, SamplerOptions};
use tally_proto::{
    columns::Builder,
    declaration::{Declared, EntityNumber},
    message::Declarations,
    tick::{Resolution, Tick},
};

/// A cgroup that goes when the test ends.
struct RealCgroup {
    directory: PathBuf,
    path: String,
}

impl RealCgroup {
    fn make() -> Option<Self> {
        let path = format!("/tally-test-{}", std::process::id());
        ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].into_iter().find_map(|mount| {
            let made = Self { directory: format!("{mount}{path}").into(), path: path.clone() };
            fs::create_dir(&made.directory).ok()?;
            // A directory that the kernel did not fill is none of its.
            made.directory.join("cgroup.procs").exists().then_some(made)
        })
    }

    fn make_anew(&self) {
        fs::remove_dir(&self.directory).unwrap();
        fs::create_dir(&self.directory).unwrap();
    }

    /// The number under which the declarations introduce it.
    fn number(&self, said: &Declarations) -> Option<EntityNumber> {
        let is_it = |what: &Declared| matches!(what, Declared::FreeContainer { path: Some(path), .. } if **path == *self.path);
        said.entities.iter().find(|entity| is_it(&entity.what)).map(|entity| entity.number)
    }
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.directory));
    }
}

#[test]
fn a_cgroup_made_anew_under_the_same_path_is_a_new_entity() {
    let Some(cgroup) = RealCgroup::make() else { return };
    let options = SamplerOptions::new("/", Resolution::from_seconds(1).unwrap());
    let Ok(mut sampler) = Sampler::open(options) else { return };
    let mut builder = Builder::new();
    let mut read = |tick| {
        let said = sampler.read(Tick(tick), &mut || 0, &mut builder);
        builder.finish();
        said
    };
    let first = cgroup.number(&read(1)).unwrap();
    cgroup.make_anew();
    let gone = read(2);
    assert!(gone.retired.contains(&first), "its files tell at once that it is gone");
    assert!(cgroup.number(&gone).is_none(), "it may still be half-way through being removed");
    assert!(cgroup.number(&read(3)).is_some());
    fs::remove_dir(&cgroup.directory).unwrap();
    let last = read(4);
    assert_eq!(last.retired.len(), 1);
}
