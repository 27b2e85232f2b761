//! One page over HTTP(S): asked for once more when that may help, read no further than its limit, and followed nowhere.
//!
//! Between two requests to a site there is a pause. A site on this machine needs none, unless its robots.txt asks for one.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Response;
use url::Url;

use super::links::Directives;
use super::shelf::Validators;
use crate::http::{self, Outlook, outlook};

/// Name lookup, and connection with TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// Silence on an open connection.
const SILENCE: Duration = Duration::from_secs(30);
/// A page with all its bytes.
const WHOLE: Duration = Duration::from_secs(120);
/// Between two requests, if robots.txt says nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// Before a request is made once more.
const AGAIN: Duration = Duration::from_secs(1);

/// What came of a request.
pub(super) enum Got {
    Page(Fetched),
    /// As it was when its copy was made.
    Same,
    /// To where it says.
    Moved(String),
    /// The site says that there is no such page any more.
    Gone(u16),
    /// The site does not give it out.
    Refused(u16),
    /// Of a kind that nobody reads.
    Unreadable(String),
    /// More bytes than are read.
    TooLarge,
    /// May pass; in words.
    Failed {
        why: String,
        unreachable: bool,
    },
    /// Whoever waited was told to stop.
    Stopped,
}

/// A page with what its header says.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    /// Its media type, in lower case, without parameters; empty where none is given.
    pub(super) kind: String,
    pub(super) charset: Option<String>,
    pub(super) validators: Validators,
    pub(super) directives: Directives,
}

/// Asks one site.
pub(super) struct Client<'a> {
    agent: Agent,
    /// Between two requests.
    pub(super) pause: Duration,
    last: Option<Instant>,
    /// Bytes of a page.
    most: u64,
    /// Asked several times a second, while there is nothing to do but wait.
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(is_here: bool, most: u64, stop: &'a dyn Fn() -> bool) -> Self {
        let config = http::agent(true)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .timeout_global(Some(WHOLE))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false);
        let pause = if is_here { Duration::ZERO } else { PAUSE };
        Self { agent: config.build().new_agent(), pause, last: None, most, stop }
    }

    /// The page at `url`, unless it is as `validators` say; `reads` says which media types and endings are of use.
    pub(super) fn get(
        &mut self,
        url: &Url,
        validators: Option<&Validators>,
        reads: impl Fn(&str) -> bool,
    ) -> Got {
        let got = self.once(url, validators, self.most, &reads);
        match got {
            Got::Failed { unreachable: false, .. } => {
                if !self.wait(AGAIN) {
                    return Got::Stopped;
                }
                self.once(url, validators, self.most, &reads)
            }
            got => got,
        }
    }

    /// The first `most` bytes of what is at `url`.
    pub(super) fn get_some(&mut self, url: &Url, most: u64) -> Got {
        match self.once(url, None, most, &|_| true) {
            Got::Failed { unreachable: false, .. } if self.wait(AGAIN) => {
                self.once(url, None, most, &|_| true)
            }
            got => got,
        }
    }

    fn once(
        &mut self,
        url: &Url,
        validators: Option<&Validators>,
        most: u64,
        reads: &dyn Fn(&str) -> bool,
    ) -> Got {
        let due = self.last.map_or(Duration::ZERO, |last| self.pause.saturating_sub(last.elapsed()));
        if !self.wait(due) {
            return Got::Stopped;
        }
        let mut request =
            self.agent.get(url.as_str()).header("Accept", "text/html, text/*, application/pdf, */*;q=0.5");
        if let Some(Validators { etag, last_modified }) = validators {
            let named = [("If-None-Match", etag), ("If-Modified-Since", last_modified)];
            for (name, value) in named {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        let answered = request.call();
        self.last = Some(Instant::now());
        let got = match answered {
            Ok(response) => read(response, most, reads),
            Err(error) => failed(&error),
        };
        self.last = Some(Instant::now());
        got
    }

    /// Lets `time` pass; `false` when it is time to stop.
    fn wait(&self, time: Duration) -> bool {
        let start = Instant::now();
        loop {
            if (self.stop)() {
                return false;
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

fn read(response: Response<ureq::Body>, most: u64, reads: &dyn Fn(&str) -> bool) -> Got {
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    match status {
        200..=299 => {}
        304 => return Got::Same,
        301 | 302 | 303 | 307 | 308 => {
            return match header("Location") {
                Some(place) => Got::Moved(place),
                None => Got::Refused(status),
            };
        }
        404 | 410 => return Got::Gone(status),
        _ if http::may_pass(status) => {
            return Got::Failed {
                why: format!("the site answers with HTTP status {status}"),
                unreachable: false,
            };
        }
        _ => return Got::Refused(status),
    }
    let (kind, charset) = media_type(&header("Content-Type").unwrap_or_default());
    if !reads(&kind) {
        return Got::Unreadable(kind);
    }
    if response.body().content_length().is_some_and(|length| length > most) {
        return Got::TooLarge;
    }
    let validators = Validators { etag: header("ETag"), last_modified: header("Last-Modified") };
    let tags = response.headers().get_all("X-Robots-Tag").iter().filter_map(|value| value.to_str().ok());
    let directives = tags.map(Directives::parse).fold(Directives::default(), Directives::and);
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_reader().take(most.saturating_add(1));
    if let Err(error) = body.read_to_end(&mut bytes) {
        return Got::Failed {
            why: format!("broke off after {} bytes: {error}", bytes.len()),
            unreachable: false,
        };
    }
    if bytes.len() as u64 > most {
        return Got::TooLarge;
    }
    Got::Page(Fetched { bytes, kind, charset, validators, directives })
}

fn failed(error: &ureq::Error) -> Got {
    let why = match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        // ureq's own words begin with what is said anyway.
        other => other.to_string().trim_start_matches("io: ").to_owned(),
    };
    Got::Failed { why, unreachable: outlook(error) != Outlook::Passing }
}

/// `Text/HTML; charset="utf-8"` -> `text/html` and `utf-8`.
fn media_type(header: &str) -> (String, Option<String>) {
    let mut parts = header.split(';');
    let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    (kind, charset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_a_kind_and_may_have_a_character_set() {
        assert_eq!(
            media_type("Text/HTML ; x=y; Charset=\"UTF-8\""),
            ("text/html".into(), Some("utf-8".into()))
        );
        assert_eq!(media_type("application/pdf"), ("application/pdf".into(), None));
        assert_eq!(media_type(""), (String::new(), None));
    }
}
