//! Downloads from a server of the test's own: continued, refused, corrupted, and from the next source.

mod server;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use server::{Server, answer, broken_off, ranged, whole};
use source::{
    DataSetName, FetchError, FetchOptions, Fetched, FileEntry, GzippedFile, Sha256Sum, fetch, fetch_files,
    official,
};
use tempfile::TempDir;

fn not_found() -> Vec<u8> {
    answer("404 Not Found", "Content-Length: 0\r\n", b"")
}

/// A file to fetch, as the sources give it, and a folder to fetch it to.
struct Fixture {
    packed: Vec<u8>,
    content: Vec<u8>,
    entry: GzippedFile,
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        // Does not compress, so that every part of it counts.
        let content: Vec<u8> = (0_u32..6250).flat_map(|i| Sha256Sum::of(&i.to_le_bytes()).0).collect();
        let packed = gzip(&content);
        let entry = GzippedFile {
            file: FileEntry {
                name: "file",
                bytes: content.len() as u64,
                sha256: Some(Sha256Sum::of(&content)),
            },
            gz_bytes: packed.len() as u64,
            gz_sha256: Some(Sha256Sum::of(&packed)),
        };
        Self { packed, content, entry, dir: tempfile::tempdir().unwrap() }
    }

    /// A server that can do everything.
    fn good_server(&self) -> Server {
        let packed = self.packed.clone();
        Server::start("file.gz", move |_, range| ranged(&packed, range))
    }

    /// A server that gives `body` whatever the range.
    fn server_of(body: Vec<u8>) -> Server {
        Server::start("file.gz", move |_, _| body.clone())
    }

    fn fetch(&self, servers: &[&Server]) -> Result<(), FetchError> {
        let mirrors: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
        fetch_files(&[self.entry], &mirrors, self.folder(), true).map(|_| ())
    }

    /// The text of the error that fetching ends with, which names the file.
    fn fetch_error(&self, servers: &[&Server]) -> String {
        let error = self.fetch(servers).unwrap_err().to_string();
        assert!(error.contains("file.gz"), "{error}");
        error
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn part(&self) -> PathBuf {
        self.folder().join("file.gz.part")
    }

    fn leave_part(&self, bytes: &[u8]) {
        fs::write(self.part(), bytes).unwrap();
    }

    #[track_caller]
    fn assert_fetched(&self) {
        assert_eq!(self.files(), ["file.gz"]);
        assert!(
            fs::read(self.folder().join("file.gz")).unwrap() == self.packed,
            "the file is the official one"
        );
    }

    /// Names of the files in the folder, but for hidden ones.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_file_is_fetched_once() {
    let fixture = Fixture::new();
    let server = fixture.good_server();
    fixture.fetch(&[&server]).unwrap();
    fixture.assert_fetched();
    fixture.fetch(&[&server]).unwrap();
    assert_eq!(server.requests(), [None]);
}

#[test]
fn an_interrupted_download_continues_on_the_next_call() {
    let fixture = Fixture::new();
    let packed = fixture.packed.clone();
    let server = Server::start("file.gz", move |number, range| match number {
        0 => broken_off(&packed, 70_000),
        _ => ranged(&packed, range),
    });
    let error = fixture.fetch_error(&[&server]);
    assert!(error.contains(&format!("after 70000 of {} bytes", fixture.packed.len())), "{error}");
    assert_eq!(fixture.files(), ["file.gz.part"]);
    fixture.fetch(&[&server]).unwrap();
    fixture.assert_fetched();
    assert_eq!(server.requests(), [None, Some(70_000)]);
}

#[test]
fn the_next_source_continues_what_the_first_one_began() {
    let fixture = Fixture::new();
    let first = Fixture::server_of(broken_off(&fixture.packed, 1_000));
    let second = fixture.good_server();
    fixture.fetch(&[&first, &second]).unwrap();
    fixture.assert_fetched();
    assert_eq!(second.requests(), [Some(1_000)]);
}

#[test]
fn a_server_that_ends_early_without_a_length_is_an_interruption() {
    let fixture = Fixture::new();
    let server = Fixture::server_of(answer("200 OK", "", &fixture.packed[..5_000]));
    let error = fixture.fetch_error(&[&server]);
    assert!(error.contains("after 5000 of"), "{error}");
    assert_eq!(fs::metadata(fixture.part()).unwrap().len(), 5_000);
}

