//! Fetching in processes of their own: several at once, and in the surroundings that their environment describes.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines and threads of their own")]

#[expect(dead_code, reason = "the tests of fetching itself use all of it")]
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, io, thread};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use server::{Server, ranged, whole};
use source::{FileEntry, GzippedFile, Sha256Sum, fetch_files};

const PATIENCE: Duration = Duration::from_mins(2);

/// The file: its content is its own gzip's, so that no packer is needed.
const CONTENT: &[u8] = b"what every process of these tests fetches";

fn entry() -> GzippedFile {
    let bytes = CONTENT.len() as u64;
    let file = FileEntry { name: "file", bytes, sha256: Some(Sha256Sum::of(CONTENT)) };
    GzippedFile { file, gz_bytes: bytes, gz_sha256: None }
}

/// Not a test of its own: what the processes of the tests do.
#[test]
#[ignore = "the other tests start it in processes of their own"]
fn fetches_as_told() {
    let (Ok(url), Some(folder)) = (env::var("TEST_URL"), env::var_os("TEST_FOLDER")) else { return };
    match fetch_files(&[entry()], &[&url], Path::new(&folder), true) {
        Ok(fetched) => eprintln!("{fetched}"),
        Err(error) => panic!("{error}"),
    }
}

/// A process that fetches from `url` to `folder`, its standard error piped.
fn process(url: &str, folder: &Path, environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "fetches_as_told", "--ignored", "--nocapture"]);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env("TEST_URL", url).env("TEST_FOLDER", folder).envs(environment.iter().copied());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a process that fetches from `url` says; whether it got the file is checked.
fn fetch(url: &str, environment: &[(&str, &str)]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } = process(url, dir.path(), environment).wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(dir.path().join("file.gz").is_file(), status.success(), "{said}");
    if status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn of_three_processes_one_fetches_and_the_others_wait_and_find_it_done() {
    let (release, released) = channel();
    let server = Server::start("file.gz", move |_, range| {
        released.recv_timeout(PATIENCE).unwrap();
        ranged(CONTENT, range)
    });
    let dir = tempfile::tempdir().unwrap();
    let mut processes: Vec<Child> = (0..3).map(|_| process(&server.url, dir.path(), &[])).collect();
    let (say, said) = channel();
    for process in &mut processes {
        let (say, errors) = (say.clone(), process.stderr.take().unwrap());
        thread::spawn(move || {
            BufReader::new(errors).lines().for_each(|line| say.send(line.unwrap()).unwrap());
        });
    }
    drop(say);
    let waiting = format!("{}: another process fetches into this folder", dir.path().display());
    for _ in 0..2 {
        said_by_now(&said, &waiting);
    }
    release.send(()).unwrap();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let done: Vec<String> = said.iter().filter(|line| line.contains("files downloaded")).collect();
    let count = |text: &str| done.iter().filter(|line| line.ends_with(text)).count();
    assert_eq!(
        (count("1 files downloaded, 0 were there"), count("0 files downloaded, 1 were there")),
        (1, 2)
    );
    assert_eq!(server.requests(), [None]);
}

/// Waits for a line that starts with `text`.
fn said_by_now(said: &Receiver<String>, text: &str) {
    while !said.recv_timeout(PATIENCE).expect("a line in time").starts_with(text) {}
}

#[test]
fn a_process_that_is_killed_while_it_fetches_keeps_nobody_waiting() {
    let (begin, begun) = channel();
    let (kill, killed) = channel::<()>();
    let server = Server::start("file.gz", move |number, range| {
        if number == 0 {
            begin.send(()).unwrap();
            killed.recv_timeout(PATIENCE).unwrap();
        }
        ranged(CONTENT, range)
    });
    let dir = tempfile::tempdir().unwrap();
    let mut first = process(&server.url, dir.path(), &[]);
    begun.recv_timeout(PATIENCE).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    kill.send(()).unwrap();
    fetch_files(&[entry()], &[&server.url], dir.path(), true).unwrap();
    assert_eq!(server.requests(), [None, None]);
}

/// A certificate authority of the test's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// The file of its certificate.
    fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The port of a server on loopback that has a certificate for `host` and gives the file.
    fn server(&self, host: &str) -> u16 {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                // A client that does not trust the certificate hangs up.
                let _ = answer(StreamOwned::new(connection, stream.unwrap()));
            }
        });
        port
    }
}

fn answer(mut stream: StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
    let head = BufReader::new(&mut stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    if head.count() > 0 {
        stream.write_all(&whole(CONTENT))?;
        stream.conn.send_close_notify();
        stream.flush()?;
    }
    Ok(())
}

#[test]
fn an_authority_is_trusted_where_the_environment_names_it_and_only_there() {
    let authority = Authority::new();
    let url = format!("https://127.0.0.1:{}/data/", authority.server("127.0.0.1"));
    fetch(&url, &[("SSL_CERT_FILE", authority.file().to_str().unwrap())]).unwrap();

    let other = Authority::new();
    for environment in [vec![], vec![("SSL_CERT_FILE", other.file())]] {
        let environment: Vec<_> =
            environment.iter().map(|(name, file)| (*name, file.to_str().unwrap())).collect();
        let error = fetch(&url, &environment).unwrap_err();
        assert!(error.contains("the server's certificate is not trusted"), "{error}");
        assert!(error.contains("name the PEM file of its certificate in SSL_CERT_FILE"), "{error}");
    }
    let error = fetch(&url, &[("SSL_CERT_FILE", "nowhere.pem")]).unwrap_err();
    assert!(error.contains("SSL_CERT_FILE or SSL_CERT_DIR is set, but names no certificate"), "{error}");
}

/// The address of a proxy that connects everybody to `port` of loopback, and the requests that it gets.
fn proxy_to(port: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let request = pass_on(stream.unwrap(), port).unwrap();
            log.lock().unwrap().push(request);
        }
    });
    (address, requests)
}

/// Connects the two, and says what the client asked for.
fn pass_on(mut client: TcpStream, port: u16) -> io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from_client, &mut to_server));
    thread::spawn(move || io::copy(&mut server, &mut client));
    Ok(String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned())
}

#[test]
fn a_proxy_of_the_environment_is_used() {
    let authority = Authority::new();
    // No resolver knows this host.
    let (proxy, requests) = proxy_to(authority.server("source.invalid"));
    let certificate = authority.file();
    let environment = [("HTTPS_PROXY", proxy.as_str()), ("SSL_CERT_FILE", certificate.to_str().unwrap())];
    fetch("https://source.invalid/data/", &environment).unwrap();
    assert_eq!(*requests.lock().unwrap(), ["CONNECT source.invalid:443 HTTP/1.1"]);
}

#[test]
fn hosts_that_need_no_proxy_are_asked_directly_and_a_proxy_that_fails_is_named() {
    let server = Server::start("file.gz", |_, range| ranged(CONTENT, range));
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let proxy = format!("http://{dead}");
    fetch(&server.url, &[("HTTP_PROXY", &proxy), ("NO_PROXY", "127.0.0.1")]).unwrap();
    let error = fetch(&server.url, &[("HTTP_PROXY", &proxy)]).unwrap_err();
    assert!(error.contains(&format!("no answer over the proxy {dead} of the environment")), "{error}");
    let error = fetch(&server.url, &[("https_proxy", "not an address")]).unwrap_err();
    assert!(error.contains("https_proxy = \"not an address\": expected the address of a proxy"), "{error}");
}
