//! An S3-compatible store in this process, on loopback, with its buckets in a temporary folder.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::Method;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use s3s_fs::FileSystem;
use strata_tests::RunDir;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

pub const BUCKET: &str = "strata-runs";
pub const KEY_ID: &str = "AKIDSTRATATESTS";
pub const SECRET: &str = "8oBlSecretOfTheStrataTestsPXq2";

/// A store. It ends with this value.
pub struct Server {
    /// Where it listens.
    pub address: String,
    folder: TempDir,
    _runtime: Runtime,
}

impl Server {
    /// One that has an empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        builder.set_access(Access(folder.path().to_owned()));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(serve(listener, builder.build()));
        Self { address, folder, _runtime: runtime }
    }

    /// Where it keeps what lies under a prefix of its bucket.
    pub fn path(&self, prefix: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(prefix)
    }

    /// A run directory in it.
    pub fn run_dir(&self, prefix: &str) -> RunDir {
        RunDir(self.path(prefix))
    }
}

async fn serve(listener: TcpListener, store: S3Service) {
    // It looks at a condition before it writes: what writes must come one after the other.
    let turn = Arc::new(RwLock::new(()));
    while let Ok((stream, _)) = listener.accept().await {
        let (store, turn) = (store.clone(), turn.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (store, turn) = (store.clone(), turn.clone());
            async move {
                let request = request.map(s3s::Body::from);
                if *request.method() == Method::GET || *request.method() == Method::HEAD {
                    let _turn = turn.read().await;
                    store.call(request).await
                } else {
                    let _turn = turn.write().await;
                    store.call(request).await
                }
            }
        });
        // A connection that breaks is the other end's matter.
        tokio::spawn(
            async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await },
        );
    }
}

/// Those with a key, to buckets that are there.
struct Access(PathBuf);

#[tonic::async_trait]
impl S3Access for Access {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        if request.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        }
        match request.s3_path().get_bucket_name() {
            Some(bucket) if !self.0.join(bucket).is_dir() => Err(s3_error!(NoSuchBucket)),
            _ => Ok(()),
        }
    }
}
