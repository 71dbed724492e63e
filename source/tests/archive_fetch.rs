//! Archives from a server of the test's own: downloaded, unpacked, checked, removed.

mod server;

use std::fs;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use server::{Server, broken_off, ranged};
use source::{
    Archive, DataSetName, FetchError, FetchOptions, Fetched, FileEntry, Sha256Sum, fetch, fetch_archive,
};
use tar::{EntryType, Header};
use tempfile::TempDir;

const ONE: &[u8] = b"the first file";
const TWO: &[u8] = b"the second file, which is longer";

/// The files of the archive, by their names in it.
type Members = Vec<(&'static str, EntryType, Vec<u8>)>;

fn sound() -> Members {
    let file = |name, content: &[u8]| (name, EntryType::Regular, content.to_vec());
    vec![
        ("set/", EntryType::Directory, Vec::new()),
        file("set/readme.html", b"not wanted"),
        file("one.bin", b"another one, outside of the folder"),
        file("other/two.bin", b"another two, in another folder"),
        file("set/one.bin", ONE),
        file("../escaped", b"outside of everything"),
        file("set/two.bin", TWO),
    ]
}

fn pack(members: &Members) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, kind, content) in members {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, &content[..]).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// An archive of the files `one.bin` and `two.bin`, and a folder to fetch them to.
struct Fixture {
    packed: Vec<u8>,
    archive: Archive,
    /// The archive where the user has put it.
    given: Option<PathBuf>,
    dir: TempDir,
}

impl Fixture {
    fn new(members: &Members) -> Self {
        let packed = pack(members);
        let file = |name, bytes: &[u8]| FileEntry {
            name,
            bytes: bytes.len() as u64,
            sha256: Some(Sha256Sum::of(bytes)),
        };
        let archive = Archive {
            packed: file("set.tar.gz", &packed),
            repacked: false,
            folder: "set",
            files: Box::leak(Box::new([file("one.bin", ONE), file("two.bin", TWO)])),
        };
        Self { packed, archive, given: None, dir: tempfile::tempdir().unwrap() }
    }

    fn server(&self) -> Server {
        let packed = self.packed.clone();
        Server::start("set.tar.gz", move |_, range| ranged(&packed, range))
    }

    fn fetch(&self, server: &Server) -> Result<Fetched, FetchError> {
        fetch_archive(&self.archive, self.given.as_deref(), &[&server.url], self.folder(), true)
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Names and contents of the files in the folder, but for hidden ones.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.folder()).unwrap().map(Result::unwrap);
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .filter(|(name, _)| !name.starts_with('.'))
            .collect();
        files.sort();
        files
    }

    #[track_caller]
    fn assert_fetched(&self) {
        let expected = [("one.bin".to_owned(), ONE.to_vec()), ("two.bin".to_owned(), TWO.to_vec())];
        assert_eq!(self.files(), expected);
    }

    fn counts(fetched: Fetched) -> (usize, usize) {
        let Fetched::InDataDir { downloaded, present, .. } = fetched else { panic!("{fetched:?}") };
        (downloaded, present)
    }
}

#[test]
fn the_wanted_files_are_unpacked_and_nothing_else_is_left() {
    let fixture = Fixture::new(&sound());
    let server = fixture.server();
    assert_eq!(Fixture::counts(fixture.fetch(&server).unwrap()), (2, 0));
    fixture.assert_fetched();
    assert!(!fixture.folder().parent().unwrap().join("escaped").exists());
    assert_eq!(Fixture::counts(fixture.fetch(&server).unwrap()), (0, 2));
    assert_eq!(server.requests(), [None]);
}

#[test]
fn an_archive_whose_names_start_in_its_own_folder_is_the_same() {
    let mut members = sound();
    members[4].0 = "./set/one.bin";
    let fixture = Fixture::new(&members);
    fixture.fetch(&fixture.server()).unwrap();
    fixture.assert_fetched();
}

#[test]
fn an_interrupted_archive_continues_on_the_next_call() {
    let fixture = Fixture::new(&sound());
    let packed = fixture.packed.clone();
    let server = Server::start("set.tar.gz", move |number, range| match number {
        0 => broken_off(&packed, 70),
        _ => ranged(&packed, range),
    });
    let error = fixture.fetch(&server).unwrap_err().to_string();
    assert!(error.contains(&format!("after 70 of {} bytes", fixture.packed.len())), "{error}");
    fixture.fetch(&server).unwrap();
    fixture.assert_fetched();
    assert_eq!(server.requests(), [None, Some(70)]);
}

#[test]
fn an_archive_that_was_not_unpacked_yet_needs_no_server() {
    let fixture = Fixture::new(&sound());
    fs::write(fixture.folder().join("set.tar.gz"), &fixture.packed).unwrap();
    let server = fixture.server();
    fixture.fetch(&server).unwrap();
    fixture.assert_fetched();
    assert_eq!(server.requests(), []);
}

