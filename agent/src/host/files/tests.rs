use super::*;
use crate::parse::number::parse_number;

fn files(descriptors: usize) -> Files {
    Files::new(Budget::new(descriptors))
}

fn at<'a>(mount: &'a tempfile::TempDir, directory: &'a str) -> Location<'a> {
    Location { mount: mount.path().to_str().unwrap(), directory, name: "pids.current" }
}

#[test]
fn a_held_file_is_opened_once_and_read_anew() {
    let mount = tempfile::tempdir().unwrap();
    let (mut files, mut file) = (files(1), HeldFile::default());
    for number in [7, 8] {
        std::fs::write(mount.path().join("pids.current"), format!("{number}\n")).unwrap();
        assert_eq!(
            files.read(&mut file, Pace::Hot, at(&mount, "/"), parse_number),
            Ok(Some(number))
        );
    }
    assert_eq!((files.opened, files.budget.held()), (1, 1));
}

#[test]
fn without_descriptors_it_is_opened_each_time() {
    let mount = tempfile::tempdir().unwrap();
    std::fs::write(mount.path().join("pids.current"), "7\n").unwrap();
    let (mut files, mut file) = (files(0), HeldFile::default());
    for opened in [1, 2] {
        assert_eq!(files.read(&mut file, Pace::Hot, at(&mount, "/"), parse_number), Ok(Some(7)));
        assert_eq!((files.opened, files.budget.held()), (opened, 0));
    }
}

/// The readings, counted from 1, that tried to open a file.
fn tries(file: &mut HeldFile, pace: Pace, at: Location<'_>, readings: u64) -> (Vec<u64>, Files) {
    let mut files = files(1);
    let tries = (1..=readings).filter(|_| {
        let before = files.opened;
        assert_eq!(files.read(file, pace, at, parse_number), Ok(None));
        before < files.opened
    });
    (tries.collect(), files)
}

#[test]
fn a_file_that_the_kernel_lacks_is_soon_given_up_and_no_fault() {
    let mount = tempfile::tempdir().unwrap();
    for (pace, expected) in [(Pace::Hot, &[1, 3, 6][..]), (Pace::Slow, &[1, 3])] {
        let mut file = HeldFile::default();
        let (found, files) = tries(&mut file, pace, at(&mount, "/"), 5000);
        assert_eq!(found, expected);
        assert!(files.unreadable.faults().is_empty());
        file.try_again();
        assert_eq!(tries(&mut file, pace, at(&mount, "/"), 1).0, [1]);
    }
}

#[test]
fn a_file_that_is_refused_is_tried_ever_more_seldom_but_never_given_up() {
    let mount = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("pids.current", mount.path().join("pids.current")).unwrap();
    let (found, files) = tries(&mut HeldFile::default(), Pace::Hot, at(&mount, "/"), 5000);
    assert_eq!(found[..8], [1, 3, 6, 11, 20, 37, 70, 135]);
    assert_eq!(found[found.len() - 2..], [3084, 4109]);
    let [fault] = files.unreadable.faults() else { panic!("one fault") };
    assert_eq!(fault.count, u64::try_from(found.len()).unwrap());
}

#[test]
fn a_file_of_a_vanished_directory_is_gone() {
    let mount = tempfile::tempdir().unwrap();
    let group = mount.path().join("group");
    std::fs::create_dir(&group).unwrap();
    std::fs::write(group.join("pids.current"), "7\n").unwrap();
    let (mut files, mut file) = (files(0), HeldFile::default());
    let mut read = || files.read(&mut file, Pace::Hot, at(&mount, "/group"), parse_number);
    assert_eq!(read(), Ok(Some(7)));
    std::fs::remove_dir_all(&group).unwrap();
    assert_eq!(read(), Err(Gone));
}

#[test]
fn text_that_is_not_understood_is_absent_and_counted() {
    let mount = tempfile::tempdir().unwrap();
    std::fs::write(mount.path().join("pids.current"), "seven\n").unwrap();
    let (mut files, mut file) = (files(1), HeldFile::default());
    assert_eq!(files.read(&mut file, Pace::Hot, at(&mount, "/"), parse_number), Ok(None));
    let [fault] = files.unreadable.faults() else { panic!("one fault") };
    assert!(fault.path.ends_with("/pids.current"), "{fault}");
}

#[test]
fn a_file_larger_than_the_buffer_is_read_whole() {
    let mount = tempfile::tempdir().unwrap();
    std::fs::write(mount.path().join("pids.current"), "x".repeat(3 * BUFFER_BYTES)).unwrap();
    let mut file = HeldFile::default();
    let length = files(1).read(&mut file, Pace::Hot, at(&mount, "/"), |text| Ok(text.len()));
    assert_eq!(length, Ok(Some(3 * BUFFER_BYTES)));
}
