//! Objects under a prefix of a bucket of an S3-compatible store: whole ones in, whole ones out.
//!
//! Which store, and with which credentials, is in the usual variables (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and
//! so on). Every request is tried again where that may help, within [`Patience`]. Invariant: what a store answers is told by
//! its code and message alone, for it may quote credentials.

mod error;
mod patience;

mod client;
mod sending;
mod reading;

use std::fmt::{self, Debug, Display, Formatter};

use bytes::Bytes;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutResult, UpdateVersion};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_stream::StreamExt;

use crate::location::BucketPrefix;
use client::Client;
use error::is_late;

pub use client::Version;
pub use error::ObjectsError;
pub use patience::Patience;
pub use reading::Reading;

/// A prefix of a bucket.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    runtime: Handle,
}

/// How often an object is written on a condition while no answer comes.
const TRIES: u32 = 3;

/// When an object may be written.
#[derive(Clone, Debug)]
pub enum Condition {
    /// While it is not there.
    Absent,
    /// While it is what it was then.
    Unchanged(Version),
}

impl Objects {
    /// Those under `place`, of the store and with the credentials that the environment names. Nothing is asked yet. Needs a
    /// runtime of several threads.
    pub fn connect(place: &BucketPrefix, patience: Patience) -> Result<Self, ObjectsError> {
        Ok(Self { client: Client::connect(place, patience)?, runtime: Handle::current() })
    }

    /// The same of a store in memory.
    #[cfg(test)]
    pub fn in_memory(patience: Patience) -> Self {
        Self { client: Client::in_memory(patience), runtime: Handle::current() }
    }

    /// Waits for an answer. Other tasks of the thread that waits go on elsewhere.
    pub fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        block_in_place(|| self.runtime.block_on(answer))
    }

    /// Has the runtime carry on a task of its own.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        self.runtime.spawn(task).abort_handle()
    }

    /// How long things may take.
    pub fn patience(&self) -> Patience {
        self.client.patience
    }

    /// Where the object of this name is.
    pub fn at(&self, name: &str) -> BucketPrefix {
        self.client.place.join(name)
    }

    /// An object's content, if it is there.
    pub async fn get(&self, name: &str) -> Result<Option<(Vec<u8>, Version)>, ObjectsError> {
        loop {
            let Some(mut reading) = self.read(name).await? else { return Ok(None) };
            let mut bytes = Vec::new();
            // Where it was replaced meanwhile, the new one is read.
            while let Some(part) = reading.part().await? {
                if part.is_empty() {
                    return Ok(Some((bytes, reading.version().clone())));
                }
                bytes.extend_from_slice(&part);
            }
        }
    }

    /// Begins to read an object, if it is there.
    pub async fn read(&self, name: &str) -> Result<Option<Reading<'_>>, ObjectsError> {
        Reading::begin(&self.client, name).await
    }

    /// Whether an object is there.
    pub async fn has(&self, name: &str) -> Result<bool, ObjectsError> {
        let Self { client, .. } = self;
        Ok(client.found(name, client.store.head(&client.key(name))).await?.is_some())
    }

    /// Whether there is no object whose name begins with that of a folder.
    pub async fn is_empty(&self, folder: &str) -> Result<bool, ObjectsError> {
        let Self { client, .. } = self;
        let mut listed = client.store.list(Some(&client.key(folder)));
        let first = client.answer(async { listed.next().await.transpose() }).await;
        Ok(first.map_err(|error| client.failed(folder, &error))?.is_none())
    }

    /// Writes an object, or replaces it, in one moment. Directly before the request that does so, `before` is asked, an error
    /// of which leaves all as it was.
    pub async fn put<E: From<ObjectsError>>(
        &self,
        name: &str,
        bytes: Bytes,
        before: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), E> {
        sending::put(&self.client, name, bytes, before).await
    }

    /// Writes a short object on a condition, which is looked at in the same moment; where it does not hold, nothing is done. A
    /// request whose answer is lost is tried again, and then finds what the first try has written.
    pub async fn put_if(
        &self,
        name: &str,
        bytes: Bytes,
        condition: Condition,
    ) -> Result<Option<Version>, ObjectsError> {
        let Self { client, .. } = self;
        let mode = match condition {
            Condition::Absent => PutMode::Create,
            Condition::Unchanged(Version(e_tag)) => {
                PutMode::Update(UpdateVersion { e_tag: Some(e_tag), version: None })
            }
        };
        let key = client.key(name);
        let mut tries = 1;
        loop {
            let payload = bytes.clone().into();
            match client.answer(client.store.put_opts(&key, payload, mode.clone().into())).await {
                Ok(PutResult { e_tag, .. }) => return client.version(name, e_tag).map(Some),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => return Ok(None),
                // The crate does not try again what it might do twice.
                Err(error) if is_late(&error) && tries < TRIES => tries += 1,
                Err(error) => return Err(client.failed(name, &error)),
            }
        }
    }

    /// Copies an object within the store, where another may be; returns whether it was there.
    pub async fn copy(&self, from: &str, to: &str) -> Result<bool, ObjectsError> {
        let Self { client, .. } = self;
        Ok(client.found(from, client.store.copy(&client.key(from), &client.key(to))).await?.is_some())
    }

    /// Deletes an object, if it is there.
    pub async fn delete(&self, name: &str) -> Result<(), ObjectsError> {
        let Self { client, .. } = self;
        client.found(name, client.store.delete(&client.key(name))).await.map(drop)
    }
}

