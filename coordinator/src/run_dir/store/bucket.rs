//! A run directory under a prefix of a bucket: every file is an object.
//!
//! What is appended is kept in memory and sent, whole, before the next file that is written: so metrics are there up to the
//! checkpoint that a run goes on from, and those of later steps come again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::time::timeout;

use super::lease::Lease;
use super::storage::Storage;
use crate::location::BucketPrefix;
use crate::objects::{Objects, Patience};
use crate::run_dir::error::RunDirError;

/// A run directory under a prefix.
#[derive(Debug)]
pub struct Bucket {
    objects: Objects,
    /// Of who writes.
    lease: Option<Lease>,
    growing: Mutex<BTreeMap<String, Growing>>,
}

/// A file that is appended to.
#[derive(Clone, Debug)]
struct Growing {
    content: Vec<u8>,
    /// How much of it is there already.
    sent: usize,
}

impl Bucket {
    /// Opens one to read.
    pub fn reading(place: &BucketPrefix) -> Result<Self, RunDirError> {
        let objects = Objects::connect(place, Patience::default())?;
        Ok(Self { objects, lease: None, growing: Mutex::default() })
    }

    /// Opens one to read and write, once it is this coordinator's.
    pub fn locked(place: &BucketPrefix, patience: Patience) -> Result<Self, RunDirError> {
        Self::lock(Objects::connect(place, patience)?)
    }

    fn lock(objects: Objects) -> Result<Self, RunDirError> {
        let lease = Some(objects.wait(Lease::take(&objects))?);
        Ok(Self { objects, lease, growing: Mutex::default() })
    }

    fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("only who has locked it writes")
    }

    fn growing(&self) -> MutexGuard<'_, BTreeMap<String, Growing>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), RunDirError> {
        self.objects.put(name, bytes, async || self.lease().check().await).await
    }

    /// Sends what was appended since.
    async fn send_appended(&self) -> Result<(), RunDirError> {
        let grown: Vec<(String, Bytes)> = {
            let growing = self.growing();
            let grown = growing.iter().filter(|(_, file)| file.sent < file.content.len());
            grown.map(|(name, file)| (name.clone(), Bytes::copy_from_slice(&file.content))).collect()
        };
        for (name, content) in grown {
            let length = content.len();
            self.put(&name, content).await?;
            if let Some(file) = self.growing().get_mut(&name) {
                file.sent = length;
            }
        }
        Ok(())
    }

    /// Changes something, with nothing else in between and after all that was appended.
    fn change(&self, change: impl AsyncFn() -> Result<(), RunDirError>) -> Result<(), RunDirError> {
        self.objects.wait(async {
            let _writing = self.lease().writing().await;
            let changed = match self.send_appended().await {
                Ok(()) => change().await,
                error => error,
            };
            if changed.is_err() {
                // Where it was too late because this process slept, that is the reason.
                let _ = timeout(self.objects.patience().request(), self.lease().check()).await;
                self.lease().look()?;
            }
            changed
        })
    }
}

impl Storage for Bucket {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunDirError> {
        if let Some(file) = self.growing().get(name) {
            return Ok(Some(file.content.clone()));
        }
        Ok(self.objects.wait(self.objects.get(name))?.map(|(bytes, _)| bytes))
    }

    fn has(&self, name: &str) -> Result<bool, RunDirError> {
        Ok(self.objects.wait(self.objects.has(name))?)
    }

    fn is_empty(&self, name: &str) -> Result<bool, RunDirError> {
        Ok(self.objects.wait(self.objects.is_empty(name))?)
    }

    fn write(&self, name: &str, previous: Option<&str>, bytes: &[u8]) -> Result<(), RunDirError> {
        self.growing().remove(name);
        self.change(async || {
            if let Some(previous) = previous {
                self.lease().check().await?;
                self.objects.copy(name, previous).await?;
            }
            self.put(name, Bytes::copy_from_slice(bytes)).await
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), RunDirError> {
        self.change(async || {
            self.lease().check().await?;
            self.objects.copy(from, to).await?;
            self.lease().check().await?;
            Ok(self.objects.delete(from).await?)
        })
    }

    fn open_end(&self, name: &str) -> Result<(), RunDirError> {
        let content = self.read(name)?.unwrap_or_default();
        let sent = content.len();
        self.growing().entry(name.to_owned()).or_insert(Growing { content, sent });
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        self.lease().look()?;
        let mut growing = self.growing();
        let file = growing.get_mut(name).expect("its end is open");
        file.content.extend_from_slice(bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), RunDirError> {
        self.growing().remove(name);
        self.change(async || {
            self.lease().check().await?;
            Ok(self.objects.delete(name).await?)
        })
    }

    fn release(&self) {
        self.objects.wait(self.lease().release());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> (Objects, Bucket) {
        let objects = Objects::in_memory(Patience::default());
        (objects.clone(), Bucket::lock(objects).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_there_before_is_kept() {
        let (_, bucket) = bucket();
        let read = |name: &str| bucket.read(name).unwrap();
        bucket.write("some/file.x", Some("some/previous.x"), b"1").unwrap();
        assert_eq!((read("some/file.x"), read("some/previous.x")), (Some(b"1".to_vec()), None));
        for (now, before) in [(b"2", b"1"), (b"3", b"2")] {
            bucket.write("some/file.x", Some("some/previous.x"), now).unwrap();
            assert_eq!(read("some/file.x").unwrap(), now);
            assert_eq!(read("some/previous.x").unwrap(), before);
        }
        bucket.rename("some/previous.x", "some/file.x").unwrap();
        assert_eq!((read("some/file.x"), read("some/previous.x")), (Some(b"2".to_vec()), None));
        bucket.remove("some/file.x").unwrap();
        assert!(bucket.is_empty("some").unwrap() && !bucket.has("some/file.x").unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_appended_is_there_before_what_is_written_later() {
        let (objects, bucket) = bucket();
        let there = async || objects.get("metrics").await.unwrap().map(|(bytes, _)| bytes);
        bucket.open_end("metrics").unwrap();
        bucket.append("metrics", b"1").unwrap();
        bucket.append("metrics", b"2").unwrap();
        assert_eq!(bucket.read("metrics").unwrap().unwrap(), b"12");
        assert_eq!(there().await, None);
        bucket.write("checkpoint", None, b"").unwrap();
        assert_eq!(there().await.unwrap(), b"12");
        bucket.write("metrics", None, b"1").unwrap();
        bucket.open_end("metrics").unwrap();
        bucket.append("metrics", b"3").unwrap();
        bucket.write("checkpoint", None, b"").unwrap();
        assert_eq!(there().await.unwrap(), b"13");
    }
}
