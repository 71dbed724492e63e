//! Mutual TLS: who has a certificate for it takes part, and everybody else is told why not, on both sides.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use proto::address::Address;
use proto::dial::Dialer;
use proto::tls::{Role, Tls, TlsFiles};
use proto::wire;
use rcgen::{CertificateParams, Issuer, KeyPair, SanType, date_time_ymd};
use strata_tests::{Ended, Sandbox, Worker, reference, until, weights};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A folder of certificates of one authority, made with `coordinator certs`.
struct Certificates<'a> {
    sandbox: &'a Sandbox,
    folder: &'static str,
}

impl<'a> Certificates<'a> {
    /// An authority, a worker's and a coordinator's certificate for this machine.
    fn new(sandbox: &'a Sandbox, folder: &'static str) -> Self {
        let certificates = Self { sandbox, folder };
        certificates.command(&["init"]).expect_success();
        certificates.issue("worker", "worker", "127.0.0.1");
        certificates.issue("coordinator", "coordinator", "localhost");
        certificates
    }

    fn command(&self, words: &[&str]) -> Ended {
        let (command, rest) = words.split_first().expect("a command");
        self.sandbox.start("coordinator", &[&["certs", command, "--dir", self.folder], rest].concat()).end()
    }

    fn issue(&self, out: &str, role: &str, name: &str) {
        self.command(&["issue", "--role", role, "--name", name, "--out", out]).expect_success();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.sandbox.path(&format!("{}/{name}.pem", self.folder))
    }

