//! Files over HTTP(S): resumed where they broke off, retried when that may help, given up at once when it cannot.
//!
//! The client is the one of [`crate::http`]. What arrives is believed by its sha256 only.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ureq::Agent;

use super::aside::Aside;
use super::catalogue::{HubRepo, Pinned};
use crate::error::{Error, Result};
use crate::http::{self, Outlook, outlook};

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Name lookup, and connection with TLS handshake: short, since there is another source to try.
    pub connect: Duration,
    /// Silence on an open connection.
    pub read: Duration,
    /// Before the first retry; doubles with each.
    pub pause: Duration,
    /// Failures in a row, without a byte between them, before giving up.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            pause: Duration::from_millis(500),
            tries: 5,
        }
    }
}

/// A hub: the public one or a mirror of it.
pub(super) struct Http {
    agent: Agent,
    endpoint: String,
    patience: Patience,
    /// Once bytes came from it, a refused connection is a hiccup and no longer the end.
    proven: bool,
}

struct Failure {
    error: Error,
    outlook: Outlook,
}

impl Http {
    /// `endpoint` is a base address without a final `/`; `proxy` allows a proxy named by the environment.
    pub fn new(endpoint: &str, patience: Patience, proxy: bool) -> Self {
        let config = http::agent(proxy)
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.read))
            .timeout_per_read(Some(patience.read));
        Self { agent: config.build().new_agent(), endpoint: endpoint.to_owned(), patience, proven: false }
    }

    /// Brings one file of `repo` to `target`; `moved` is told how many of its bytes are here.
    ///
    /// # Errors
    /// `Transient` when the hub cannot be reached or keeps failing, `NotFound` when it has no such file, `Corrupt`
    /// when it has another one.
    pub fn fetch(
        &mut self,
        repo: HubRepo,
        pinned: &Pinned,
        target: &Path,
        moved: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let url = format!("{}/{}/resolve/{}/{}", self.endpoint, repo.id, repo.revision, pinned.path);
        let mut failures = 0;
        let mut distrust_part = true;
        loop {
            let mut aside = Aside::resume(pinned, target)?;
            let (resumed, before) = (aside.len() > 0, aside.len());
            moved(before);
            let outcome = self.transfer(&url, pinned, &mut aside, moved);
            let progressed = aside.len() > before;
            self.proven |= progressed;
            let Err(failure) = outcome else {
                match aside.finish() {
                    // The part we went on from may have been the wrong half: once more, from the start.
                    Err(Error::Corrupt(_)) if resumed && distrust_part => distrust_part = false,
                    finished => return finished,
                }
                continue;
            };
            failures = if progressed { 1 } else { failures + 1 };
            let hopeless = match failure.outlook {
                Outlook::Lasting => true,
                Outlook::Unreachable => !self.proven,
                Outlook::Passing => false,
            };
            if hopeless || failures >= self.patience.tries {
                return Err(failure.error);
            }
            thread::sleep(self.patience.pause * 2_u32.pow(failures - 1));
        }
    }

    /// One request: what is missing of the file, appended to `aside`.
    fn transfer(
        &self,
        url: &str,
        pinned: &Pinned,
        aside: &mut Aside<'_>,
        moved: &mut dyn FnMut(u64),
    ) -> Result<(), Failure> {
        if aside.len() == pinned.size {
            return Ok(());
        }
        let mut request = self.agent.get(url);
        if aside.len() > 0 {
            request = request.header("Range", format!("bytes={}-", aside.len()));
        }
        let response = match request.call() {
            // The part does not fit the file there.
            Err(ureq::Error::StatusCode(416)) if aside.len() > 0 => {
                aside.restart().map_err(lasting)?;
                self.agent.get(url).call()
            }
            other => other,
        };
        let response = response.map_err(|error| refused(pinned.path, &error))?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let whole = match (response.status().as_u16(), header("Content-Range").and_then(content_range)) {
            (206, Some((start, whole))) if start == aside.len() => whole,
            (206, _) => {
                let report = format!("`{}`: answered with another range than asked", pinned.path);
                return Err(lasting(Error::corrupt(report)));
            }
            // It does not know ranges, and sends everything.
            _ => {
                aside.restart().map_err(lasting)?;
                response.body().content_length()
            }
        };
        // Said before 90 MB are moved for nothing.
        if whole.is_some_and(|whole| whole != pinned.size) {
            let found = whole.unwrap_or_default();
            let report = format!("`{}` has {found} bytes there, not {}", pinned.path, pinned.size);
            return Err(lasting(Error::corrupt(report)));
        }

        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 128 * 1024];
        while aside.len() <= pinned.size {
            match body.read(&mut buffer) {
                Ok(0) if aside.len() < pinned.size => {
                    return Err(broke_off(
                        pinned.path,
                        aside.len(),
                        pinned.size,
                        "the connection was closed",
                    ));
                }
                Ok(0) => break,
                Ok(n) => aside.write(&buffer[..n]).map_err(lasting)?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(broke_off(pinned.path, aside.len(), pinned.size, &e.to_string())),
            }
            moved(aside.len());
        }
        Ok(())
    }
}

/// `bytes 3-9/10` -> `(3, Some(10))`; `*` is an unknown size.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = value.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, whole.trim().parse().ok()))
}

fn lasting(error: Error) -> Failure {
    Failure { error, outlook: Outlook::Lasting }
}

fn broke_off(path: &str, at: u64, of: u64, why: &str) -> Failure {
    let error = Error::transient(format!("`{path}`: broke off after {at} of {of} bytes: {why}"));
    Failure { error, outlook: Outlook::Passing }
}

/// A request that brought no body.
fn refused(path: &str, error: &ureq::Error) -> Failure {
    let outlook = outlook(error);
    let report = match error {
        ureq::Error::StatusCode(status) => format!("`{path}`: HTTP status {status}"),
        ureq::Error::Timeout(_) => format!("`{path}`: no answer in time"),
        // ureq's own words begin with what we say anyway (`io: `, `tls: `).
        other => format!("`{path}`: {}", other.to_string().trim_start_matches("io: ")),
    };
    let error = match error {
        ureq::Error::StatusCode(404 | 410) => Error::not_found(report),
        _ if outlook == Outlook::Lasting => Error::invalid(report),
        _ => Error::transient(report),
    };
    Failure { error, outlook }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_says_where_it_starts_and_how_long_the_whole_is() {
        assert_eq!(content_range("bytes 3-9/10"), Some((3, Some(10))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("lines 1-2/3"), None);
    }
}
