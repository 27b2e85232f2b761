//! Readers that run in a process of their own, because a file may be made to harm the program that opens it.
//!
//! Both ends are here. The parent starts this same program again with [`WORD`] and the kind of reader, writes the file's
//! bytes to it, and takes what it prints; or a command of the person's own, whose limits this program sets before it
//! becomes that command. Time and output are limited from outside, memory and processor time by the system (where there is
//! a system that does). The child may crash: then the file has failed, and nothing else.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::extracted::Extracted;
use super::pdf;
use crate::bytes::{MEGABYTE, size};
use crate::error::{Error, Result};

/// The first word of a command line that is not a person's but the parent's.
pub const WORD: &str = "__extract";
const PDF: &str = "pdf";
const RUN: &str = "run";

/// A reader that takes longer does not come to an end.
pub const TIME: Duration = Duration::from_secs(60);
/// Bytes of memory a reader of ours may use, and what a person's own command may hold.
pub const MEMORY: u64 = 1000 * MEGABYTE;
pub const COMMAND_MEMORY: u64 = 4000 * MEGABYTE;
/// Bytes a reader may print: some times the text of the longest book.
pub const OUTPUT: u64 = 64 * MEGABYTE;

const OR_LEAVE_OUT: &str = "convert it to text or Markdown, or leave it out with a line in .ignore";

/// What a child of ours prints: the text, or what is wrong and what to do.
type Reply = std::result::Result<Extracted, (String, Option<String>)>;

/// The text of the PDF `bytes`, read by `program`, which is this one.
///
/// # Errors
/// As [`pdf::read`], and `Invalid` when the reader breaks off or goes beyond a limit.
pub(super) fn read_pdf(program: &Path, bytes: Vec<u8>) -> Result<Extracted> {
    let mut command = Command::new(program);
    command.args([WORD, PDF]).stderr(Stdio::null());
    let done = ask(command, bytes, TIME)?;
    if !done.status.success() {
        return Err(Error::invalid(format!("reading it broke off ({})", ending(done.status)))
            .hint(format!("it is damaged, or needs more than {} of memory: {OR_LEAVE_OUT}", size(MEMORY))));
    }
    match serde_json::from_slice::<Reply>(&done.output) {
        Ok(Ok(extracted)) => Ok(extracted),
        Ok(Err((what, hint))) => {
            let error = Error::invalid(what);
            Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
        Err(error) => Err(Error::corrupt(format!("what its reader printed cannot be understood: {error}"))),
    }
}

/// What `words`, a command and its arguments, print; `program` sets their limits where the system has any.
///
/// # Errors
/// `Invalid` when the command cannot be started, fails, or goes beyond a limit.
pub(super) fn run(program: Option<&Path>, words: &[OsString]) -> Result<Vec<u8>> {
    let mut command = match program.filter(|_| cfg!(unix)) {
        Some(program) => {
            let mut command = Command::new(program);
            command.args([WORD, RUN]).args(words);
            command
        }
        None => {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        }
    };
    command.stderr(Stdio::piped());
    let shown = words[0].to_string_lossy();
    let done = ask(command, Vec::new(), TIME).map_err(|error| error.within(format_args!("`{shown}`")))?;
    if done.status.success() {
        return Ok(done.output);
    }
    let said: String = done.said.chars().filter(|letter| !letter.is_control() || *letter == '\n').collect();
    let said = said.lines().find(|line| !line.trim().is_empty()).map(|line| format!(": {}", line.trim()));
    Err(Error::invalid(format!("`{shown}` failed ({}){}", ending(done.status), said.unwrap_or_default()))
        .hint("try the command by hand, or leave the file out with a line in .ignore"))
}

struct Done {
    status: ExitStatus,
    output: Vec<u8>,
    said: String,
}

/// Starts `command`, hands it `input`, and waits for all it prints, or for a limit.
fn ask(mut command: Command, input: Vec<u8>, time: Duration) -> Result<Done> {
    // Ctrl-C is for the parent, which ends what it has begun first.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|source| Error::io("cannot start the reader of this kind of file", source))?;
    // Threads of their own, and none waited for: a grandchild may hold a pipe open for ever.
    if let Some(mut pipe) = child.stdin.take() {
        // A child that has seen enough closes its end; what it then says counts.
        std::thread::spawn(move || drop(pipe.write_all(&input)));
    }
    let output = collect(child.stdout.take(), OUTPUT);
    let said = collect(child.stderr.take(), 10_000);
    let Ok(output) = output.recv_timeout(time) else {
        stop(&mut child);
        return Err(
            Error::invalid(format!("reading it took longer than {} s", time.as_secs())).hint(OR_LEAVE_OUT)
        );
    };
    if output.len() as u64 > OUTPUT {
        stop(&mut child);
        return Err(Error::too_long(format!("its text has more than {}", size(OUTPUT))).hint(OR_LEAVE_OUT));
    }
    let status = wait(&mut child)?;
    let said = said.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    Ok(Done { status, output, said: String::from_utf8_lossy(&said).into_owned() })
}

/// Waits for a child that prints no more, but not for ever.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    const STEP: Duration = Duration::from_millis(2);
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if waited < TIME => {
                std::thread::sleep(STEP);
                waited += STEP;
            }
            Ok(None) => {
                stop(child);
                return Err(Error::invalid("its reader did not end").hint(OR_LEAVE_OUT));
            }
            Err(source) => return Err(Error::io("cannot wait for the reader", source)),
        }
    }
}

