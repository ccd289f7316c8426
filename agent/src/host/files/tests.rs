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

#[test]
fn a_missing_file_is_absent_and_tried_again_ever_more_seldom() {
    let mount = tempfile::tempdir().unwrap();
    let (mut files, mut file) = (files(1), HeldFile::default());
    let tries: Vec<u64> = (0..12)
        .map(|_| {
            assert_eq!(files.read(&mut file, Pace::Hot, at(&mount, "/"), parse_number), Ok(None));
            files.opened
        })
        .collect();
    assert_eq!(tries, [1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4]);
    assert!(files.unreadable.faults().is_empty(), "older kernels lack files: no fault");
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
