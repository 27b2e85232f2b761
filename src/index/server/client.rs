//! A connection to a Qdrant server: plain calls over its asynchronous client, tried again while a failure may pass, and
//! failures in words.
//!
//! What is asked of the server, and what it means, is the business of `mod.rs`.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use qdrant_client::{Qdrant, QdrantError};
use tokio::runtime::Runtime;

use crate::error::{Error, Result};

/// The key that goes with every request, if one of them is set; the first counts.
const KEYS: [&str; 2] = [super::KEY, "QDRANT_API_KEY"];
/// Of Qdrant's gRPC interface.
const PORT: u16 = 6334;
const CONNECTING: Duration = Duration::from_secs(5);
/// Of one request. A batch may have to wait for a busy disk.
const ANSWERING: Duration = Duration::from_secs(60);
/// Between attempts: doubles from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How long a failure that may pass is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Perseverance {
    /// Somebody waits for an answer: long enough for a connection that has grown old.
    Asking,
    /// Work under way, which a server that is started anew should not cost.
    Working,
}

impl Perseverance {
    fn limit(self) -> Duration {
        match self {
            Self::Asking => Duration::from_secs(2),
            Self::Working => Duration::from_secs(120),
        }
    }
}

#[derive(Clone)]
pub(super) struct Client {
    qdrant: Qdrant,
    /// As people know it.
    url: String,
}

impl Client {
    /// A client of the server at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no URL of a server.
    pub(super) fn new(url: &str) -> Result<Self> {
        let uri = address(url)?;
        let key = KEYS.iter().find_map(|name| std::env::var(name).ok().filter(|key| !key.is_empty()));
        let mut config =
            Qdrant::from_url(&uri).skip_compatibility_check().connect_timeout(CONNECTING).timeout(ANSWERING);
        if let Some(key) = &key {
            config.set_api_key(key);
        }
        let qdrant = config.build().map_err(|error| not_a_url(url, &error.to_string()))?;
        Ok(Self { qdrant, url: url.to_owned() })
    }

    /// Does `work`, again while it fails in a way that may pass, `doing` in words. It may therefore be done twice.
    ///
    /// # Errors
    /// [`Error::Transient`] when it goes on failing so, otherwise what [`Client::failed`] makes of it.
    pub(super) fn call<T, F>(
        &self,
        doing: &str,
        perseverance: Perseverance,
        work: impl Fn(Qdrant) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match runtime()?.block_on(work(self.qdrant.clone())) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let asked = match &error {
                QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
                    Duration::from_secs(*retry_after_seconds)
                }
                _ => Duration::ZERO,
            };
            let wait = pause.max(asked);
            if !may_pass(&error) || begun.elapsed() + wait > perseverance.limit() {
                return Err(self.failed(doing, &error));
            }
            std::thread::sleep(wait);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn failed(&self, doing: &str, error: &QdrantError) -> Error {
        use tonic::Code;
        let what = |why: &str| format!("{doing}: Qdrant at {}: {why}", self.url);
        let Some(status) = status(error) else { return Error::invalid(what(&error.to_string())) };
        let said = status.message();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                Error::invalid(what(&format!("it refuses the key ({said})")))
                    .hint(format!("set {} to the server's API key", super::KEY))
            }
            Code::NotFound => Error::corrupt(what(said)).hint(
                "if the collection was deleted there, `incontext ingest` again makes it anew; if the server is another one, \
                 name the right one with --qdrant-url",
            ),
            Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented | Code::OutOfRange => {
                Error::invalid(what(&format!("it refuses ({said})")))
                    .hint("is it a Qdrant of at least version 1.10?")
            }
            _ => {
                let (why, hint) = unreachable(said);
                Error::transient(what(&why)).hint(hint)
            }
        }
    }
}

