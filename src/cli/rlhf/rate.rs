//! `incontext rlhf rate`: a person says which answer is better, and the file that `rlhf reward` and `rlhf dpo` learn from grows.
//!
//! Answers are shown in an order of chance and without a name, so that nobody is preferred for where it stands or who it is.

mod writers;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use self::writers::Writers;
use crate::cli::printer::Printer;
use crate::cli::settings::Settings;
use crate::cli::{Ending, device};
use crate::error::{Error, IoContext, Result};
use crate::random::SplitMix;
use crate::text::records::Source;

/// Keeps the orders in which answers are shown apart from other uses of one seed.
const ORDERS: u64 = 0x6f72_6465_7273_0000;

#[derive(Args)]
pub struct Rate {
    /// Questions, each in quotes
    #[arg(value_name = "QUESTION", required_unless_present_any = ["data", "answers"], conflicts_with_all = ["data", "answers"])]
    questions: Vec<String>,
    /// Many questions: JSON Lines with a `prompt` or a `question`; may be gzipped
    #[arg(long, value_name = "FILE", conflicts_with = "answers")]
    data: Option<PathBuf>,
    /// Answers that are there already: JSON Lines of `prompt` and `responses`, in any order
    #[arg(long, value_name = "FILE", conflicts_with_all = ["collection", "adapter"])]
    answers: Option<PathBuf>,
    /// Where judgements go, a line each; what is there already is not asked again
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Answer from the passages of this collection, as `ask` lays them out [default: without documents]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Template for that [default: qa/grounded]
    #[arg(long, value_name = "NAME|FILE", requires = "collection")]
    prompt: Option<String>,
    /// Who answers: adapters by their names, `none` for the model as it is
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    adapter: Vec<String>,
    /// Answers of each [default: 2 of one, 1 of each of several]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    num_answers: Option<u8>,
    /// Temperature at which answers are drawn
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    temperature: f64,
    /// Tokens that an answer may have
    #[arg(long, value_name = "N", default_value_t = 120)]
    max_tokens: usize,
    /// Decides what is drawn, and in which order answers are shown
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Generator: catalogue name, directory, GGUF file, or openai:NAME [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print how many were judged as JSON
    #[arg(long)]
    json: bool,
}

/// Something to be judged.
struct Case {
    /// As it goes into the file: a text, or turns.
    prompt: Value,
    /// What a person is asked about.
    shown: String,
    answers: Vec<String>,
}

/// What a person says of some answers.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Numbers of answers from 0, the best first.
    Ranked(Vec<usize>),
    Skip,
    Quit,
    /// Not understood, and why.
    What(String),
}

pub fn run(command: &Rate, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let judged = judged(&command.out)?;
    let mut file = open(&command.out)?;
    let mut stdin = std::io::stdin().lock();
    let (mut rated, mut skipped, mut known) = (0, 0, 0);
    let mut writers = None;
    let questions = questions(command)?;
    let count = questions.len();
    let mut quit = false;
    for (at, (prompt, answers)) in questions.into_iter().enumerate() {
        let shown = in_words(&prompt);
        if judged.contains(&shown) {
            known += 1;
            continue;
        }
        let case = match answers {
            Some(answers) => Case { prompt, shown, answers },
            None => {
                // Nobody is loaded for questions that are all judged.
                if writers.is_none() {
                    writers = Some(Writers::load(command, settings, printer)?);
                }
                let Some(writers) = &writers else { continue };
                writers.answer(command, settings, prompt, shown)?
            }
        };
        let mut order: Vec<usize> = (0..case.answers.len()).collect();
        SplitMix::new(command.seed, ORDERS + at as u64).shuffle(&mut order);
        if order.len() < 2 {
            printer.note(format!("`{}`: only one answer came of it, which is no choice", short(&case.shown)));
            skipped += 1;
            continue;
        }
        printer.requested(&format!("\n{} of {count}  {}\n", at + 1, case.shown));
        for (number, &answer) in order.iter().enumerate() {
            printer.requested(&format!("[{}] {}\n", number + 1, case.answers[answer].trim()));
        }
        match ask(&mut stdin, order.len(), printer)? {
            Said::Ranked(ranks) => {
                let responses: Vec<&String> = ranks.iter().map(|&at| &case.answers[order[at]]).collect();
                let line = json!({ "prompt": case.prompt, "responses": responses, "question": case.shown });
                append(&mut file, &command.out, &line)?;
                rated += 1;
            }
            Said::Skip | Said::What(_) => skipped += 1,
            Said::Quit => {
                quit = true;
                break;
            }
        }
    }
    if command.json {
        printer.json(&json!({ "out": command.out, "rated": rated, "skipped": skipped, "known": known }))?;
    }
    let known = if known == 0 { String::new() } else { format!(", {known} were judged before") };
    let left = if quit { "; the same command goes on" } else { "" };
    printer.note(format!("{rated} judged, {skipped} skipped{known}{left}: {}", command.out.display()));
    Ok(Ending::Done)
}

/// Asks until something is understood; the end of the input ends it.
fn ask(input: &mut dyn BufRead, count: usize, printer: &Printer) -> Result<Said> {
    loop {
        printer.aside(&format!("best first, as in `{}`; s skips, q ends: ", example(count)));
        let mut line = String::new();
        if input.read_line(&mut line).at("read", "standard input")? == 0 {
            return Ok(Said::Quit);
        }
        match understood(&line, count) {
            Said::What(why) => printer.note(why),
            said => return Ok(said),
        }
    }
}

