//! What an object store did instead of what it was asked for.

use object_store::client::{HttpError, HttpErrorKind};

use crate::location::BucketPrefix;

/// Something that went wrong at an object store. Of an answer only its status, code and message are repeated: a refusal may
/// quote the whole request, with its credentials.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ObjectsError {
    place: BucketPrefix,
    what: String,
}

/// Characters of a message that are shown.
const SHOWN: usize = 300;
const CREDENTIALS: &str =
    "credentials are those of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN";
const ALLOW_HTTP: &str = "; AWS_ALLOW_HTTP=true allows HTTP without TLS";
const VARIABLES: &str = "expected AWS_ENDPOINT_URL and AWS_REGION to name the store, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY \
                         the key to it";
const NO_CREDENTIALS: &str =
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and nothing else here gives credentials";

impl ObjectsError {
    /// An error in our own words.
    pub fn new(place: BucketPrefix, what: impl Into<String>) -> Self {
        Self { place, what: what.into() }
    }

    /// A store that is not named as it should be.
    pub fn unnamed(place: BucketPrefix, error: &object_store::Error) -> Self {
        Self { place, what: format!("{}; {VARIABLES}", cause(error)) }
    }

    /// What became of a request about `place` to the store at `endpoint`.
    pub fn of(place: BucketPrefix, endpoint: &str, error: &object_store::Error) -> Self {
        let advice = match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                format!("; {CREDENTIALS}")
            }
            _ => String::new(),
        };
        Self { place, what: words(&error.to_string(), endpoint, error) + &advice }
    }
}

/// What the store said, or else what came in between. `text` is the whole error.
fn words(text: &str, endpoint: &str, error: &dyn std::error::Error) -> String {
    if text.contains("/latest/api/token") || text.contains("/latest/meta-data") {
        return NO_CREDENTIALS.to_owned();
    }
    let status = between(text, "status code: ", ": ");
    if let Some(code) = between(text, "<Code>", "</Code>") {
        let message = between(text, "<Message>", "</Message>").map(|message| format!(": {message}"));
        return format!("the store at {endpoint} refuses, with {code}{}", message.unwrap_or_default());
    }
    if let Some(status) = status {
        return format!("the store at {endpoint} answers {status}");
    }
    let cause = cause(error);
    let advice = if cause.contains("scheme is not allowed") { ALLOW_HTTP } else { "" };
    format!("the store at {endpoint} gives no answer: {cause}{advice}")
}

/// What an error comes from in the end.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    printable(&cause.to_string())
}

/// Whether an answer did not come in time, so that nobody knows what was done.
pub fn is_late(error: &object_store::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<HttpError>().is_some_and(|error| error.kind() == HttpErrorKind::Timeout) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    Some(printable(found))
}

/// A text on one line, not too long.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use object_store::path::Path as Key;

    use super::*;

    fn said(error: &object_store::Error) -> String {
        let place = BucketPrefix { bucket: "bucket".to_owned(), prefix: Key::from("run/lock") };
        ObjectsError::of(place, "http://here", error).to_string()
    }

    #[test]
    fn a_refusal_is_told_by_its_code_and_message_and_nothing_that_it_quotes() {
        let body = "Error performing PUT http://here/bucket in 1s - Server returned non-2xx status code: 403 Forbidden: \
                    <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>They do not\nmatch.</Message>\
                    <AWSAccessKeyId>KEY</AWSAccessKeyId><CanonicalRequest>x-amz-security-token:TOKEN</CanonicalRequest></Error>";
        let denied =
            object_store::Error::PermissionDenied { path: "run/lock".to_owned(), source: body.into() };
        let expected = "s3://bucket/run/lock: the store at http://here refuses, with SignatureDoesNotMatch: They do not \
                        match.; credentials are those of AWS_ACCESS_KEY_ID";
        assert!(said(&denied).starts_with(expected), "{}", said(&denied));
        assert!(!said(&denied).contains("KEY<") && !said(&denied).contains("TOKEN<"), "{}", said(&denied));
    }

    #[test]
    fn other_answers_are_told_by_their_status_and_none_by_its_cause() {
        let generic = |text: &str| object_store::Error::Generic { store: "S3", source: text.into() };
        let page = generic("Server returned non-2xx status code: 502 Bad Gateway: <html>secret</html>");
        assert_eq!(said(&page), "s3://bucket/run/lock: the store at http://here answers 502 Bad Gateway");
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let nobody = object_store::Error::Generic { store: "S3", source: Box::new(refused) };
        assert!(said(&nobody).ends_with("gives no answer: connection refused"), "{}", said(&nobody));
        let metadata = generic("Error performing PUT http://169.254.169.254/latest/api/token in 9s");
        assert!(said(&metadata).contains("AWS_SECRET_ACCESS_KEY are not set"), "{}", said(&metadata));
    }
}
