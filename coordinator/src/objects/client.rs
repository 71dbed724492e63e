//! Requests to an object store, each with all its tries.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path as Key;
use object_store::{ClientConfigKey, Error, ObjectStore};
use rustls::crypto::ring;

use super::error::ObjectsError;
use super::patience::Patience;
use crate::location::BucketPrefix;

/// A store, as who works under a prefix of one of its buckets sees it.
#[derive(Clone)]
pub struct Client {
    /// The bucket and the prefix.
    pub place: BucketPrefix,
    /// The bucket, with what is beside the prefix.
    pub store: Arc<dyn ObjectStore>,
    /// How long things may take.
    pub patience: Patience,
    /// The store's address, as errors name it.
    endpoint: String,
}

/// What an object was when it was read or written: another content has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(
    /// Its ETag.
    pub String,
);

impl Client {
    /// One of the store, and with the credentials, that the environment names. Nothing is asked yet.
    pub fn connect(place: &BucketPrefix, patience: Patience) -> Result<Self, ObjectsError> {
        // The HTTP client takes the process's; where there is one already, it is this one.
        let _ = ring::default_provider().install_default();
        let builder = AmazonS3Builder::from_env()
            .with_bucket_name(&place.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Not all stores can delete several at once.
            .with_disable_bulk_delete(true)
            .with_retry(patience.retries())
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), span(patience.request()));
        let endpoint = endpoint(&builder);
        let store = builder.build().map_err(|error| ObjectsError::unnamed(place.clone(), &error))?;
        Ok(Self { place: place.clone(), store: Arc::new(store), patience, endpoint })
    }

    /// One of a store in memory.
    #[cfg(test)]
    pub fn in_memory(patience: Patience) -> Self {
        let place = BucketPrefix { bucket: "bucket".to_owned(), prefix: Key::from("run") };
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { place, store, patience, endpoint: "memory".to_owned() }
    }

    /// The key of the object of this name.
    pub fn key(&self, name: &str) -> Key {
        self.place.key(name)
    }

    /// The answer to a request, if it comes in time.
    pub async fn answer<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = self.patience.tries();
        tokio::time::timeout(limit, request).await.unwrap_or_else(|_| {
            let late = std::io::Error::other(format!("none within {}", span(limit)));
            Err(Error::Generic { store: "S3", source: Box::new(late) })
        })
    }

    /// The same of a request about an object: nothing where it is not there.
    pub async fn found<T>(
        &self,
        name: &str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, ObjectsError> {
        match self.answer(request).await {
            Ok(found) => Ok(Some(found)),
            // That there is no bucket is another matter.
            Err(error @ Error::NotFound { .. }) if !error.to_string().contains("NoSuchBucket") => Ok(None),
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    /// The error of a request about the object of this name.
    pub fn failed(&self, name: &str, error: &Error) -> ObjectsError {
        ObjectsError::of(self.place.join(name), &self.endpoint, error)
    }

    /// What an object is, by what the store says of it.
    pub fn version(&self, name: &str, e_tag: Option<String>) -> Result<Version, ObjectsError> {
        let missing = || ObjectsError::new(self.place.join(name), "found no ETag, expected one");
        e_tag.map(Version).ok_or_else(missing)
    }
}

fn span(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// The address of the store that a builder is for, without anything secret that may stand in it.
fn endpoint(builder: &AmazonS3Builder) -> String {
    let first = |keys: [AmazonS3ConfigKey; 2]| keys.iter().find_map(|key| builder.get_config_value(key));
    let Some(address) = first([AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]) else {
        let region = first([AmazonS3ConfigKey::Region, AmazonS3ConfigKey::DefaultRegion]);
        return format!("https://s3.{}.amazonaws.com", region.as_deref().unwrap_or("us-east-1"));
    };
    let (scheme, rest) = address.split_once("://").unwrap_or(("", &address));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_without_what_is_secret() {
        let named = |address: &str| endpoint(&AmazonS3Builder::new().with_endpoint(address));
        assert_eq!(named("http://10.0.0.1:9000/"), "http://10.0.0.1:9000");
        assert_eq!(named("https://user:secret@minio/path?token=secret"), "https://minio");
        let of_amazon = AmazonS3Builder::new().with_region("eu-central-1");
        assert_eq!(endpoint(&of_amazon), "https://s3.eu-central-1.amazonaws.com");
    }
}
