//! Failures in words: which endpoint, what it said itself, and whether to ask again.

use std::time::Duration;

use serde_json::Value;

use super::Endpoint;
use crate::error::{Error, Result};
use crate::http::{Outlook, may_pass, outlook};

/// As much of a server's own words as fits a message.
const LONGEST_QUOTE: usize = 300;

/// What went wrong in one attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Error,
    pub again: Again,
}

/// Whether another attempt may go better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    /// After as long as the server said, if it did.
    After(Option<Duration>),
}

/// Speaks of one address: `{base url}/chat/completions`.
pub(super) struct Place<'a> {
    pub endpoint: &'a Endpoint,
    pub url: &'a str,
    pub model: &'a str,
}

impl Place<'_> {
    /// No attempt will go better.
    pub fn never(&self, error: Error) -> Failure {
        Failure { error, again: Again::Never }
    }

    /// What came is not what was asked for.
    pub fn nonsense(&self, what: &str) -> Failure {
        self.never(Error::invalid(format!("`{}` {what}", self.url)).hint(
            "is this an OpenAI-compatible server? Its base URL mostly ends in /v1; see OPENAI_BASE_URL",
        ))
    }

    /// The answer did not come to its end, of which `seen` is `true` when part of it was shown already.
    pub fn half(&self, seen: bool, why: &str) -> Failure {
        let how = if seen { "broke off in the middle of the answer" } else { "broke off before the answer" };
        let error = Error::transient(format!("`{}` {how}: {why}", self.url))
            .hint("ask again; if it stays, the server's log may say why");
        Failure { error, again: if seen { Again::Never } else { Again::After(None) } }
    }

    pub fn silent(&self) -> Failure {
        let silence = self.endpoint.patience.silence;
        self.never(
            Error::transient(format!("`{}` has been silent for {silence:?}", self.url))
                .hint("is the model still loading, or too large for the machine? `timeout` under [openai] in config.toml is in seconds"),
        )
    }

    /// No answer at all, or none further; `seen` as in [`Self::half`].
    pub fn unanswered(&self, error: &ureq::Error, seen: bool) -> Failure {
        use ureq::{Error as E, Timeout};
        match error {
            E::Timeout(Timeout::Resolve | Timeout::Connect) => self.nobody("no connection in time"),
            E::Timeout(_) => self.silent(),
            // ureq's own words begin with what we say anyway (`io: `).
            other => {
                let words = other.to_string();
                let words = words.trim_start_matches("io: ");
                match outlook(other) {
                    Outlook::Passing => self.half(seen, words),
                    Outlook::Unreachable => self.nobody(words),
                    Outlook::Lasting => {
                        self.never(Error::invalid(format!("`{}` cannot be asked: {words}", self.url)))
                    }
                }
            }
        }
    }

    fn nobody(&self, why: &str) -> Failure {
        let error = Error::transient(format!("`{}` cannot be reached: {why}", self.url));
        self.never(error.hint(
            "is the server running? Its address is OPENAI_BASE_URL, or `base_url` under [openai] in config.toml",
        ))
    }

    /// An answer that says no. `told` is what its `Retry-After` says.
    pub fn refused(&self, status: u16, told: Option<&str>, location: Option<&str>, body: &[u8]) -> Failure {
        let said = Said::of(body);
        let name = ureq::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let mut what = format!("`{}` answered {status}", self.url);
        if let Some(name) = name {
            what.push_str(&format!(" {name}"));
        }
        let words = match (location, &said.words) {
            (Some(there), _) => Some(tidied(&format!("it has moved to {there}"))),
            (None, words) => words.clone(),
        };
        if let Some(words) = words {
            what.push_str(&format!(": {}", self.without_key(&words)));
        }
        let model = self.model;
        let error = match status {
            401 | 403 if self.endpoint.key().is_none() => Error::invalid(what).hint(
                "no key was sent: set OPENAI_API_KEY together with OPENAI_BASE_URL, or name its variable with `api_key_env` under [openai] in config.toml",
            ),
            401 | 403 => Error::invalid(what).hint("check the key, and whether it belongs to this address"),
            404 => Error::not_found(what).hint(format!(
                "is there a model `{model}`? `{}/models` lists them; the base URL mostly ends in /v1",
                self.endpoint.base_url()
            )),
            _ if status == 413 || said.too_long => {
                Error::too_long(what).hint("use fewer or shorter passages, or a model with a larger window")
            }
            429 if said.broke => Error::invalid(what).hint("the account behind the key has nothing left to spend"),
            429 => Error::transient(what).hint("too many requests: wait, or ask for a higher limit"),
            status if may_pass(status) => Error::transient(what).hint("ask again later; the server's log may say why"),
            300..=399 => Error::invalid(what).hint("give the new address as OPENAI_BASE_URL"),
            _ => Error::invalid(what).hint("the server does not take what it was asked; its manual may say what it does"),
        };
        let again = match may_pass(status) && !said.broke && !said.too_long {
            true => Again::After(told.and_then(|told| told.trim().parse().ok()).map(Duration::from_secs)),
            false => Again::Never,
        };
        Failure { error, again }
    }

    /// An error sent as an event, after the status was fine.
    pub fn complained(&self, error: &Value) -> Failure {
        let words = words_of(error).unwrap_or_else(|| error.to_string());
        let words = self.without_key(&tidied(&words));
        self.never(
            Error::transient(format!("`{}` gave up: {words}", self.url))
                .hint("ask again; if it stays, the server's log may say why"),
        )
    }

    fn without_key(&self, words: &str) -> String {
        match self.endpoint.key() {
            Some(key) => words.replace(key, "[the key]"),
            None => words.to_owned(),
        }
    }
}

