//! What nobody should feed it and somebody will: files, folders and machines that are not as they should be. Each has a
//! clear outcome, and the index can be used afterwards.

use std::fs;
use std::process::Command;

use crate::run::{Folder, Ran};
use crate::tiny;

const INGEST: [&str; 5] = ["ingest", "docs", "--profile", "profile.toml", "--quiet"];

/// A good document, an encoder and a profile.
fn folder() -> Folder {
    let folder = Folder::with(&[("docs/good.md", "# balo\n\ndalo falo galo.\n")]);
    tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", &tiny::PROFILE.replace("\"tiny\"", "\"./tiny\""));
    folder
}

/// An ingest of `docs`: the summary's first six numbers, and what was said.
fn ingest(folder: &Folder) -> (String, String) {
    let ran = folder.ok(&INGEST[..4]);
    (ran.out.split(" (").next().unwrap().to_owned(), ran.err)
}

/// The index answers, and its stores agree with each other.
fn assert_usable(folder: &Folder) {
    let found = folder.ok(&["search", "falo", "--mode", "lexical", "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "docs/good.md");
    folder.ok(&["search", "falo"]);
}

#[test]
fn an_empty_folder_is_an_empty_collection() {
    let folder = folder();
    folder.remove("docs/good.md");
    assert_eq!(ingest(&folder).0, "added 0 updated 0 unchanged 0 removed 0 failed 0");
    assert_eq!(folder.run(&["search", "falo"]).code, Some(3));
}

#[test]
fn what_is_not_text_is_named_and_the_rest_goes_in() {
    let folder = folder();
    fs::write(folder.at("docs/image.md"), [0x89, b'P', b'N', b'G', 0, 0, 7]).unwrap();
    fs::write(folder.at("docs/latin.txt"), b"caf\xe9").unwrap();
    fs::write(folder.at("docs/wide.txt"), b"\xff\xfeh\0i\0").unwrap();
    folder.write("docs/empty.md", "");
    folder.write("docs/blank.txt", " \n\t\n");
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 3 updated 0 unchanged 0 removed 0 failed 3");
    for complaint in
        ["`docs/image.md`: not text", "`docs/latin.txt`: not UTF-8: byte 3", "`docs/wide.txt`: not"]
    {
        assert!(said.contains(complaint), "{said}");
    }
    assert_usable(&folder);
}

#[cfg(unix)]
#[test]
fn names_that_no_index_can_hold_are_refused_and_odd_ones_are_shown_on_one_line() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    for name in [&b"bad\xff\xfe.md"[..], b"bad\xff\xfd.md"] {
        let path = folder.at("docs").join(std::ffi::OsStr::from_bytes(name));
        if fs::write(path, "halo").is_err() {
            eprintln!("skipped: this file system has no such names");
            return;
        }
    }
    folder.write("docs/new\nline.md", "# ralo\n\nsalo talo.\n");
    folder.write("docs/esc\u{1b}[31m.md", "# ralo\n\nsalo mimo.\n");
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 3 updated 0 unchanged 0 removed 0 failed 2");
    assert_eq!(said.matches("its name is not UTF-8").count(), 2, "{said}");
    assert_usable(&folder);
    let shown = folder.ok(&["search", "ralo", "--mode", "lexical"]).out;
    assert!(shown.contains(r"docs/new\nline.md:1-3") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn a_file_above_the_limit_is_refused_before_it_is_read_and_may_be_allowed() {
    let folder = folder();
    // A hole of 200 MB: no bytes on the disk, and none in memory.
    fs::File::create(folder.at("docs/log.txt")).unwrap().set_len(200 << 20).unwrap();
    folder.write("docs/long.txt", &"dalo falo.\n\n".repeat(100_000));
    let start = std::time::Instant::now();
    let ran = folder.ok(&[&INGEST[..4], &["--max-file", "1"]].concat());
    assert!(ran.out.contains("added 1 ") && ran.out.contains("failed 2"), "{ran:#?}");
    assert!(
        ran.err.contains("200.0 MB, a document at most 1.0") && ran.err.contains("--max-file"),
        "{ran:#?}"
    );
    assert!(start.elapsed().as_secs() < 30);
    assert_usable(&folder);
    if cfg!(unix) {
        let endless = folder.ok(&["ingest", "/dev/zero", "--max-file", "1"]);
        assert!(endless.out.contains("failed 1"), "{endless:#?}");
    }
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    folder.write("outside/secret.md", "vasi");
    symlink("..", folder.at("docs/loop")).unwrap();
    symlink("self", folder.at("docs/self")).unwrap();
    symlink("../outside", folder.at("docs/out")).unwrap();
    symlink("../outside/secret.md", folder.at("docs/secret.md")).unwrap();
    assert_eq!(ingest(&folder).0, "added 1 updated 0 unchanged 0 removed 0 failed 0");
    assert_usable(&folder);
    let ran = folder.run(&["ingest", "docs/self"]);
    assert!(ran.code == Some(1) && ran.err.contains("docs/self"), "{ran:#?}");
}

#[test]
fn a_bad_line_of_json_lines_is_named_until_it_is_mended_and_the_others_are_found() {
    let folder = folder();
    folder.write("docs/l.jsonl", "{\"text\":\"lalo\"}\n{oops\n{\"text\":\"malo\"}\n7\n");
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 2 updated 0 unchanged 0 removed 0 failed 2");
    assert!(said.contains("`docs/l.jsonl`: line 2: not JSON") && said.contains("line 4: neither"), "{said}");
    for word in ["lalo", "malo"] {
        let found = folder.ok(&["search", word, "--mode", "lexical", "--json"]).json();
        assert_eq!(found["hits"][0]["path"], "docs/l.jsonl");
    }
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 0 updated 0 unchanged 2 removed 0 failed 2");
    assert!(said.contains("line 2"), "{said}");
    folder.write("docs/l.jsonl", "{\"text\":\"lalo\"}\n");
    assert_eq!(ingest(&folder).0, "added 0 updated 1 unchanged 1 removed 0 failed 0");
    assert_eq!(ingest(&folder).0, "added 0 updated 0 unchanged 2 removed 0 failed 0");
    assert_usable(&folder);
}

#[test]
fn a_file_that_vanishes_or_turns_unreadable_between_runs_does_not_stop_the_others() {
    let folder = folder();
    folder.write("docs/b.md", "nalo");
    assert_eq!(ingest(&folder).0, "added 2 updated 0 unchanged 0 removed 0 failed 0");
    fs::write(folder.at("docs/b.md"), b"nalo \xff").unwrap();
    assert_eq!(ingest(&folder).0, "added 0 updated 0 unchanged 1 removed 0 failed 1");
    folder.remove("docs/b.md");
    assert_eq!(ingest(&folder).0, "added 0 updated 0 unchanged 1 removed 0 failed 0");
    assert_usable(&folder);
}

/// Documents in a folder that cannot be looked at were taken for deleted.
#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_keeps_what_is_known_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    folder.write("docs/sub/a.md", "nalo");
    folder.write("docs/b.md", "palo");
    assert_eq!(ingest(&folder).0, "added 3 updated 0 unchanged 0 removed 0 failed 0");
    let mode =
        |name: &str, bits| fs::set_permissions(folder.at(name), fs::Permissions::from_mode(bits)).unwrap();
    folder.write("docs/b.md", "palo ralo");
    mode("docs/sub", 0o000);
    mode("docs/b.md", 0o000);
    let may_read_all = fs::read(folder.at("docs/b.md")).is_ok();
    let outcome = ingest(&folder);
    mode("docs/sub", 0o755);
    mode("docs/b.md", 0o644);
    if may_read_all {
        eprintln!("skipped: who runs this may read everything");
        return;
    }
    assert_eq!(outcome.0, "added 0 updated 0 unchanged 1 removed 0 failed 2");
    assert!(outcome.1.contains("docs/sub") && outcome.1.contains("cannot read"), "{}", outcome.1);
    assert_eq!(ingest(&folder).0, "added 0 updated 1 unchanged 2 removed 0 failed 0");
}

#[test]
fn deep_nesting_costs_neither_the_stack_nor_the_patience() {
    const DEEP: usize = 20_000;
    let folder = folder();
    let nested = |open: &str, close: &str| format!("{}balo{}", open.repeat(DEEP), close.repeat(DEEP));
    folder.write("docs/a.html", &nested("<div>", "</div>"));
    folder.write("docs/quotes.md", &nested(">", ""));
    folder.write("docs/brackets.md", &nested("[", "](x)"));
    folder.write("docs/stars.md", &nested("*", "*"));
    folder.write("docs/items.md", &nested("- ", ""));
    folder.write("docs/front.md", &format!("---\nt: {}\n---\nbalo", "[".repeat(DEEP)));
    folder.write(
        "docs/json.jsonl",
        &format!("\"balo\"\n{{\"text\":{}}}", nested("[", "]").replace("balo", "")),
    );
    let (summary, said) = ingest(&folder);
    assert_eq!(summary, "added 8 updated 0 unchanged 0 removed 0 failed 1");
    assert!(said.contains("`docs/json.jsonl`: line 2: not JSON: recursion limit"), "{said}");
    assert_usable(&folder);
}

/// A full disk ended the process without a word: Qdrant writes through mapped files.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_what_was_there_stays() {
    let folder = folder();
    fs::create_dir(folder.at("disk")).unwrap();
    let mount = |options: &str| {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.at("disk"));
        mount.output().is_ok_and(|ran| ran.status.success())
    };
    if !mount("size=200m") {
        eprintln!("skipped: who runs this may not mount");
        return;
    }
    let home = [&INGEST[..4], &["--home", "disk/home"]].concat();
    let full = (|| {
        folder.ok(&home);
        fs::File::create(folder.at("disk/ballast"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, &vec![1; 150 << 20]))?;
        folder.write("docs/more.md", "talo");
        let refused = folder.run(&home);
        let found = folder.run(&["search", "falo", "--home", "disk/home"]);
        fs::remove_file(folder.at("disk/ballast"))?;
        Ok::<_, std::io::Error>((refused, found, folder.run(&home)))
    })();
    assert!(Command::new("umount").arg(folder.at("disk")).status().unwrap().success());
    let (refused, found, again) = full.unwrap();
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(
        refused.err.contains("MB left, writing needs") && refused.err.contains("free some space"),
        "{refused:#?}"
    );
    assert_eq!(found.code, Some(0), "{found:#?}");
    assert!(again.out.starts_with("added 1 updated 0 unchanged 1 "), "{again:#?}");
}

/// The same through a limit on the size of files, which every Unix has.
#[cfg(unix)]
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

#[cfg(unix)]
#[test]
fn a_folder_one_may_not_write_to_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let mode = |bits| fs::set_permissions(folder.at(".incontext"), fs::Permissions::from_mode(bits)).unwrap();
    mode(0o555);
    let may_write_all = fs::write(folder.at(".incontext/x"), "").is_ok();
    let ran = folder.run(&INGEST);
    mode(0o755);
    if may_write_all {
        eprintln!("skipped: who runs this may write everywhere");
        return;
    }
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("cannot create") && ran.err.contains(".incontext"), "{ran:#?}");
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
#[cfg(unix)]
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
