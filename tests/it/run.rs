//! The real binary, run as a person runs it: in a folder of its own, its words on stdout and stderr, its exit code.
//!
//! Home and caches are the machine's, so that the default models are found; settings of the environment are not. What
//! differs from run to run (folders, times) is replaced before a snapshot is taken.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_incontext");

/// Settings that would make a run depend on who runs it.
pub const SETTINGS: [&str; 24] = [
    "INCONTEXT_HOME",
    "INCONTEXT_COLLECTION",
    "INCONTEXT_EMBEDDER",
    "INCONTEXT_MODEL",
    "INCONTEXT_ADAPTER",
    "INCONTEXT_PROMPT",
    "INCONTEXT_RERANK",
    "INCONTEXT_DEVICE",
    "INCONTEXT_QDRANT_URL",
    "INCONTEXT_QDRANT_API_KEY",
    "QDRANT_API_KEY",
    "SSL_CERT_FILE",
    "INCONTEXT_OPENAI_BASE_URL",
    "INCONTEXT_OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "COLUMNS",
    "CANDLE_NUM_THREADS",
    // Of the tests themselves; `doctor` would wonder about them.
    "INCONTEXT_KILLS",
    "INCONTEXT_KILL_SEED",
    "INCONTEXT_FUZZ_SEEDS",
    "INCONTEXT_TEST_BASE_URL",
    "INCONTEXT_TEST_MODEL",
    "INCONTEXT_TEST_EMBEDDER",
];

/// A fresh working folder, gone when dropped.
pub struct Folder {
    dir: TempDir,
}

/// What a run said and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// `None` when it was killed.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Folder {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Walking up ends here, whatever lies above the folder for temporary files.
        fs::create_dir(dir.path().join(".incontext")).unwrap();
        Self { dir }
    }

    /// A folder holding `files` (name and content).
    pub fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self::new();
        files.iter().for_each(|(name, content)| folder.write(name, content));
        folder
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.at(name)).unwrap();
    }

    /// `incontext ARGS` here, not yet started; nothing to read on stdin.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.program(PROGRAM);
        command.args(args);
        command
    }

    fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path());
        SETTINGS.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same with `megabytes` of memory to address, mapped files and threads' stacks included.
    #[cfg(target_os = "linux")]
    pub fn within<S: AsRef<OsStr>>(&self, megabytes: usize, args: &[S]) -> Command {
        let mut command = self.program("sh");
        let limit = format!("ulimit -v {} && exec \"$0\" \"$@\"", megabytes << 10);
        command.args(["-c", &limit, PROGRAM]).args(args);
        command
    }

    /// The same by somebody for whom permissions count: `nobody`, who gets the folder, where root runs the tests. `None`
    /// when that cannot be arranged.
    #[cfg(unix)]
    pub fn by_a_plain_user<S: AsRef<OsStr>>(&self, args: &[S]) -> Option<Command> {
        use std::os::unix::fs::MetadataExt;
        if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
            return Some(self.command(args));
        }
        const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let succeeds = |command: &mut Command| command.output().is_ok_and(|ran| ran.status.success());
        let mut command = self.program("setpriv");
        command.args(NOBODY).arg(PROGRAM);
        let ready = succeeds(Command::new("chown").args(["-R", "65534:65534"]).arg(self.path()))
            && succeeds(Command::new("setpriv").args(NOBODY).args([PROGRAM, "--version"]));
        if !ready {
            eprintln!("skipped: root runs this, and nobody else can");
            return None;
        }
        command.args(args);
        Some(command)
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// A run that must succeed.
    pub fn ok<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        ran
    }

    /// Exit code, stdout and stderr as a snapshot shows them, this folder written as `[HERE]`.
    pub fn shown<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        let Ran { code, out, err } = self.run(args);
        let code = code.map_or("killed".to_owned(), |code| code.to_string());
        let section = |name: &str, text: String| match text.trim_end() {
            "" => String::new(),
            text => format!("\n-- {name}\n{text}"),
        };
        let here = self.path().display().to_string();
        let shown = format!("exit {code}{}{}", section("stdout", out), section("stderr", err));
        lines(&shown.replace(&here, "[HERE]"), str::trim_end)
    }
}

impl Ran {
    pub fn of(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8 on stdout and stderr");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not JSON ({e}): {self:#?}"))
    }
}

/// `text` with `change` made to each of its lines.
pub fn lines<'a>(text: &'a str, change: impl Fn(&'a str) -> &'a str) -> String {
    text.lines().map(change).collect::<Vec<_>>().join("\n")
}

/// `text` with every number that has a decimal point written as `#`: scores differ in their last digits between
/// processors.
pub fn without_scores(text: &str) -> String {
    let is_score = |word: &str| {
        let mut parts = word.split('.');
        let digits = |part: Option<&str>| {
            part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        digits(parts.next()) && digits(parts.next()) && parts.next().is_none()
    };
    let word = |word: &str| {
        let core = word.trim_matches([',', ';', '-']);
        if is_score(core) { word.replace(core, "#") } else { word.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
