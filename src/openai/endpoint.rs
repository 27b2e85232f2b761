//! Where a model is served, who asks, and how long to wait.

use std::fmt;
use std::time::Duration;

use ureq::http::Uri;

use crate::error::{Error, Result};

/// Ollama's own address: a server on this machine. Never a service that costs money or reads along.
pub const DEFAULT_BASE_URL: &str = "http://127.0.0.1:11434/v1";

/// An OpenAI-compatible server.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What stands before `/chat/completions`, without a final `/`.
    base_url: String,
    key: Option<String>,
    pub patience: Patience,
    /// Whether the host is this machine.
    local: bool,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Name lookup, and connection with TLS handshake.
    pub connect: Duration,
    /// Silence: before the first byte of an answer, and between two pieces of it.
    pub silence: Duration,
    /// Before the second attempt; doubles with each further one.
    pub pause: Duration,
    /// The longest pause that is waited for, whoever asks for it.
    pub longest_pause: Duration,
    /// Attempts in all.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // A large model on a small machine may read its prompt for minutes.
            silence: Duration::from_secs(120),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            tries: 4,
        }
    }
}

impl Patience {
    /// How long to wait after `attempts` have failed, `told` being the server's own wish; `None` is to give up.
    pub(super) fn pause_after(&self, attempts: u32, told: Option<Duration>) -> Option<Duration> {
        if attempts >= self.tries {
            return None;
        }
        match told {
            Some(told) => (told <= self.longest_pause).then_some(told),
            None => {
                let doubled = self.pause.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
                Some(doubled.min(self.longest_pause))
            }
        }
    }
}

impl Endpoint {
    /// A server at `base_url`, such as `http://127.0.0.1:8080/v1`; `key` is sent as a bearer token. A server of one's own
    /// usually wants none.
    ///
    /// # Errors
    /// `Invalid` when the address is no http(s) URL, or has a password in it.
    pub fn new(base_url: &str, key: Option<&str>) -> Result<Self> {
        let base_url = base_url.trim().trim_end_matches('/');
        let uri: Option<Uri> = base_url.parse().ok();
        let web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.as_ref().filter(|uri| web(uri)).and_then(Uri::host).filter(|host| !host.is_empty());
        // What is wrong may be a key in the wrong place: do not print it back where it could be one.
        let Some(host) = host else {
            return Err(Error::invalid("the base URL of the endpoint is no http:// or https:// address")
                .hint("it looks like http://127.0.0.1:8080/v1; the server's manual has it"));
        };
        if base_url.contains('@') || base_url.contains('?') || base_url.contains('#') {
            return Err(Error::invalid(format!(
                "the base URL of the endpoint at `{host}` has more than a host, a port and a path"
            ))
            .hint("a key does not belong there; give it by OPENAI_API_KEY"));
        }
        let key = key.map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned);
        let local = is_local(host);
        Ok(Self { base_url: base_url.to_owned(), key, patience: Patience::default(), local })
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether text sent there stays on this machine.
    pub fn is_local(&self) -> bool {
        self.local
    }
}

/// A key is nobody's business, logs included.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("base_url", &self.base_url)
            .field("key", &self.key.as_ref().map(|_| "..."))
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_without_its_final_slash_and_knows_whether_it_is_this_machine() {
        for (url, local) in [
            ("http://localhost:8080/v1/", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:8000/v1", true),
            ("https://models.example.com/v1", false),
            ("http://127.0.0.1.example.com/v1", false),
        ] {
            let endpoint = Endpoint::new(url, None).unwrap();
            assert_eq!(endpoint.base_url(), url.trim_end_matches('/'));
            assert_eq!(endpoint.is_local(), local, "{url}");
        }
        assert!(Endpoint::new(DEFAULT_BASE_URL, None).unwrap().is_local());
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for wrong in [
            "",
            "sk-secret",
            "ftp://sk-secret/v1",
            "http://me:sk-secret@example.com",
            "http://e/?k=sk-secret",
        ] {
            let error = Endpoint::new(wrong, None).unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{wrong}");
            assert!(!error.to_string().contains("sk-secret"), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let endpoint = Endpoint::new("http://localhost/v1", Some(" sk-secret\n")).unwrap();
        assert_eq!(endpoint.key(), Some("sk-secret"));
        assert!(!format!("{endpoint:?}").contains("secret"));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_last_attempt() {
        let seconds = Duration::from_secs;
        let patience = Patience { longest_pause: seconds(3), ..Patience::default() };
        let pauses: Vec<_> = (1..=4).map(|attempts| patience.pause_after(attempts, None)).collect();
        assert_eq!(pauses, [Some(seconds(1)), Some(seconds(2)), Some(seconds(3)), None]);
        let many = Patience { tries: u32::MAX, ..patience };
        assert_eq!(many.pause_after(u32::MAX - 1, None), Some(seconds(3)));
    }

    #[test]
    fn a_servers_own_wish_is_honoured_unless_it_is_longer_than_anyone_wants_to_wait() {
        let patience = Patience::default();
        assert_eq!(patience.pause_after(1, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(patience.pause_after(1, Some(Duration::from_secs(3600))), None);
        assert_eq!(patience.pause_after(4, Some(Duration::ZERO)), None);
    }
}
