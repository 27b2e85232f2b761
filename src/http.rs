//! The one way out of this machine: an HTTP client that trusts what the platform trusts, and what its failures mean.
//!
//! Certificates are checked by the platform's own verifier, so a network that re-signs traffic with a certificate the
//! machine trusts works here too; proxies come from the environment. Where to, and how long to wait, say `hub` and
//! `openai`.

use std::io::ErrorKind;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

/// What a failure says about the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Nobody there: do not wait for it.
    Unreachable,
    /// May pass.
    Passing,
    /// Will be the same next time.
    Lasting,
}

/// A client to be given its time limits; `proxy` allows a proxy named by the environment.
pub(crate) fn agent(proxy: bool) -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config =
        Agent::config_builder().tls_config(tls).user_agent(concat!("incontext/", env!("CARGO_PKG_VERSION")));
    if proxy { config } else { config.proxy(None) }
}

/// Whether a status says that the same request may work later.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

pub(crate) fn outlook(error: &ureq::Error) -> Outlook {
    use ureq::Error as E;
    match error {
        E::StatusCode(status) if may_pass(*status) => Outlook::Passing,
        E::Protocol(_) => Outlook::Passing,
        // Also one that accepts and then keeps silent: what broke off inside a body is judged by whoever reads it.
        E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::ConnectProxyFailed(_) => {
            Outlook::Unreachable
        }
        E::Io(error) => match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock => Outlook::Passing,
            _ => Outlook::Unreachable,
        },
        _ => Outlook::Lasting,
    }
}
