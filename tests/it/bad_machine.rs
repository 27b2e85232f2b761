//! A machine that is not as it should be: disks that are full or read-only, permissions, limits, signals. Each has a clear
//! outcome, and the index can be used afterwards.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::bad_input::{INGEST, assert_usable, folder, ingest, summary};
use crate::run::{Folder, Ran};
use crate::tiny;

/// A small disk of its own at `disk`, gone when dropped.
#[cfg(target_os = "linux")]
struct Disk(PathBuf);

#[cfg(target_os = "linux")]
impl Disk {
    /// `None`, and a word on it, when who runs this may not mount.
    fn mount(folder: &Folder, options: &str) -> Option<Self> {
        let at = folder.at("disk");
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at);
        if !mount.output().is_ok_and(|ran| ran.status.success()) {
            eprintln!("skipped: who runs this may not mount");
            return None;
        }
        Some(Self(at))
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{how}")]).arg(&self.0);
        assert!(mount.status().unwrap().success());
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A full disk ended the process without a word: Qdrant writes through mapped files.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_what_was_there_stays() {
    let folder = folder();
    let Some(disk) = Disk::mount(&folder, "size=200m") else { return };
    let home = [&INGEST[..4], &["--home", "disk/home"]].concat();
    folder.ok(&home);
    let ballast = folder.at("disk/ballast");
    fs::write(&ballast, vec![1; 150 << 20]).unwrap();
    folder.write("docs/more.md", "talo");
    let refused = folder.run(&home);
    let found = folder.run(&["search", "falo", "--home", "disk/home"]);
    // To the last byte: reading needs a few pages as well, and must not blame the collection.
    let rest = fs::OpenOptions::new().append(true).open(&ballast);
    assert!(rest.and_then(|mut rest| rest.write_all(&vec![1; 100 << 20])).is_err());
    let unread = folder.run(&["search", "falo", "--home", "disk/home"]);
    fs::remove_file(&ballast).unwrap();
    let again = folder.run(&home);
    drop(disk);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(
        refused.err.contains("MB left, writing needs") && refused.err.contains("free some space"),
        "{refused:#?}"
    );
    assert_eq!(found.code, Some(0), "{found:#?}");
    if unread.code != Some(0) {
        assert!(unread.code == Some(1) && unread.err.contains("disk is full"), "{unread:#?}");
        assert!(!unread.err.contains("remove the collection"), "{unread:#?}");
    }
    assert!(again.out.starts_with("added 1 updated 0 unchanged 1 "), "{again:#?}");
}

/// The same through a limit on the size of files, which every Unix has.
#[test]
fn a_write_that_is_refused_is_named_and_the_next_run_makes_it_good() {
    let folder = folder();
    folder.ok(&INGEST);
    folder.write("docs/more.md", &"talo. ".repeat(2000));
    for blocks in ["8", "200", "5000"] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let program = env!("CARGO_BIN_EXE_incontext");
        let mut limited = Command::new("sh");
        limited.args(["-c", &script, "sh", program]).args(INGEST).current_dir(folder.path());
        let ran = Ran::of(limited.output().unwrap());
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:#?}");
        if ran.code == Some(1) {
            assert!(ran.err.contains("error: ") && !ran.err.contains("rebuilds what is missing"), "{ran:#?}");
        }
    }
    let (summary, _) = ingest(&folder);
    assert!(summary.ends_with("removed 0 failed 0"), "{summary}");
    assert_usable(&folder);
}

#[test]
fn a_folder_one_may_not_write_to_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let Some(mut command) = folder.by_a_plain_user(&INGEST) else { return };
    let mode = |bits| fs::set_permissions(folder.at(".incontext"), fs::Permissions::from_mode(bits)).unwrap();
    mode(0o555);
    let ran = Ran::of(command.output().unwrap());
    mode(0o755);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("cannot create") && ran.err.contains(".incontext"), "{ran:#?}");
}

/// Reading takes locks and opens logs, so a disk that cannot be written cannot be searched: that has to be said.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_read_only_is_named_and_a_copy_of_what_it_holds_can_be_searched() {
    let folder = folder();
    let Some(disk) = Disk::mount(&folder, "size=300m") else { return };
    let home = [&INGEST[..4], &["--home", "disk/home"]].concat();
    folder.ok(&home);
    disk.remount("ro");
    folder.write("docs/more.md", "talo");
    let refused: Vec<Ran> =
        [&home[..], &["search", "falo", "--home", "disk/home"]].map(|args| folder.run(args)).into();
    // As far from the documents as the original, so that paths mean the same.
    fs::create_dir(folder.at("copy")).unwrap();
    let copied = Command::new("cp").args(["-r", "disk/home", "copy/"]).current_dir(folder.path()).status();
    let doctor = folder.run(&["doctor", "--home", "disk/home"]);
    disk.remount("rw");
    let again = folder.run(&home);
    drop(disk);
    for ran in refused {
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(
            ran.err.contains("disk/home/collections/default") && ran.err.contains("for writing"),
            "{ran:#?}"
        );
        assert!(ran.err.contains("name a copy of it with --home"), "{ran:#?}");
    }
    assert!(
        doctor.code == Some(1) && doctor.out.contains("cannot be written: Read-only file system"),
        "{doctor:#?}"
    );
    assert!(copied.unwrap().success());
    let found = folder.ok(&["search", "falo", "--home", "copy/home", "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "docs/good.md");
    assert!(again.out.starts_with("added 1 updated 0 unchanged 1 "), "{again:#?}");
}

/// What lies behind a folder that may not be entered is not gone.
#[test]
fn a_path_that_cannot_be_reached_costs_nothing_that_is_known_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    folder.write("box/docs/a.md", "nalo");
    let args = ["ingest", "box/docs", "--profile", "profile.toml"];
    let ingest = || Some(Ran::of(folder.by_a_plain_user(&args)?.output().unwrap()));
    let Some(first) = ingest() else { return };
    assert_eq!(summary(first).0, "added 1 updated 0 unchanged 0 removed 0 failed 0");
    let mode = |bits| fs::set_permissions(folder.at("box"), fs::Permissions::from_mode(bits)).unwrap();
    mode(0o000);
    let refused = ingest().unwrap();
    mode(0o755);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.err.contains("cannot look at `box/docs`: Permission denied"), "{refused:#?}");
    assert_eq!(summary(ingest().unwrap()).0, "added 0 updated 0 unchanged 1 removed 0 failed 0");
}