impl Display for Objects {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.client.place)
    }
}

impl Debug for Objects {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Objects {
        Objects::in_memory(Patience::default())
    }

    async fn put(objects: &Objects, name: &str, bytes: &[u8]) {
        let always = async || Ok::<(), ObjectsError>(());
        objects.put(name, Bytes::copy_from_slice(bytes), always).await.unwrap();
    }

    async fn content(objects: &Objects, name: &str) -> Option<Vec<u8>> {
        objects.get(name).await.unwrap().map(|(bytes, _)| bytes)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_of_every_length_are_read_back() {
        let objects = objects();
        let part = sending::PART;
        for length in [0, 1, part, part + 1, 2 * part, 2 * part + 7] {
            let bytes: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            put(&objects, "layers/00", &bytes).await;
            assert!(content(&objects, "layers/00").await.unwrap() == bytes, "{length} bytes");
        }
        assert!(objects.has("layers/00").await.unwrap() && !objects.is_empty("layers").await.unwrap());
        objects.delete("layers/00").await.unwrap();
        objects.delete("layers/00").await.unwrap();
        assert!(!objects.has("layers/00").await.unwrap() && objects.is_empty("layers").await.unwrap());
        assert_eq!(content(&objects, "layers/00").await, None);
        assert!(!objects.copy("layers/00", "layers/01").await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_object_that_is_replaced_while_it_is_read_is_not_mixed() {
        let objects = objects();
        put(&objects, "file", &vec![1; 3 * sending::PART]).await;
        let mut reading = objects.read("file").await.unwrap().unwrap();
        assert!(reading.part().await.unwrap().unwrap().iter().all(|byte| *byte == 1));
        put(&objects, "file", &vec![2; 3 * sending::PART]).await;
        assert_eq!(reading.part().await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_object_is_written_on_a_condition_or_not_at_all() {
        let objects = objects();
        let put_if = |bytes: &'static str, condition| {
            let objects = objects.clone();
            async move { objects.put_if("lock", bytes.into(), condition).await.unwrap() }
        };
        let first = put_if("first", Condition::Absent).await.unwrap();
        assert_eq!(put_if("other", Condition::Absent).await, None);
        let second = put_if("second", Condition::Unchanged(first.clone())).await.unwrap();
        assert_eq!(put_if("other", Condition::Unchanged(first)).await, None);
        assert_eq!(objects.get("lock").await.unwrap().unwrap(), (b"second".to_vec(), second));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_written_where_who_is_asked_before_says_no() {
        let objects = objects();
        for length in [1, sending::PART + 1] {
            let refuse = async || Err(ObjectsError::new(objects.at("file"), "no"));
            objects.put("file", vec![0; length].into(), refuse).await.unwrap_err();
            assert_eq!(content(&objects, "file").await, None);
        }
    }
}