    /// A worker's certificate that no authority has signed.
    fn sign_itself(&self, out: &str) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(Role::Worker.uri().try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        fs::write(self.file(out), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(self.file(&format!("{out}-key")), key.serialize_pem()).unwrap();
    }

    /// A worker's certificate that is valid between these years.
    fn issue_between(&self, out: &str, years: [i32; 2]) {
        let read = |name: &str| fs::read_to_string(self.file(name)).unwrap();
        let authority = KeyPair::from_pem(&read("ca-key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca"), authority).unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(Role::Worker.uri().try_into().unwrap()));
        [params.not_before, params.not_after] = years.map(|year| date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(self.file(out), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{out}-key")), key.serialize_pem()).unwrap();
    }

    /// The words that give a program the certificate of this name.
    fn words(&self, name: &str) -> Vec<String> {
        let [ca, cert, key] = ["ca", name, &format!("{name}-key")].map(|name| self.file(name));
        let words = [("--tls-ca", ca), ("--tls-cert", cert), ("--tls-key", key)];
        words.into_iter().flat_map(|(word, file)| [word.to_owned(), file.display().to_string()]).collect()
    }

    fn worker(&self, name: &str) -> Worker {
        let words = self.words(name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.sandbox.worker(&[&["--threads", "1"], &words[..]].concat())
    }

    /// Runs with the certificate of this name on `workers`.
    fn run(&self, name: &str, workers: &str) -> Ended {
        let words = self.words(name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.sandbox.start_run("run", &[&["--workers", workers, "--wait", "2"], &words[..]].concat()).end()
    }

    fn tls(&self, name: &str, role: Role) -> Tls {
        let [authority, certificate, key] = ["ca", name, &format!("{name}-key")].map(|name| self.file(name));
        Tls::load(TlsFiles { authority, certificate, key }, role).unwrap()
    }
}

/// One line of a worker's must say so.
fn worker_says(worker: &Worker, facts: &[&str]) {
    let lines = until("a line of the worker's", || {
        let errors = worker.process.errors();
        let said = errors.lines().filter(|line| facts.iter().all(|fact| line.contains(fact))).count();
        (said > 0).then_some(said)
    });
    assert!(lines >= 1, "{}", worker.process.errors());
}

#[test]
fn workers_with_certificates_share_layers_and_the_weights_are_the_same() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    let workers = [(); 3].map(|()| certificates.worker("worker"));
    let list: Vec<&str> = workers.iter().map(|worker| worker.address.as_str()).collect();
    certificates.run("coordinator", &list.join(",")).expect_success();
    assert_eq!(weights(&sandbox.run_dir("run").summary()), weights(&reference().summary));
    for worker in &workers {
        assert!(worker.process.errors().contains("training begins"), "{}", worker.process.errors());
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused_by_both() {
    let sandbox = Sandbox::new();
    let [ours, theirs] = ["ours", "theirs"].map(|folder| Certificates::new(&sandbox, folder));
    let worker = ours.worker("worker");
    let ended = theirs.run("coordinator", &worker.address);
    ended.expect_error(&[&worker.address, "its certificate is of another certificate authority"]);
    worker_says(
        &worker,
        &["is closed: it does not accept our certificate: it is of another certificate authority"],
    );
}

#[test]
fn a_certificate_that_is_not_valid_now_is_refused() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    for (name, years, words) in
        [("expired", [2001, 2002], "has expired"), ("early", [4001, 4002], "is not valid yet")]
    {
        certificates.issue_between(name, years);
        let worker = certificates.worker(name);
        let ended = certificates.run("coordinator", &worker.address);
        ended.expect_error(&[&worker.address, &format!("its certificate {words}")]);
        worker_says(&worker, &["a connection of 127.0.0.1 is closed", "does not accept our certificate"]);
    }
}

#[test]
fn a_coordinator_whose_certificate_has_expired_is_told_so() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    certificates.issue_between("expired", [2001, 2002]);
    let worker = certificates.worker("worker");
    // As a worker that hands on would: the role is one that may dial.
    let dialer = Dialer { tls: Some(certificates.tls("expired", Role::Worker).into()), ..Dialer::default() };
    let error = block_on(dialer.dial(&Address::given(&worker.address))).unwrap_err().to_string();
    assert!(error.contains("it does not accept our certificate: it has expired"), "{error}");
    worker_says(&worker, &["a connection of 127.0.0.1 is closed: its certificate has expired"]);
}

#[test]
fn a_certificate_that_nobody_has_signed_is_refused() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    certificates.sign_itself("own");
    let worker = certificates.worker("worker");
    let dialer = Dialer { tls: Some(certificates.tls("own", Role::Worker).into()), ..Dialer::default() };
    let error = block_on(dialer.dial(&Address::given(&worker.address))).unwrap_err().to_string();
    assert!(error.contains("it does not accept our certificate"), "{error}");
    worker_says(&worker, &["is closed: its certificate is of another certificate authority"]);
    let impostor = certificates.worker("own");
    let ended = certificates.run("coordinator", &impostor.address);
    ended.expect_error(&[&impostor.address, "its certificate is of another certificate authority"]);
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    let words = certificates.words("worker");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let worker = sandbox.worker(&[&["--greeting", "1"], &words[..]].concat());
    // The head of a greeting of 512 bytes, and then nothing.
    let mut stream = std::net::TcpStream::connect(&worker.address).unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    worker_says(&worker, &["a connection of 127.0.0.1 is closed: it said nothing for 1 s"]);
}

#[test]
fn who_has_no_certificate_is_refused() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    let worker = certificates.worker("worker");
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_file(certificates.file("ca")).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth();
    let said = block_on(async {
        let stream = tokio::net::TcpStream::connect(&worker.address).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        // A client is through before its server has looked for a certificate.
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap_err().to_string()
    });
    assert!(said.contains("CertificateRequired"), "{said}");
    worker_says(&worker, &["a connection of 127.0.0.1 is closed: it has no certificate"]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    certificates.issue("elsewhere", "worker", "node7");
    let worker = certificates.worker("elsewhere");
    let ended = certificates.run("coordinator", &worker.address);
    ended.expect_error(&[&worker.address, "its certificate is for", "node7", "not for 127.0.0.1"]);
    worker_says(&worker, &["a connection of 127.0.0.1 is closed", "does not accept our certificate"]);
}

#[test]
fn a_program_does_not_start_with_a_certificate_for_another_role() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    let ended = certificates.run("worker", "127.0.0.1:1");
    ended.expect_error(&["certs/worker.pem", "a certificate for a worker, expected one for a coordinator"]);
    let words = certificates.words("coordinator");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = sandbox.start("worker", &words).end();
    assert!(!ended.status.success());
    assert!(ended.errors.contains("expected one for a worker"), "{}", ended.errors);
    fs::write(certificates.file("worker-key"), "nonsense").unwrap();
    let words = certificates.words("worker");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = sandbox.start("worker", &words).end();
    assert!(ended.errors.contains("worker-key.pem: no key in it"), "{}", ended.errors);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
fn a_coordinators_certificate_does_not_make_a_worker() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    // A server that shows a coordinator's certificate, as somebody who has stolen one might.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    certificates.issue("impostor", "coordinator", "127.0.0.1");
    let tls = certificates.tls("impostor", Role::Coordinator);
    let serving = std::thread::spawn(move || {
        block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let _ = tokio_rustls::TlsAcceptor::from(tls.configs().server).accept(stream).await;
        });
    });
    let ended = certificates.run("coordinator", &address);
    ended.expect_error(&[&address, "its certificate is for a coordinator, expected a worker's"]);
    serving.join().unwrap();
}