/// Documents in a folder that cannot be looked at were taken for deleted.
#[test]
fn what_cannot_be_looked_at_keeps_what_is_known_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    folder.write("docs/sub/a.md", "nalo");
    folder.write("docs/b.md", "palo");
    let ingest = || Some(summary(Ran::of(folder.by_a_plain_user(&INGEST[..4])?.output().unwrap())));
    let Some(first) = ingest() else { return };
    assert_eq!(first.0, "added 3 updated 0 unchanged 0 removed 0 failed 0");
    let mode =
        |name: &str, bits| fs::set_permissions(folder.at(name), fs::Permissions::from_mode(bits)).unwrap();
    folder.write("docs/b.md", "palo ralo");
    mode("docs/sub", 0o000);
    mode("docs/b.md", 0o000);
    let (counts, said) = ingest().unwrap();
    mode("docs/sub", 0o755);
    mode("docs/b.md", 0o644);
    assert_eq!(counts, "added 0 updated 0 unchanged 1 removed 0 failed 2");
    assert!(
        said.contains("docs/sub") && said.contains("cannot read `docs/b.md`: Permission denied"),
        "{said}"
    );
    assert_eq!(ingest().unwrap().0, "added 0 updated 1 unchanged 2 removed 0 failed 0");
    assert_usable(&folder);
}

/// Remarks and errors went to a stderr that could not take them, and the program panicked over that.
#[cfg(target_os = "linux")]
#[test]
fn nobody_to_talk_to_is_no_reason_to_fail() {
    let folder = folder();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    fs::write(folder.at("docs/latin.txt"), b"caf\xe9").unwrap();
    assert_eq!(folder.command(&INGEST[..4]).stderr(full()).output().unwrap().status.code(), Some(1));
    assert_eq!(folder.command(&["search", "?!"]).stderr(full()).output().unwrap().status.code(), Some(1));
    assert_usable(&folder);
    let ran = Ran::of(folder.command(&["search", "falo"]).stdout(full()).output().unwrap());
    assert!(ran.code == Some(1) && ran.err.contains("cannot write to stdout"), "{ran:#?}");
}

#[test]
fn a_config_that_is_a_folder_and_a_home_that_is_not_there_are_no_riddles() {
    let folder = folder();
    fs::create_dir(folder.at(".incontext/config.toml")).unwrap();
    let ran = folder.run(&["search", "x"]);
    assert!(ran.code == Some(1) && ran.err.contains("config.toml"), "{ran:#?}");
    fs::remove_dir(folder.at(".incontext/config.toml")).unwrap();
    folder.write(".incontext/config.toml", &format!("model = {}", "[".repeat(50_000)));
    assert_eq!(folder.run(&["search", "x"]).code, Some(1));
    folder.remove(".incontext/config.toml");

    let mut nowhere = folder.command(&INGEST);
    nowhere
        .env("HOME", folder.at("no/such/home"))
        .env_remove("XDG_CACHE_HOME")
        .env_remove("INCONTEXT_MODELS");
    assert!(nowhere.status().unwrap().success());
    assert!(!folder.at("no").exists());
}

/// Ctrl-C killed the process without a word.
#[test]
fn a_signal_in_the_middle_of_an_ingest_keeps_what_was_finished() {
    let folder = folder();
    for document in 0..600 {
        let words: Vec<String> = (0..400).map(|at| tiny::word(document * 7 + at * (1 + at % 5))).collect();
        folder.write(&format!("docs/{document:03}.txt"), &words.join(" "));
    }
    let documents = |folder: &Folder| {
        let shown = folder.run(&["collections", "show", "--json"]);
        if shown.code == Some(0) { shown.json()["stats"]["documents"].as_u64().unwrap() } else { 0 }
    };
    for signal in ["INT", "TERM"] {
        let child = folder.command(&INGEST).spawn().unwrap();
        let before = documents(&folder);
        let start = std::time::Instant::now();
        while documents(&folder) <= before && start.elapsed().as_secs() < 60 {}
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        if signal == "INT" && output.status.code() != Some(0) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(130), "{said}");
            assert!(said.contains("error: stopped; what was finished is kept"), "{said}");
        }
        assert!(documents(&folder) > before);
    }
    let again = folder.ok(&INGEST);
    assert!(again.out.contains(" removed 0 failed 0 "), "{again:#?}");
    assert_eq!(documents(&folder), 601);
    assert_usable(&folder);
}