#[test]
fn an_archive_that_lies_elsewhere_is_unpacked_and_left_there_and_a_wrong_one_is_not_used() {
    let elsewhere = tempfile::tempdir().unwrap();
    let given = elsewhere.path().join("set.tar.gz");
    for (right, requests) in [(true, vec![]), (false, vec![None])] {
        let mut fixture = Fixture::new(&sound());
        let content = if right { fixture.packed.clone() } else { b"cut off".to_vec() };
        fs::write(&given, &content).unwrap();
        fixture.given = Some(given.clone());
        let server = fixture.server();
        fixture.fetch(&server).unwrap();
        fixture.assert_fetched();
        assert_eq!(fs::read(&given).unwrap(), content);
        assert_eq!(server.requests(), requests);
    }
}

#[test]
fn only_what_is_lacking_is_unpacked() {
    let fixture = Fixture::new(&sound());
    fs::write(fixture.folder().join("two.bin"), TWO).unwrap();
    fs::write(fixture.folder().join("one.bin.part"), b"the first f, and then something else").unwrap();
    assert_eq!(Fixture::counts(fixture.fetch(&fixture.server()).unwrap()), (1, 1));
    fixture.assert_fetched();
}

#[test]
fn files_of_the_same_name_that_are_others_are_left_for_their_owner() {
    for name in ["one.bin", "set.tar.gz"] {
        let fixture = Fixture::new(&sound());
        fs::write(fixture.folder().join(name), b"my own file").unwrap();
        let server = fixture.server();
        let error = fixture.fetch(&server).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("remove it and fetch again"), "{error}");
        assert_eq!(fixture.files(), [(name.to_owned(), b"my own file".to_vec())]);
        assert_eq!(server.requests(), []);
    }
}

#[test]
fn an_archive_that_lacks_a_file_or_has_another_is_refused() {
    let change = |change: fn(&mut Members)| {
        let mut members = sound();
        change(&mut members);
        members
    };
    for (members, refusal) in [
        (change(|members| members[6].0 = "set/to.bin"), "set.tar.gz holds no file set/two.bin"),
        (change(|members| members[6].1 = EntryType::Symlink), "set.tar.gz holds no file set/two.bin"),
        (change(|members| members[6].2.push(0)), "holds two.bin with 33 bytes, expected 32"),
        (change(|members| members[6].2[0] ^= 1), "holds another two.bin than the official one"),
    ] {
        let fixture = Fixture::new(&members);
        let error = fixture.fetch(&fixture.server()).unwrap_err().to_string();
        assert!(error.contains(refusal), "{error:?} says {refusal:?}");
        let names: Vec<_> = fixture.files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["one.bin", "set.tar.gz"]);
    }
}

#[test]
fn what_is_no_archive_or_a_cut_one_is_refused() {
    let sound = pack(&sound());
    let cut = sound[..sound.len() / 2].to_vec();
    for packed in [cut, b"no archive at all".to_vec(), Vec::new()] {
        let mut fixture = Fixture::new(&self::sound());
        fixture.archive.packed.bytes = packed.len() as u64;
        fixture.archive.packed.sha256 = None;
        fs::write(fixture.folder().join("set.tar.gz"), packed).unwrap();
        let error = fixture.fetch(&fixture.server()).unwrap_err().to_string();
        assert!(error.contains("set.tar.gz cannot be unpacked"), "{error}");
        assert!(!fixture.folder().join("two.bin").exists());
    }
}

#[test]
fn archived_sets_are_asked_for_by_their_official_names() {
    let nowhere = FetchOptions { base_url: Some("http://127.0.0.1:1/".to_owned()), progress: false };
    for (name, archive) in
        [(DataSetName::Cifar10, "cifar-10-binary.tar.gz"), (DataSetName::Stl10, "stl10_binary.tar.gz")]
    {
        let dir = tempfile::tempdir().unwrap();
        let error = fetch(name, dir.path(), &nowhere).unwrap_err().to_string();
        assert!(error.contains(&format!("{archive} could not be downloaded")), "{error}");
    }
}

#[test]
fn an_archive_that_is_packed_anew_is_known_by_its_files() {
    let repacked = |members: &[(&'static str, &[u8])]| {
        let members = members.iter().map(|&(name, bytes)| (name, EntryType::Regular, bytes.to_vec()));
        let mut fixture = Fixture::new(&members.collect());
        fixture.archive.packed = FileEntry { name: "set.tar.gz", bytes: 1 << 20, sha256: None };
        fixture.archive.repacked = true;
        fixture
    };
    let good = repacked(&[("set/one.bin", ONE), ("set/two.bin", TWO), ("set/more.bin", b"more")]);
    assert_eq!(Fixture::counts(good.fetch(&good.server()).unwrap()), (2, 0));
    good.assert_fetched();
    // What is wrong in it is not kept, and the next source may be right.
    let wrong = repacked(&[("set/one.bin", ONE), ("set/two.bin", b"other file.")]);
    let error = wrong.fetch(&wrong.server()).unwrap_err().to_string();
    assert!(error.contains("two.bin"), "{error}");
    assert_eq!(wrong.files(), [("one.bin".to_owned(), ONE.to_vec())]);
    let large = repacked(&[("set/one.bin", ONE), ("set/two.bin", TWO)]);
    let large = Fixture {
        archive: Archive { packed: FileEntry { bytes: 10, ..large.archive.packed }, ..large.archive },
        ..large
    };
    let error = large.fetch(&large.server()).unwrap_err().to_string();
    assert!(error.contains("expected 10"), "{error}");
    assert_eq!(large.files(), []);
}