#[test]
fn a_server_that_ignores_the_range_is_read_from_the_start() {
    let fixture = Fixture::new();
    fixture.leave_part(b"something else");
    let server = Fixture::server_of(whole(&fixture.packed));
    fixture.fetch(&[&server]).unwrap();
    fixture.assert_fetched();
    assert_eq!(server.requests(), [Some(14)]);
}

#[test]
fn a_redirect_is_followed_with_the_range() {
    let fixture = Fixture::new();
    fixture.leave_part(&fixture.packed[..3_000]);
    let target = fixture.good_server();
    let headers = format!("Content-Length: 0\r\nLocation: {}file.gz\r\n", target.url);
    let server = Fixture::server_of(answer("302 Found", &headers, b""));
    fixture.fetch(&[&server]).unwrap();
    fixture.assert_fetched();
    assert_eq!((server.requests(), target.requests()), (vec![Some(3_000)], vec![Some(3_000)]));
}

#[test]
fn a_refused_or_wrong_range_starts_the_download_anew() {
    for answer_to_range in [
        answer("416 Range Not Satisfiable", "Content-Length: 0\r\n", b""),
        answer("206 Partial Content", "Content-Length: 3\r\nContent-Range: bytes 1-3/9\r\n", b"abc"),
        answer("206 Partial Content", "Content-Length: 3\r\n", b"abc"),
    ] {
        let fixture = Fixture::new();
        fixture.leave_part(&fixture.packed[..2_000]);
        let packed = fixture.packed.clone();
        let server = Server::start("file.gz", move |_, range| match range {
            Some(_) => answer_to_range.clone(),
            None => whole(&packed),
        });
        fixture.fetch(&[&server]).unwrap();
        fixture.assert_fetched();
        assert_eq!(server.requests(), [Some(2_000), None]);
    }
}

#[test]
fn a_server_in_trouble_costs_nothing_that_was_downloaded() {
    let fixture = Fixture::new();
    fixture.leave_part(&fixture.packed[..4_000]);
    let busy = Fixture::server_of(answer("503 Service Unavailable", "Content-Length: 0\r\n", b""));
    let error = fixture.fetch_error(&[&busy]);
    assert!(error.contains("503"), "{error}");
    assert_eq!(fs::metadata(fixture.part()).unwrap().len(), 4_000);
}

#[test]
fn an_absurd_announced_size_is_refused() {
    let fixture = Fixture::new();
    fixture.leave_part(&fixture.packed[..10]);
    let headers = format!("Content-Length: {}\r\nContent-Range: bytes 10-11/12\r\n", u64::MAX);
    let error = fixture.fetch_error(&[&Fixture::server_of(answer("206 Partial Content", &headers, b"ab"))]);
    assert!(error.contains(&format!("announces {} bytes", u64::MAX)), "{error}");
}

#[test]
fn a_whole_part_needs_no_server_and_an_overlong_one_is_dropped() {
    let fixture = Fixture::new();
    fixture.leave_part(&fixture.packed);
    let server = fixture.good_server();
    fixture.fetch(&[&server]).unwrap();
    fixture.assert_fetched();
    assert_eq!(server.requests(), []);

    let fixture = Fixture::new();
    fixture.leave_part(&[&fixture.packed[..], b"more"].concat());
    fixture.fetch(&[&server]).unwrap();
    fixture.assert_fetched();
    assert_eq!(server.requests(), [None]);
}

#[test]
fn a_corrupt_download_is_removed_and_reported() {
    let fixture = Fixture::new();
    let mut corrupt = fixture.packed.clone();
    corrupt[100_000] ^= 1;
    let server = Fixture::server_of(whole(&corrupt));
    let error = fixture.fetch_error(&[&server]);
    assert!(error.contains(&format!("expected {}", Sha256Sum::of(&fixture.packed))), "{error}");
    assert!(error.contains("removed"), "{error}");
    assert_eq!(fixture.files(), [""; 0]);
}

#[test]
fn the_content_is_checked_where_the_sum_of_the_gzip_file_is_not_known() {
    let mut fixture = Fixture::new();
    fixture.entry.gz_sha256 = None;
    let mut content = fixture.content.clone();
    content[0] ^= 1;
    let other = gzip(&content);
    fixture.entry.gz_bytes = other.len() as u64;
    let error = fixture.fetch_error(&[&Fixture::server_of(whole(&other))]);
    assert!(error.contains(&format!("has SHA-256 {}", Sha256Sum::of(&content))), "{error}");
    assert_eq!(fixture.files(), [""; 0]);
}