fn example(count: usize) -> String {
    (1..=count).rev().map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

/// `2 1 3`, `2>1>3`, `213`; of two answers the better one alone will do.
fn understood(line: &str, count: usize) -> Said {
    let line = line.trim();
    match line.to_lowercase().as_str() {
        "s" | "skip" => return Said::Skip,
        "q" | "quit" => return Said::Quit,
        _ => {}
    }
    let is_mark = |c: char| c.is_whitespace() || matches!(c, '>' | ',');
    let digits: Vec<char> = line.chars().filter(|c| !is_mark(*c)).collect();
    let mut ranks = Vec::new();
    for digit in digits {
        match digit.to_digit(10).map(|digit| digit as usize) {
            Some(number) if (1..=count).contains(&number) && !ranks.contains(&(number - 1)) => {
                ranks.push(number - 1);
            }
            Some(number) if ranks.iter().any(|&at| at + 1 == number) => {
                return Said::What(format!("{number} stands there twice"));
            }
            _ => return Said::What(format!("`{digit}` is no answer: 1 to {count}")),
        }
    }
    if ranks.len() == 1 && count == 2 {
        ranks.push(1 - ranks[0]);
    }
    match ranks.len() == count {
        true => Said::Ranked(ranks),
        false => Said::What(format!("{} of {count} answers are named", ranks.len())),
    }
}

/// Prompts, and the answers that are there already.
fn questions(command: &Rate) -> Result<Vec<(Value, Option<Vec<String>>)>> {
    if let Some(path) = &command.answers {
        let source = Source::read(path)?;
        return source
            .json_lines::<Value>()?
            .into_iter()
            .map(|(line, row)| answered(&source, line, &row))
            .collect();
    }
    let Some(path) = &command.data else {
        return Ok(command.questions.iter().map(|question| (question.trim().into(), None)).collect());
    };
    let source = Source::read(path)?;
    let one = |(line, row): (usize, Value)| match prompt_of(&row) {
        Some(prompt) => Ok((prompt, None)),
        None => Err(source.at(line, Error::invalid("no `prompt` and no `question` in it"))),
    };
    source.json_lines::<Value>()?.into_iter().map(one).collect()
}

fn prompt_of(row: &Value) -> Option<Value> {
    ["prompt", "question", "input", "text"].iter().find_map(|name| row.get(*name)).cloned()
}

fn answered(source: &Source, line: usize, row: &Value) -> Result<(Value, Option<Vec<String>>)> {
    let wrong = |what: &str| {
        source.at(line, Error::invalid(what)).hint("a `prompt`, and `responses`, two texts to nine")
    };
    let prompt = prompt_of(row).ok_or_else(|| wrong("no `prompt` in it"))?;
    let list = ["responses", "answers"].iter().find_map(|name| row.get(*name)?.as_array());
    let texts: Option<Vec<String>> =
        list.and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    match texts {
        Some(texts) if (2..=9).contains(&texts.len()) => Ok((prompt, Some(texts))),
        _ => Err(wrong("no list of two to nine texts in `responses`")),
    }
}

/// A prompt for a person: a text, or the last turn.
fn in_words(prompt: &Value) -> String {
    match prompt {
        Value::String(text) => text.trim().to_owned(),
        Value::Array(turns) => {
            let last = turns.last().and_then(|turn| turn["content"].as_str());
            last.unwrap_or_default().trim().to_owned()
        }
        other => other.to_string(),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{} ...", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

/// What was judged before: questions as a person saw them.
fn judged(path: &Path) -> Result<BTreeSet<String>> {
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let source = Source::read(path)?;
    let rows = source.json_lines::<Value>().map_err(|error| {
        error.hint("--out names the file that judgements are added to: another, or mend it first")
    })?;
    let named = |(_, row): (usize, Value)| row.get("question").or_else(|| row.get("prompt")).map(in_words);
    Ok(rows.into_iter().filter_map(named).collect())
}

/// The file to add to; a line that was cut off is ended.
fn open(path: &Path) -> Result<std::fs::File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path).at("open", path)?;
    let length = file.metadata().at("read", path)?.len();
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1)).at("read", path)?;
        let mut last = [0];
        file.read_exact(&mut last).at("read", path)?;
        if last != [b'\n'] {
            file.write_all(b"\n").at("write", path)?;
        }
    }
    Ok(file)
}

/// A judgement is on the disk before the next is asked for.
fn append(file: &mut std::fs::File, path: &Path, line: &Value) -> Result<()> {
    file.write_all(format!("{line}\n").as_bytes()).at("write", path)?;
    file.sync_data().at("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rankings_are_understood_and_nonsense_is_said() {
        let ranked = |ranks: &[usize]| Said::Ranked(ranks.to_vec());
        for (line, count, expected) in [
            ("2 1 3\n", 3, ranked(&[1, 0, 2])),
            ("3>1>2", 3, ranked(&[2, 0, 1])),
            ("21", 2, ranked(&[1, 0])),
            (" 2 ", 2, ranked(&[1, 0])),
            ("1,2", 2, ranked(&[0, 1])),
            ("S", 2, Said::Skip),
            ("q", 4, Said::Quit),
        ] {
            assert_eq!(understood(line, count), expected, "{line}");
        }
        for (line, count, what) in [
            ("2", 3, "1 of 3 answers are named"),
            ("", 2, "0 of 2 answers are named"),
            ("1 1", 2, "1 stands there twice"),
            ("4 1 2", 3, "`4` is no answer"),
            ("the first", 2, "`t` is no answer"),
        ] {
            let Said::What(why) = understood(line, count) else { panic!("{line}") };
            assert!(why.contains(what), "{line}: {why}");
        }
    }
}
