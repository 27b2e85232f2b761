//! Training a rung in a process of its own: its memory and its time are its own, and a crash is a failed rung.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cli::device;
use crate::cli::interrupt::Interrupt;
use crate::error::{Error, IoContext, Result};
use crate::experiment::ladder::cost::Entry;
use crate::experiment::ladder::{Cost, Costs, Order};
use crate::train::CHECKPOINT;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs `incontext tune` and `incontext rlhf` over the folder `home`.
pub struct Trainer<'a> {
    pub home: &'a Path,
    pub interrupt: &'a Interrupt,
    /// Where to compute, where that was said.
    pub device: Option<device::Kind>,
}

impl Trainer<'_> {
    /// Trains what `order` says, or goes on with it; what came of it, `None` when it was stopped.
    ///
    /// # Errors
    /// `Io` when no process can be started.
    pub fn train(&self, order: &Order, costs: &mut Costs, dir: &Path, cores: usize) -> Result<Option<Entry>> {
        let goes_on = costs.of(order).is_some()
            && self.home.join("runs").join(&order.adapter).join(CHECKPOINT).exists();
        let entry = Entry { key: order.key.clone(), cost: None, error: None };
        let args = match goes_on {
            true if order.is_online() => {
                let args = self.on_its_device(order.args.clone());
                args.into_iter().chain(["--resume".to_owned()]).collect()
            }
            true => ["tune", "resume", &order.adapter, "--json"].map(str::to_owned).to_vec(),
            false => {
                // What was trained under another key is no use.
                for folder in ["adapters", "runs"].map(|kind| self.home.join(kind).join(&order.adapter)) {
                    if folder.exists() {
                        std::fs::remove_dir_all(&folder).at("remove", &folder)?;
                    }
                }
                // Each rung pays for its own vectors: those that another one left are not used.
                let vectors = self.home.join("cache").join("embeddings");
                if order.is_fitted() && vectors.exists() {
                    std::fs::remove_dir_all(&vectors).at("remove", &vectors)?;
                }
                // That it was begun is remembered, for a checkpoint to be known again.
                costs.set(&order.adapter, entry.clone());
                costs.write(dir)?;
                self.on_its_device(order.args.clone())
            }
        };
        Ok(match self.run(&args)? {
            None => None,
            Some(Ok(printed)) => Some(Entry { cost: Some(Cost::of(&printed, cores)?), ..entry }),
            Some(Err(why)) => Some(Entry { error: Some(why), ..entry }),
        })
    }

    /// `args` of a training that begins, on the device that was said.
    pub fn on_its_device(&self, mut args: Vec<String>) -> Vec<String> {
        args.extend(self.device.iter().flat_map(|kind| ["--device".to_owned(), kind.name().to_owned()]));
        args
    }

    /// What the program prints as JSON, or why it failed; `None` when it was stopped.
    ///
    /// # Errors
    /// `Io` when no process can be started.
    pub fn run(&self, args: &[String]) -> Result<Option<std::result::Result<Value, String>>> {
        let program = std::env::current_exe().at("find", "this program")?;
        let mut child = Command::new(&program)
            .arg("--home")
            .arg(self.home)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .at("start", &program)?;
        let read = |stream: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                // What cannot be read is not there.
                let _ = stream.map(|mut stream| stream.read_to_end(&mut text));
                String::from_utf8_lossy(&text).into_owned()
            })
        };
        let out = read(child.stdout.take().map(|stream| Box::new(stream) as _));
        let said = read(child.stderr.take().map(|stream| Box::new(stream) as _));
        let mut told = false;
        let status = loop {
            if let Some(status) = child.try_wait().at("wait for", &program)? {
                break status;
            }
            // Ctrl-C at a terminal reaches both; a signal to this process alone is handed on.
            if self.interrupt.is_asked() && !told {
                stop(&child);
                told = true;
            }
            std::thread::sleep(LOOK);
        };
        let (out, said) = (out.join().unwrap_or_default(), said.join().unwrap_or_default());
        if self.interrupt.is_asked() {
            return Ok(None);
        }
        if !status.success() {
            return Ok(Some(Err(why(&said, &status.to_string()))));
        }
        serde_json::from_str(&out)
            .map(|printed| Some(Ok(printed)))
            .map_err(|error| Error::invalid(format!("the trainer printed what is no JSON: {error}")))
    }
}

#[cfg(unix)]
fn stop(child: &std::process::Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // One that has ended meanwhile need not be told.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
}

#[cfg(not(unix))]
fn stop(_: &std::process::Child) {}

/// The error that a process ended with, in a line.
fn why(said: &str, status: &str) -> String {
    let of = |begin: &str| said.lines().find_map(|line| line.strip_prefix(begin)).map(str::trim);
    match (of("error:"), of("hint:")) {
        (Some(error), Some(hint)) => format!("{error} (hint: {hint})"),
        (Some(error), None) => error.to_owned(),
        _ => format!("the process ended with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_last_is_why() {
        let said = "loading m ...\nerror: `x` is not here\nhint: fetch it\n";
        assert_eq!(why(said, "exit status: 1"), "`x` is not here (hint: fetch it)");
        assert_eq!(why("boom", "signal: 9"), "the process ended with signal: 9");
    }
}