/// Why nothing came back, and what to do about it.
fn unreachable(said: &str) -> (String, String) {
    const AGAIN: &str = "what was finished is kept: run it again when the server is back";
    let is = |marks: &[&str]| marks.iter().any(|mark| said.contains(mark));
    let (why, hint) = match () {
        () if is(&["UnknownIssuer", "InvalidCertificate", "certificate", "Certificate"]) => (
            "its certificate is not trusted here",
            "an authority of your own is trusted when SSL_CERT_FILE names its certificate",
        ),
        () if is(&["ConnectionRefused", "onnection refused"]) => {
            ("nobody listens there", "start the server, or correct --qdrant-url; Qdrant's gRPC port is 6334")
        }
        () if is(&["dns error", "failed to lookup", "Name or service not known"]) => {
            ("there is no such host", "correct --qdrant-url")
        }
        () if is(&["InvalidMessage", "invalid HTTP", "http2 error", "HTTP/1", "CorruptMessage"]) => (
            "what answers there does not speak gRPC",
            "Qdrant's gRPC port is 6334, 6333 is another; https:// only where the server has TLS",
        ),
        () => return (said.to_owned(), AGAIN.to_owned()),
    };
    (why.to_owned(), hint.to_owned())
}

fn status(error: &QdrantError) -> Option<&tonic::Status> {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            Some(status)
        }
        _ => None,
    }
}

/// The connection broke, or the server is starting, stopping or busy. A certificate does not become better.
fn may_pass(error: &QdrantError) -> bool {
    use tonic::Code;
    let Some(status) = status(error) else { return false };
    let kind = matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
            | Code::ResourceExhausted
    );
    kind && !status.message().contains("ertificate")
}

/// Whether the server says that there already is what was to be made.
pub(super) fn exists_already(error: &QdrantError) -> bool {
    status(error).is_some_and(|status| {
        status.code() == tonic::Code::AlreadyExists || status.message().contains("already exists")
    })
}

/// `url` as the client wants it: with a port.
fn address(url: &str) -> Result<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.trim_end_matches('/');
    if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
        return Err(not_a_url(url, "it takes http:// or https://, a host, and a port"));
    }
    // Behind the brackets of an IPv6 address.
    let last = host.rsplit(']').next().unwrap_or(host);
    Ok(match last.contains(':') {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{host}:{PORT}"),
    })
}

fn not_a_url(url: &str, why: &str) -> Error {
    Error::invalid(format!("`{}` is no address of a Qdrant server: {why}", url.escape_debug()))
        .hint("such as http://localhost:6334")
}

/// One thread that carries connections; whoever calls waits on their own.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let made = made.map_err(|source| Error::io("cannot start the thread for connections", source))?;
    Ok(RUNTIME.get_or_init(|| made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_and_a_port() {
        for (url, expected) in [
            ("http://localhost", "http://localhost:6334"),
            ("https://x.cloud.example/", "https://x.cloud.example:6334"),
            ("http://10.0.0.1:7000", "http://10.0.0.1:7000"),
            ("http://[::1]", "http://[::1]:6334"),
            ("http://[::1]:9", "http://[::1]:9"),
        ] {
            assert_eq!(address(url).unwrap(), expected);
        }
        for url in ["", "localhost:6334", "ftp://x", "http://", "http://a/b", "http://key@host", "http:// x"]
        {
            let error = address(url).unwrap_err();
            assert!(error.to_string().contains("no address of a Qdrant server"), "{error}");
        }
    }

    #[test]
    fn nobody_there_is_said_soon_and_with_what_to_do() {
        let client = Client::new("http://127.0.0.1:9").unwrap();
        let error = client
            .call("asking", Perseverance::Asking, |qdrant| async move { qdrant.health_check().await })
            .unwrap_err();
        assert!(matches!(error, Error::Transient(_)), "{error:?}");
        assert_eq!(error.to_string(), "asking: Qdrant at http://127.0.0.1:9: nobody listens there");
        assert!(error.advice().unwrap().contains("6334"));
    }
}
