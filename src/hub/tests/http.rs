//! Transfers against a server that misbehaves in one way at a time.

use std::time::Instant;

use super::*;
use crate::error::{Error, Result};
use crate::hub::aside::part_of;
use crate::hub::http::Http;

const REPO: HubRepo = HubRepo { id: "someone/model", revision: "main" };

/// Fetches `bytes` from `server` into a fresh folder; the second value is what is in place afterwards.
fn fetch(server: &Server, bytes: &[u8], part: Option<&[u8]>) -> (Result<()>, Option<Vec<u8>>, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("weights");
    if let Some(part) = part {
        fs::write(part_of(&target), part).unwrap();
    }
    let mut moved = Vec::new();
    let mut http = Http::new(&server.url, patience(), false);
    let outcome = http.fetch(REPO, &pinned("weights", bytes), &target, &mut |bytes| moved.push(bytes));
    (outcome, fs::read(&target).ok(), moved)
}

fn starts(server: &Server) -> Vec<Option<usize>> {
    server.seen().into_iter().map(|seen| seen.from).collect()
}

#[test]
fn a_file_arrives_whole_and_its_progress_only_grows() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |seen, _| Reply::ranged(&served, seen));
    let (outcome, found, moved) = fetch(&server, &bytes, None);
    outcome.unwrap();
    assert!(found == Some(bytes.clone()));
    assert!(moved.is_sorted());
    assert_eq!(moved.last(), Some(&(bytes.len() as u64)));
    assert_eq!(server.seen(), [Seen { path: "/someone/model/resolve/main/weights".into(), from: None }]);
}

#[test]
fn a_body_that_breaks_off_is_taken_up_where_it_broke() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |seen, before| match before {
        0 => Reply::ranged(&served, seen).cut(100_000),
        1 => Reply::ranged(&served, seen).cut(50_000),
        _ => Reply::ranged(&served, seen),
    });
    let (outcome, found, _) = fetch(&server, &bytes, None);
    outcome.unwrap();
    assert!(found == Some(bytes));
    assert_eq!(starts(&server), [None, Some(100_000), Some(150_000)]);
}

#[test]
fn a_part_left_by_an_earlier_run_is_not_fetched_again() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |seen, _| Reply::ranged(&served, seen));
    let (outcome, found, moved) = fetch(&server, &bytes, Some(&bytes[..399_999]));
    outcome.unwrap();
    assert!(found == Some(bytes));
    assert_eq!(starts(&server), [Some(399_999)]);
    assert_eq!(moved[0], 399_999);
}

#[test]
fn a_part_that_was_the_wrong_half_is_fetched_again_from_the_start() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |seen, _| Reply::ranged(&served, seen));
    let (outcome, found, _) = fetch(&server, &bytes, Some(&[7; 1000]));
    outcome.unwrap();
    assert!(found == Some(bytes));
    assert_eq!(starts(&server), [Some(1000), None]);
}

#[test]
fn a_server_without_ranges_sends_everything_and_that_is_fine() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |_, _| Reply::whole(&served));
    let (outcome, found, _) = fetch(&server, &bytes, Some(&bytes[..1000]));
    outcome.unwrap();
    assert!(found == Some(bytes));
}

#[test]
fn a_server_that_cannot_satisfy_the_range_is_asked_for_everything() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |seen, _| match seen.from {
        Some(_) => Reply::status("416 Range Not Satisfiable"),
        None => Reply::whole(&served),
    });
    let (outcome, found, _) = fetch(&server, &bytes, Some(&bytes[..1000]));
    outcome.unwrap();
    assert!(found == Some(bytes));
}

#[test]
fn wrong_bytes_of_the_right_length_are_refused_once_and_not_kept() {
    let bytes = weights();
    let server = Server::start(move |_, _| Reply::whole(&vec![0; 400_000]));
    let (outcome, found, _) = fetch(&server, &bytes, None);
    assert!(matches!(outcome, Err(Error::Corrupt(_))), "{outcome:?}");
    assert_eq!((found, server.seen().len()), (None, 1));
}

#[test]
fn a_file_of_another_length_is_refused_before_it_is_moved() {
    let server = Server::start(move |_, _| Reply::whole(&[0; 17]));
    let (outcome, _, moved) = fetch(&server, &weights(), None);
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("has 17 bytes there, not 400000"), "{error}");
    assert_eq!(moved, [0]);
}

#[test]
fn a_missing_file_is_not_asked_for_twice() {
    let server = Server::start(|_, _| Reply::status("404 Not Found"));
    let (outcome, _, _) = fetch(&server, &weights(), None);
    assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_busy_server_is_asked_again_and_at_last_given_up() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |seen, before| match before {
        0 | 1 => Reply::status("503 Service Unavailable"),
        _ => Reply::ranged(&served, seen),
    });
    assert!(fetch(&server, &bytes, None).0.is_ok());

    let server = Server::start(|_, _| Reply::status("503 Service Unavailable"));
    let (outcome, _, _) = fetch(&server, &bytes, None);
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Transient(_)), "{error:?}");
    assert!(error.to_string().ends_with("HTTP status 503"), "{error}");
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn a_hub_where_nobody_listens_is_given_up_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Patience { pause: Duration::from_secs(60), ..patience() };
    let started = Instant::now();
    let target = dir.path().join("weights");
    let mut http = Http::new(&nobody(), slow, false);
    let error = http.fetch(REPO, &pinned("weights", b"x"), &target, &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::Transient(_)), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_hub_that_accepts_and_keeps_silent_is_waited_for_once() {
    let dir = tempfile::tempdir().unwrap();
    // The kernel accepts for a listener that never does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let quick = Patience { read: Duration::from_millis(300), pause: Duration::from_secs(60), ..patience() };
    let started = Instant::now();
    let target = dir.path().join("weights");
    let error = Http::new(&url, quick, false)
        .fetch(REPO, &pinned("weights", b"x"), &target, &mut |_| ())
        .unwrap_err();
    assert_eq!(error.to_string(), "`weights`: no answer in time");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_connection_that_goes_silent_is_taken_up_again() {
    let bytes = weights();
    let served = bytes.clone();
    let server = Server::start(move |seen, before| {
        if before == 0 {
            return Reply::ranged(&served, seen).cut(1000).stall(Duration::from_millis(600));
        }
        Reply::ranged(&served, seen)
    });
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("weights");
    let quick = Patience { read: Duration::from_millis(300), ..patience() };
    // The server answers one at a time: the retry waits for the stall to end, hence a hub once proven is not given up.
    Http::new(&server.url, quick, false)
        .fetch(REPO, &pinned("weights", &bytes), &target, &mut |_| ())
        .unwrap();
    assert_eq!(starts(&server)[..2], [None, Some(1000)]);
}
