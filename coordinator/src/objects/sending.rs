//! An object is written: it comes to be, or is replaced, in one moment.

use bytes::Bytes;
use object_store::{Error, MultipartUpload, ObjectStoreExt};

use super::client::Client;
use super::error::ObjectsError;

/// Bytes of a part of a long object: no request takes long on a slow line. Every store takes parts of 5 MiB and more, if all
/// but the last are of one length.
pub const PART: usize = 8 << 20;
/// How often a long object is sent whose parts have come, while the store does not say that it is there.
const SENDINGS: usize = 2;

/// Writes an object. Directly before the request after which it is there, `before` is asked, an error of which leaves all as
/// it was.
pub async fn put<E: From<ObjectsError>>(
    client: &Client,
    name: &str,
    bytes: Bytes,
    before: impl AsyncFn() -> Result<(), E>,
) -> Result<(), E> {
    if bytes.len() > PART {
        return put_in_parts(client, name, &bytes, before).await;
    }
    before().await?;
    match client.answer(client.store.put(&client.key(name), bytes.into())).await {
        Ok(_) => Ok(()),
        Err(error) => Err(client.failed(name, &error).into()),
    }
}

async fn put_in_parts<E: From<ObjectsError>>(
    client: &Client,
    name: &str,
    bytes: &Bytes,
    before: impl AsyncFn() -> Result<(), E>,
) -> Result<(), E> {
    let key = client.key(name);
    let mut sendings = 0;
    loop {
        let upload = client.answer(client.store.put_multipart(&key)).await;
        let mut upload = upload.map_err(|error| client.failed(name, &error))?;
        if let Err(error) = send(client, upload.as_mut(), bytes).await {
            // What may be left of it, the bucket's rules remove.
            let _ = client.answer(upload.abort()).await;
            return Err(client.failed(name, &error).into());
        }
        before().await?;
        sendings += 1;
        match client.answer(upload.complete()).await {
            Ok(_) => return Ok(()),
            // Whether it is there nobody knows: the second try after a lost answer finds no parts any more.
            Err(error) if sendings < SENDINGS => {
                tracing::warn!("{}; it is sent once more", client.failed(name, &error));
            }
            Err(error) => return Err(client.failed(name, &error).into()),
        }
    }
}

async fn send(client: &Client, upload: &mut dyn MultipartUpload, bytes: &Bytes) -> Result<(), Error> {
    for start in (0..bytes.len()).step_by(PART) {
        let part = bytes.slice(start..bytes.len().min(start + PART));
        client.answer(upload.put_part(part.into())).await?;
    }
    Ok(())
}