/// All that comes out of `pipe`, up to a byte more than `most`.
fn collect(pipe: Option<impl Read + Send + 'static>, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What came before a broken pipe is what there is.
            let _ = pipe.take(most + 1).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

/// Ends the child and all it started.
fn stop(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("signal {signal}");
    }
    status.code().map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"))
}

/// The child's side: what the words behind [`WORD`] ask for.
pub fn serve(words: &[OsString]) -> ExitCode {
    match words.split_first() {
        Some((kind, [])) if kind == PDF => {
            limit(MEMORY, Memory::All);
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            let read = read.map_err(|source| Error::io("cannot read what the parent sends", source));
            let reply: Reply = read.and_then(|_| pdf::read(bytes)).map_err(|error| {
                let hint = error.advice().map(str::to_owned);
                (error.to_string(), hint)
            });
            let mut out = std::io::stdout().lock();
            let sent = serde_json::to_writer(&mut out, &reply).is_ok() && out.flush().is_ok();
            if sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some((kind, [program, arguments @ ..])) if kind == RUN => {
            limit(COMMAND_MEMORY, Memory::Data);
            become_command(program, arguments)
        }
        _ => ExitCode::FAILURE,
    }
}

#[cfg(unix)]
fn become_command(program: &OsString, arguments: &[OsString]) -> ExitCode {
    let error = std::os::unix::process::CommandExt::exec(Command::new(program).args(arguments));
    eprintln!("cannot be started: {error}");
    ExitCode::from(127)
}

#[cfg(not(unix))]
fn become_command(_: &OsString, _: &[OsString]) -> ExitCode {
    ExitCode::FAILURE
}

/// What of a process's memory is limited: all it maps, or only what it writes to. Some runtimes map more than there is.
enum Memory {
    All,
    Data,
}

/// Limits this process, and what it becomes. A system that refuses has its reasons; time is still limited from outside.
#[cfg(unix)]
fn limit(memory: u64, kind: Memory) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let resource = match kind {
        Memory::All => Resource::As,
        Memory::Data => Resource::Data,
    };
    for (resource, most) in [(resource, memory), (Resource::Cpu, TIME.as_secs()), (Resource::Core, 0)] {
        let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    }
}

#[cfg(not(unix))]
fn limit(_: u64, _: Memory) {}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str, time: Duration) -> Result<Done> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stderr(Stdio::piped());
        ask(command, b"input".to_vec(), time)
    }

    #[test]
    fn a_reader_that_hangs_is_ended_with_all_it_started() {
        let start = Instant::now();
        let dir = tempfile::tempdir().unwrap();
        let late = dir.path().join("late");
        let script = format!("(sleep 2; touch {}) & sleep 100", late.display());
        let error = shell(&script, Duration::from_millis(200)).err().unwrap();
        assert!(error.to_string().contains("took longer"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(2500));
        assert!(!late.exists());
    }

    #[test]
    fn a_reader_that_prints_without_end_is_ended() {
        let error = shell("yes", TIME).err().unwrap();
        assert!(matches!(error, Error::TooLong(_)), "{error}");
    }

    #[test]
    fn what_a_reader_gets_prints_and_complains_of_comes_back_with_how_it_ended() {
        let done = shell("cat; echo oh >&2; exit 3", TIME).unwrap();
        assert_eq!((done.output.as_slice(), done.said.as_str()), (&b"input"[..], "oh\n"));
        assert_eq!(ending(done.status), "exit code 3");
        assert_eq!(ending(shell("kill -9 $$", TIME).unwrap().status), "signal 9");
    }
}