/// A server's own words about an error.
#[derive(Debug, Default, PartialEq)]
struct Said {
    words: Option<String>,
    too_long: bool,
    /// Nothing left to spend, which waiting does not change.
    broke: bool,
}

impl Said {
    fn of(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let words = match serde_json::from_str::<Value>(&text) {
            Ok(json) => words_of(&json),
            Err(_) if looks_like_html(&text) => Some("a web page".to_owned()),
            Err(_) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        };
        let says = |code: &str| text.contains(code);
        Self {
            words: words.map(|words| tidied(&words)),
            too_long: says("context_length_exceeded")
                || says("exceed_context_size")
                || says("maximum context length"),
            broke: says("insufficient_quota"),
        }
    }
}

/// Servers put the message in different places.
fn words_of(json: &Value) -> Option<String> {
    let candidates = [
        json.pointer("/error/message"),
        json.get("error"),
        json.get("message"),
        json.get("detail"),
        Some(json),
    ];
    let found = candidates.into_iter().flatten().find(|value| !value.is_null())?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

pub(super) fn looks_like_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(14).collect::<String>().to_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// One line without control characters, not too long.
pub(super) fn tidied(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    match clean.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}...", &clean[..end]),
        None => clean,
    }
}

/// A setting that newer models or stricter servers do not take, if that is what a refusal says.
pub(super) fn unwelcome(error: &Error) -> Option<&'static str> {
    const SETTINGS: [&str; 6] = ["stream_options", "max_tokens", "temperature", "top_p", "seed", "stop"];
    const REFUSALS: [&str; 6] = [
        "unsupported",
        "not supported",
        "does not support",
        "not permitted",
        "unrecognized",
        "extra_forbidden",
    ];
    let words = error.to_string().to_lowercase();
    if !REFUSALS.iter().any(|refusal| words.contains(refusal)) {
        return None;
    }
    // As a word: `stop` is not in `stopped`, `max_tokens` not in `max_tokens_per_day`.
    let named =
        |setting: &str| words.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == setting);
    SETTINGS.into_iter().find(|setting| named(setting))
}

pub(super) type Attempt<T> = Result<T, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, told: Option<&str>, body: &str) -> Failure {
        let endpoint = Endpoint::new("http://localhost/v1", Some("sk-secret")).unwrap();
        let place = Place { endpoint: &endpoint, url: "http://localhost/v1/chat/completions", model: "m" };
        place.refused(status, told, None, body.as_bytes())
    }

    #[test]
    fn a_refusal_names_the_endpoint_the_status_and_the_servers_own_words() {
        for (body, words) in [
            (r#"{"error": {"message": "no such model"}}"#, ": no such model"),
            (r#"{"error": "no such model"}"#, ": no such model"),
            (r#"{"detail": "no such model"}"#, ": no such model"),
            (r#"{"object": "error", "message": "no\nsuch\u001b[31m model"}"#, ": no such[31m model"),
            ("no such model", ": no such model"),
            ("<!DOCTYPE html><p>nginx</p>", ": a web page"),
            ("", ""),
        ] {
            let error = refused(404, None, body).error;
            let expected = format!("`http://localhost/v1/chat/completions` answered 404 Not Found{words}");
            assert_eq!(error.to_string(), expected);
            assert!(error.advice().unwrap().contains("`m`"));
        }
    }

    #[test]
    fn only_what_may_pass_is_asked_again_and_when_the_server_says() {
        let again = |status, told, body| refused(status, told, body).again;
        assert_eq!(again(429, Some("7"), ""), Again::After(Some(Duration::from_secs(7))));
        assert_eq!(again(429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), ""), Again::After(None));
        assert_eq!(again(503, None, ""), Again::After(None));
        assert_eq!(again(429, None, r#"{"error": {"code": "insufficient_quota"}}"#), Again::Never);
        for status in [307, 400, 401, 403, 404, 413, 422] {
            assert_eq!(again(status, Some("1"), ""), Again::Never, "{status}");
        }
    }

    #[test]
    fn too_long_a_prompt_is_that_kind_of_error() {
        let said = r#"{"error": {"message": "too much", "code": "context_length_exceeded"}}"#;
        assert!(matches!(refused(400, None, said).error, Error::TooLong(_)));
        assert!(matches!(refused(413, None, "").error, Error::TooLong(_)));
    }

    #[test]
    fn the_key_is_never_repeated() {
        let error = refused(401, None, "wrong key: sk-secret").error;
        assert!(error.to_string().ends_with("wrong key: [the key]"), "{error}");
    }

    #[test]
    fn a_setting_that_is_not_taken_is_found_by_name_and_only_when_that_is_the_complaint() {
        let named = |body| unwelcome(&refused(400, None, body).error);
        assert_eq!(
            named("Unsupported parameter: 'max_tokens' is not supported with this model."),
            Some("max_tokens")
        );
        assert_eq!(named("[{'type': 'extra_forbidden', 'loc': ['stream_options']}]"), Some("stream_options"));
        assert_eq!(named("'temperature' does not support 0 with this model."), Some("temperature"));
        assert_eq!(named("max_tokens is too large: 9000"), None);
        assert_eq!(named("this is not supported, so we stopped"), None);
    }
}