#[test]
fn a_corrupt_beginning_is_not_continued_by_the_next_source() {
    let fixture = Fixture::new();
    fixture.leave_part(&[0; 1_000]);
    let (first, second) = (fixture.good_server(), fixture.good_server());
    fixture.fetch(&[&first, &second]).unwrap();
    fixture.assert_fetched();
    assert_eq!((first.requests(), second.requests()), (vec![Some(1_000)], vec![None]));
}

#[test]
fn an_announced_wrong_size_is_refused_before_the_first_byte() {
    let fixture = Fixture::new();
    fixture.leave_part(&fixture.packed[..10]);
    let server = Fixture::server_of(whole(b"<html>log in to the network first</html>"));
    let error = fixture.fetch_error(&[&server]);
    assert!(error.contains(&format!("announces 40 bytes, expected {}", fixture.packed.len())), "{error}");
    assert_eq!(fs::metadata(fixture.part()).unwrap().len(), 10);
}

#[test]
fn an_endless_answer_is_cut_off() {
    let fixture = Fixture::new();
    let server = Fixture::server_of(answer("200 OK", "", &vec![0; 50_000_000]));
    let error = fixture.fetch_error(&[&server]);
    assert!(error.contains(&format!("more than the expected {} bytes", fixture.packed.len())), "{error}");
    assert_eq!(fixture.files(), [""; 0]);
}

#[test]
fn a_source_without_the_file_gives_way_to_the_next() {
    let fixture = Fixture::new();
    let (first, second) = (Fixture::server_of(not_found()), fixture.good_server());
    fixture.fetch(&[&first, &second]).unwrap();
    fixture.assert_fetched();
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

#[test]
fn when_all_sources_fail_each_is_named_with_its_reason() {
    let fixture = Fixture::new();
    let missing = Fixture::server_of(not_found());
    let silent = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Server { url: format!("http://{}/data/", listener.local_addr().unwrap()), requests: Arc::default() }
    };
    let error = fixture.fetch_error(&[&missing, &silent]);
    assert!(error.contains(&format!("from {}: the server answered 404 Not Found", missing.url)), "{error}");
    assert!(error.contains(&format!("from {}: no answer", silent.url)), "{error}");
}

#[test]
fn a_right_file_is_kept_raw_or_gzipped_and_a_wrong_one_is_left_for_its_owner() {
    let fixture = Fixture::new();
    let server = fixture.good_server();
    let raw = fixture.folder().join("file");
    fs::write(&raw, &fixture.content).unwrap();
    fixture.fetch(&[&server]).unwrap();

    fs::write(&raw, b"my own file").unwrap();
    let error = fixture.fetch(&[&server]).unwrap_err().to_string();
    assert!(error.contains(raw.to_str().unwrap()) && error.contains("remove it and fetch again"), "{error}");
    assert_eq!(fs::read(&raw).unwrap(), b"my own file");
    assert_eq!(server.requests(), []);
}

#[test]
fn sets_that_are_here_already_download_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = FetchOptions { base_url: Some("http://127.0.0.1:1/".to_owned()), progress: false };
    let iris = fetch(DataSetName::Iris, dir.path(), &nowhere).unwrap();
    assert_eq!(iris.to_string(), "iris is part of this program; nothing to download");

    let installed = official(DataSetName::FashionMnist).unwrap().installed.unwrap();
    if !Path::new(installed.folder).is_dir() {
        println!("skipped: the Debian package {} is not installed", installed.package);
        return;
    }
    let fashion = fetch(DataSetName::FashionMnist, dir.path(), &nowhere).unwrap();
    let folder = PathBuf::from(installed.folder);
    assert_eq!(fashion, Fetched::Installed { name: DataSetName::FashionMnist, folder });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_set_is_asked_for_by_its_official_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = FetchOptions { base_url: Some("http://127.0.0.1:1/".to_owned()), progress: false };
    let error = fetch(DataSetName::Mnist, dir.path(), &nowhere).unwrap_err().to_string();
    assert!(error.contains("train-images-idx3-ubyte.gz could not be downloaded"), "{error}");
    assert!(error.contains("http://127.0.0.1:1/: no answer"), "{error}");
}
