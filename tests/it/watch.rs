//! `ingest --watch`: a process that keeps a collection up to date while somebody works on the files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::Folder;
use crate::tiny;

/// However slow the machine is.
const LIMIT: Duration = Duration::from_secs(60);

fn folder() -> Folder {
    let folder = Folder::with(&[
        ("notes/a.md", "# Tea\n\nGreen tea."),
        ("notes/sub/b.md", "# Coffee\n\nFilter coffee."),
    ]);
    tiny::encoder(&folder.at(".tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    folder
}

struct Watching {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Watching {
    /// Started, and done with its first round.
    fn begin(folder: &Folder, args: &[&str]) -> Self {
        let options = ["--embedder", "./.tiny", "--profile", "profile.toml", "--watch"];
        let mut child = folder.command(&[&["ingest"], args, &options].concat()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    fn round(&self) -> String {
        self.out.recv_timeout(LIMIT).expect("a line for what has changed")
    }

    fn says(&self, what: &str) {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            match self.err.recv_timeout(LIMIT) {
                Ok(line) if line.contains(what) => return,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        panic!("it never said `{what}`");
    }

    /// Ctrl-C, and how it ends then.
    fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It would watch for ever where a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

fn found(folder: &Folder, words: &str) -> Vec<String> {
    let ran = folder.run(&["search", words, "--mode", "lexical", "--json"]);
    assert!(matches!(ran.code, Some(0 | 3)), "{ran:#?}");
    let hits = ran.json()["hits"].as_array().unwrap().clone();
    hits.iter().map(|hit| hit["path"].as_str().unwrap().to_owned()).collect()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_edited_is_found_what_is_deleted_is_gone_and_ctrl_c_ends_it_well() {
    let folder = folder();
    let watching = Watching::begin(&folder, &["notes"]);
    assert!(watching.round().starts_with("added 2 updated 0 unchanged 0"));
    watching.says("watching `notes`; Ctrl-C ends it");
    folder.write("notes/a.md", "# Tea\n\nWhite tea.");
    until("an edit is found", || found(&folder, "white") == ["notes/a.md"]);
    assert!(watching.round().starts_with("added 0 updated 1"));
    // A folder that was not there when the watch began, and what is moved into it.
    folder.write("notes/new/deep/c.txt", "Barley malt.");
    until("a new file in a new folder", || found(&folder, "barley") == ["notes/new/deep/c.txt"]);
    assert!(watching.round().starts_with("added 1 "));
    fs::rename(folder.at("notes/sub/b.md"), folder.at("notes/new/b.md")).unwrap();
    until("a file that was moved", || found(&folder, "filter") == ["notes/new/b.md"]);
    folder.remove("notes/a.md");
    until("a file that is deleted", || found(&folder, "white").is_empty());
    // Nobody holds the collection between two rounds.
    folder.ok(&["ingest", "notes", "--quiet"]);
    assert_eq!(watching.stop().code(), Some(0));
    assert!(found(&folder, "barley") == ["notes/new/deep/c.txt"]);
}

#[test]
fn for_scripts_each_round_is_a_line_of_json_and_its_own_folder_is_no_change() {
    let folder = folder();
    // The home lies in the folder that is watched.
    let watching = Watching::begin(&folder, &[".", "--json"]);
    let first: Value = serde_json::from_str(&watching.round()).unwrap();
    assert!(first["added"].as_u64() >= Some(2) && first["failed"] == 0, "{first}");
    watching.says("watching `.`");
    folder.write("notes/c.md", "Cocoa.");
    let second: Value = serde_json::from_str(&watching.round()).unwrap();
    assert_eq!((&second["added"], &second["updated"], &second["removed"]), (&1.into(), &0.into(), &0.into()));
    // Nothing else is said of what it wrote itself; the next line is of the next edit.
    folder.remove("notes/c.md");
    let third: Value = serde_json::from_str(&watching.round()).unwrap();
    assert_eq!((&third["added"], &third["updated"], &third["removed"]), (&0.into(), &0.into(), &1.into()));
    assert_eq!(watching.stop().code(), Some(0));
}

#[test]
fn a_round_that_fails_is_said_and_the_next_one_makes_up_for_it() {
    let folder = folder();
    let watching = Watching::begin(&folder, &["notes"]);
    watching.round();
    watching.says("watching");
    // A file that is none, named once; the others go on.
    fs::write(folder.at("notes/bad.txt"), b"\xff\xfe").unwrap();
    watching.says("failed: `notes/bad.txt`");
    folder.write("notes/bad.txt", "Mended malt.");
    until("a mended file", || found(&folder, "mended") == ["notes/bad.txt"]);
    watching.round();
    // Somebody else writes for longer than a round waits.
    let fifo = folder.at("slow.md");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut other = folder.command(&["ingest", "slow.md"]);
    let other = other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let held = || {
        let lock = fs::read_to_string(folder.at(".incontext/collections/default/write.lock"));
        lock.is_ok_and(|holder| holder.contains(&format!("\"pid\":{}", other.id())))
    };
    until("the other has the collection", held);
    folder.write("notes/a.md", "# Tea\n\nYellow tea.");
    watching.says("is held by process");
    fs::write(&fifo, "Slow.\n").unwrap();
    let mut other = other;
    assert!(other.wait().unwrap().success());
    until("what could not be ingested then", || found(&folder, "yellow") == ["notes/a.md"]);
    watching.round();
    // All of it goes, and comes back.
    fs::rename(folder.at("notes"), folder.at("elsewhere")).unwrap();
    until("a folder that is gone", || found(&folder, "yellow").is_empty());
    watching.round();
    fs::rename(folder.at("elsewhere"), folder.at("notes")).unwrap();
    until("a folder that is back", || found(&folder, "yellow") == ["notes/a.md"]);
    watching.round();
    folder.write("notes/a.md", "# Tea\n\nRed tea.");
    until("and is watched again", || found(&folder, "red") == ["notes/a.md"]);
    assert_eq!(watching.stop().code(), Some(0));
}

#[test]
fn a_single_file_is_followed_through_editors_that_put_another_in_its_place() {
    let folder = folder();
    let watching = Watching::begin(&folder, &["notes/a.md"]);
    watching.round();
    watching.says("watching");
    for word in ["white", "yellow"] {
        folder.write("aside", &format!("# Tea\n\nSome {word} tea."));
        fs::rename(folder.at("aside"), folder.at("notes/a.md")).unwrap();
        until(word, || found(&folder, word) == ["notes/a.md"]);
        watching.round();
    }
    assert_eq!(watching.stop().code(), Some(0));
}
