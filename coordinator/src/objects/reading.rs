//! An object that is read part by part: no request takes long on a slow line, and no long object needs memory for all of it.

use bytes::Bytes;
use object_store::{Error, GetOptions, GetResult, ObjectStoreExt};

use super::client::{Client, Version};
use super::error::ObjectsError;
use super::sending::PART;

/// An object, as far as it is read.
pub struct Reading<'a> {
    client: &'a Client,
    name: String,
    /// The answer to the first request, which has all of a short object.
    first: Option<GetResult>,
    size: u64,
    version: Version,
    read: u64,
}

impl<'a> Reading<'a> {
    /// Begins with an object, if it is there.
    pub async fn begin(client: &'a Client, name: &str) -> Result<Option<Self>, ObjectsError> {
        let Some(first) = client.found(name, client.store.get(&client.key(name))).await? else {
            return Ok(None);
        };
        let size = first.meta.size;
        let version = client.version(name, first.meta.e_tag.clone())?;
        Ok(Some(Self { client, name: name.to_owned(), first: Some(first), size, version, read: 0 }))
    }

    /// Bytes of all of it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it is.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The next bytes of it, none at its end; nothing where the object is not what it was any more.
    pub async fn part(&mut self) -> Result<Option<Bytes>, ObjectsError> {
        let Self { client, name, .. } = self;
        let first = self.first.take().filter(|_| self.size <= PART as u64);
        let end = self.size.min(self.read + PART as u64);
        let part = match first {
            Some(first) => client.answer(first.bytes()).await,
            None if end == self.read => Ok(Bytes::new()),
            None => {
                let same = Some(self.version.0.clone());
                let options = GetOptions::new().with_range(Some(self.read..end)).with_if_match(same);
                let key = client.key(name);
                let request = async { client.store.get_opts(&key, options).await?.bytes().await };
                client.answer(request).await
            }
        };
        match part {
            Ok(part) => {
                self.read += part.len() as u64;
                Ok(Some(part))
            }
            Err(Error::Precondition { .. } | Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(client.failed(name, &error)),
        }
    }
}