#[test]
fn plain_text_and_tls_do_not_meet() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    let worker = certificates.worker("worker");
    let plain = sandbox.start_run("run", &["--workers", &worker.address, "--wait", "1"]).end();
    plain.expect_error(&[&worker.address, "no Strata worker", "certificates"]);
    worker_says(&worker, &["a connection of 127.0.0.1 is closed: it does not speak TLS"]);
    let worker = sandbox.worker(&["--threads", "1"]);
    let ended = certificates.run("coordinator", &worker.address);
    ended.expect_error(&[&worker.address, "it speaks no TLS"]);
    worker_says(&worker, &["it speaks TLS, and this worker has no certificate"]);
}

#[test]
fn a_worker_may_only_hand_on() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    let worker = certificates.worker("worker");
    let dialer = Dialer { tls: Some(certificates.tls("worker", Role::Worker).into()), ..Dialer::default() };
    block_on(async {
        let (connection, _) = dialer.dial(&Address::given(&worker.address)).await.unwrap();
        let mut client = connection.client();
        let transform = client.transform(tokio_stream::iter(Vec::<wire::TransformRequest>::new())).await;
        let host = client.host_layer(tokio_stream::iter(Vec::<wire::HostLayerRequest>::new())).await;
        let change = client.use_kernel(wire::UseKernelRequest { name: "Haswell".into() }).await;
        let probe = client.probe(tokio_stream::iter(proto::probe::parts(1))).await;
        let benchmark = client.benchmark(wire::BenchmarkRequest {}).await;
        let answers =
            [transform.map(drop), host.map(drop), change.map(drop), probe.map(drop), benchmark.map(drop)];
        for status in answers.map(Result::unwrap_err) {
            assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status}");
            assert!(status.message().contains("is for coordinators"), "{status}");
        }
    });
}

#[test]
fn certificates_are_read_again_when_they_change() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    certificates.issue_between("rotating", [2001, 2002]);
    let worker = certificates.worker("rotating");
    certificates.run("coordinator", &worker.address).expect_error(&["its certificate has expired"]);
    for (new, old) in [("worker", "rotating"), ("worker-key", "rotating-key")] {
        fs::copy(certificates.file(new), certificates.file(old)).unwrap();
    }
    certificates.run("coordinator", &worker.address).expect_success();
    assert_eq!(weights(&sandbox.run_dir("run").summary()), weights(&reference().summary));
}

#[test]
fn with_certificates_a_worker_may_listen_to_others() {
    let sandbox = Sandbox::new();
    let certificates = Certificates::new(&sandbox, "certs");
    let words = certificates.words("worker");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let open = sandbox.worker(&[&["--listen", "0.0.0.0:0"], &words[..]].concat());
    assert!(open.address.starts_with("0.0.0.0:"), "{}", open.address);
    // Two of three files are a mistake.
    let ended = sandbox.start("worker", &words[..4]).end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.errors);
    assert!(ended.errors.contains("--tls-key"), "{}", ended.errors);
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
