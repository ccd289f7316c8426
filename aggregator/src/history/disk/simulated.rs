//! A disk in memory that crashes when it is told to, and then keeps no more than a disk must.
//!
//! For tests of what must survive. Each change counts as one step; at the chosen step the disk
//! stops, and every call fails from there on. What is found afterwards is what was synced, and of
//! the rest as much as the seed says: a part of a file's unsynced bytes, the first few of the
//! renames and removals.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Disk, NewFile, OldFile};

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// The names as of the last sync of the directory, and what was done to them since.
    durable: BTreeMap<String, Arc<Mutex<Content>>>,
    since: Vec<Change>,
    /// Changes until the crash; never without one.
    steps_left: Option<u64>,
    steps: u64,
    /// Bytes that fit; more is a full disk.
    room: Option<u64>,
    /// Files that can't be opened.
    unreadable: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Create(String, Arc<Mutex<Content>>),
    Rename(String, String),
    Remove(String),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn absent() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => return Err(io::Error::other("the simulated disk has crashed")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.steps += 1;
        Ok(())
    }
}

fn apply(files: &mut BTreeMap<String, Arc<Mutex<Content>>>, change: &Change) {
    match change {
        Change::Create(name, content) => {
            files.insert(name.clone(), Arc::clone(content));
        }
        Change::Rename(from, to) => {
            if let Some(content) = files.remove(from) {
                files.insert(to.clone(), content);
            }
        }
        Change::Remove(name) => {
            files.remove(name);
        }
    }
}

impl SimulatedDisk {
    /// Lets the disk crash after so many more changes.
    pub fn crash_after(&self, steps: u64) {
        locked(&self.0).steps_left = Some(steps);
    }

    /// Whether it has crashed: every call fails.
    pub fn has_crashed(&self) -> bool {
        locked(&self.0).steps_left == Some(0)
    }

    /// Takes back that it is to crash.
    pub fn never_crash(&self) {
        locked(&self.0).steps_left = None;
    }

    /// Lets no more than so many further bytes be written; `None` makes room again.
    pub fn leave_room(&self, bytes: Option<u64>) {
        locked(&self.0).room = bytes;
    }

    /// Changes so far.
    pub fn steps(&self) -> u64 {
        locked(&self.0).steps
    }

    /// What is found after a crash now; `seed` chooses what of the unsynced part is there.
    pub fn after_crash(&self, seed: u64) -> Self {
        let state = locked(&self.0);
        let mut chance = seed;
        let mut below = |most: usize| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(chance >> 33).unwrap_or(0) % (most + 1)
        };
        let mut files = state.durable.clone();
        let kept = below(state.since.len());
        state.since.iter().take(kept).for_each(|change| apply(&mut files, change));
        let mut survive = |content: &Arc<Mutex<Content>>| {
            let content = locked(content);
            let length = content.synced + below(content.bytes.len() - content.synced);
            let bytes = content.bytes.get(..length).unwrap_or_default().to_vec();
            Arc::new(Mutex::new(Content { synced: bytes.len(), bytes }))
        };
        let files: BTreeMap<_, _> =
            files.iter().map(|(name, content)| (name.clone(), survive(content))).collect();
        let durable = files.clone();
        Self(Arc::new(Mutex::new(State { files, durable, ..State::default() })))
    }

    /// Lets a file be one that can't be opened, as on a bad sector.
    pub fn set_unreadable(&self, name: &str) {
        locked(&self.0).unreadable.insert(name.to_owned());
    }

    /// Changes one byte of a file.
    pub fn corrupt(&self, name: &str, at: usize) {
        let state = locked(&self.0);
        let Some(content) = state.files.get(name) else { return };
        if let Some(byte) = locked(content).bytes.get_mut(at) {
            *byte ^= 0x55;
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let lengths = |content: &Arc<Mutex<Content>>| locked(content).bytes.len();
        let total: usize = locked(&self.0).files.values().map(lengths).sum();
        u64::try_from(total).unwrap_or(u64::MAX)
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(locked(&self.0).files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut state = locked(&self.0);
        state.step()?;
        let content = Arc::new(Mutex::new(Content::default()));
        let change = Change::Create(name.to_owned(), Arc::clone(&content));
        apply(&mut state.files, &change);
        state.since.push(change);
        Ok(Box::new(File { disk: self.clone(), content }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn OldFile>> {
        let state = locked(&self.0);
        if state.unreadable.contains(name) {
            return Err(io::Error::other("the simulated disk can't read it"));
        }
        let content = state.files.get(name).cloned().ok_or_else(absent)?;
        Ok(Arc::new(File { disk: self.clone(), content }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.step()?;
        if !state.files.contains_key(from) {
            return Err(absent());
        }
        let change = Change::Rename(from.to_owned(), to.to_owned());
        apply(&mut state.files, &change);
        state.since.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.step()?;
        if !state.files.contains_key(name) {
            return Err(absent());
        }
        let change = Change::Remove(name.to_owned());
        apply(&mut state.files, &change);
        state.since.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.step()?;
        state.durable = state.files.clone();
        state.since.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct File {
    disk: SimulatedDisk,
    content: Arc<Mutex<Content>>,
}

impl NewFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = locked(&self.disk.0);
        state.step()?;
        let fits = match &mut state.room {
            None => bytes,
            Some(room) => {
                let most = usize::try_from(*room).unwrap_or(usize::MAX);
                let fits = bytes.get(..most).unwrap_or(bytes);
                *room -= u64::try_from(fits.len()).unwrap_or(0);
                fits
            }
        };
        locked(&self.content).bytes.extend_from_slice(fits);
        if fits.len() < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn amend(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        locked(&self.disk.0).step()?;
        let mut content = locked(&self.content);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let over = content.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
        over.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        locked(&self.disk.0).step()?;
        let mut content = locked(&self.content);
        content.synced = content.bytes.len();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        locked(&self.disk.0).step()?;
        let mut content = locked(&self.content);
        content.bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        content.synced = content.synced.min(content.bytes.len());
        Ok(())
    }
}

impl OldFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(locked(&self.content).bytes.len()).unwrap_or(u64::MAX))
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let content = locked(&self.content);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = content.bytes.get(at..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_in_part() {
        let disk = SimulatedDisk::default();
        let mut file = disk.create("a").unwrap();
        file.append(b"synced").unwrap();
        file.sync().unwrap();
        disk.sync().unwrap();
        file.append(b"not").unwrap();
        disk.rename("a", "b").unwrap();
        let found: Vec<_> = (0..200).map(|seed| disk.after_crash(seed)).collect();
        let names: Vec<_> = found.iter().map(|disk| disk.list().unwrap()).collect();
        assert!(names.contains(&vec!["a".to_owned()]) && names.contains(&vec!["b".to_owned()]));
        let lengths = |length| found.iter().any(|disk| disk.bytes() == length);
        assert!(lengths(6) && lengths(7) && lengths(9));
        assert!(found.iter().all(|disk| 6 <= disk.bytes()));
    }

    #[test]
    fn after_its_last_step_everything_fails() {
        let disk = SimulatedDisk::default();
        disk.crash_after(2);
        let mut file = disk.create("a").unwrap();
        file.append(b"1").unwrap();
        assert!(file.append(b"2").is_err() && file.sync().is_err() && disk.sync().is_err());
        assert_eq!(disk.steps(), 2);
    }

    #[test]
    fn a_full_disk_says_so() {
        let disk = SimulatedDisk::default();
        disk.leave_room(Some(3));
        let mut file = disk.create("a").unwrap();
        file.append(b"123").unwrap();
        let full = file.append(b"4").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
