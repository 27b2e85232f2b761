//! `chat`: a conversation through pipes and in a terminal, on the default encoder and on a server that answers as a test
//! wants.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::defaults;
use crate::mock::{Reply, Seen, Server, delta, nobody};
use crate::run::{Folder, Ran, lines as lines_of};

const CONTRACTS: [(&str, &str); 3] = [
    (
        "work/support.md",
        "# Support contract\n\nThe support contract with Hansen ends on 31 March 2027. The support contract was signed by \
         Maria Lang in Bergen.\n",
    ),
    (
        "work/lease.md",
        "# Lease\n\nThe lease was signed by Peter Olsen. The lease of the office costs 900 euros.\n",
    ),
    ("work/bees.md", "# Bees\n\nA honey bee colony survives the winter on twenty kilograms of honey.\n"),
];

/// Contracts in a collection of the default encoder.
fn contracts() -> Option<Folder> {
    defaults::encoder()?;
    let folder = Folder::with(&CONTRACTS);
    folder.ok(&["ingest", "work", "--quiet"]);
    Some(folder)
}

/// What `incontext chat ARGS` says to `lines`.
fn chat(folder: &Folder, args: &[&str], lines: &[&str]) -> Ran {
    let mut child =
        folder.command(&[&["chat"], args].concat()).stdin(Stdio::piped()).spawn().expect("the binary starts");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

/// The JSON lines of a session that ends well.
fn answers(folder: &Folder, args: &[&str], lines: &[&str]) -> Vec<Value> {
    let ran = chat(folder, &[args, &["--json"]].concat(), lines);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn a_conversation_through_a_pipe_rewrites_its_follow_ups_by_rule() {
    let Some(folder) = contracts() else { return };
    let questions =
        ["When does the support contract end?", "Who signed it?", "and the lease?", "", "= Who signed it?"];
    let Ran { code, out, err } = chat(&folder, &[], &questions[..3]);
    assert_eq!(code, Some(0), "{out}{err}");
    insta::assert_snapshot!(out, @r"
    > When does the support contract end?
    The support contract with Hansen ends on 31 March 2027. [1]
      [1] work/support.md:3  Support contract

    > Who signed it?
    The support contract with Hansen ends on 31 March 2027. The support contract was signed by Maria Lang in Bergen. [1]
      [1] work/support.md:3  Support contract

    > and the lease?
    The lease was signed by Peter Olsen. [1]
      [1] work/lease.md:3  Lease
    ");
    insta::assert_snapshot!(err, @r"
    asked as: Who signed the support contract?
    asked as: Who signed the lease?
    ");

    let answers = answers(&folder, &[], &questions);
    let of = |at: usize, key: &str| answers[at][key].clone();
    assert_eq!(answers.len(), 4, "an empty line is no question");
    assert_eq!((of(0, "asked"), of(0, "rewritten")), (questions[0].into(), Value::Null));
    assert_eq!((of(1, "asked"), of(1, "rewritten")), (questions[1].into(), "rule".into()));
    assert_eq!(of(1, "question"), "Who signed the support contract?");
    assert_eq!(of(2, "citations")[0]["path"], "work/lease.md");
    assert_eq!((of(3, "question"), of(3, "rewritten")), ("Who signed it?".into(), Value::Null));
    // As `ask --json`, and two fields more.
    let ask = folder.ok(&["ask", questions[0], "--json"]).json();
    let mut same = answers[0].clone();
    for key in ["asked", "rewritten"] {
        same.as_object_mut().unwrap().remove(key);
    }
    same["ms"] = ask["ms"].clone();
    assert_eq!(same, ask);
}

#[test]
fn courtesies_are_not_looked_for_and_change_no_subject() {
    let Some(folder) = contracts() else { return };
    let lines =
        ["Hello", "When does the support contract end?", "ok, thanks!", "Great. Who signed it?", "= thanks"];
    let Ran { code, out, err } = chat(&folder, &[], &lines);
    assert_eq!(code, Some(0), "{out}{err}");
    insta::assert_snapshot!(out, @r"
    > Hello
    Hello. Ask a question about your documents.

    > When does the support contract end?
    The support contract with Hansen ends on 31 March 2027. [1]
      [1] work/support.md:3  Support contract

    > ok, thanks!
    You are welcome.

    > Great. Who signed it?
    The support contract with Hansen ends on 31 March 2027. The support contract was signed by Maria Lang in Bergen. [1]
      [1] work/support.md:3  Support contract

    > = thanks
    Not found in the indexed documents.
      nearest: work/support.md:1  Support contract
      nearest: work/bees.md:1  Bees
      nearest: work/lease.md:1  Lease
    ");
    assert_eq!(err, "asked as: Who signed the support contract?\n");
    let said = answers(&folder, &[], &lines);
    let of = |at: usize, key: &str| said[at][key].clone();
    assert_eq!(said.len(), lines.len(), "each line has its own");
    assert_eq!((of(2, "asked"), of(2, "answer")), (lines[2].into(), "You are welcome.".into()));
    assert_eq!(
        (of(2, "courtesy"), of(2, "answered"), of(2, "format")),
        (true.into(), false.into(), 1.into())
    );
    assert_eq!(
        (of(3, "question"), of(3, "asked")),
        ("Who signed the support contract?".into(), lines[3].into())
    );
    assert_eq!((of(4, "question"), of(4, "courtesy")), ("thanks".into(), Value::Null));
}

#[test]
fn what_is_typed_into_a_pipe_is_repeated_unless_somebody_wants_results_alone() {
    let Some(folder) = contracts() else { return };
    let lines = ["", "When does the support contract end?", "/model"];
    let echoes = |args: &[&str]| {
        let out = chat(&folder, args, &lines).out;
        out.lines().filter(|line| line.starts_with("> ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(echoes(&[]), ["> When does the support contract end?", "> /model"]);
    assert!(echoes(&["--quiet"]).is_empty() && echoes(&["--json"]).is_empty());
}

#[test]
fn an_answer_of_little_confidence_says_so() {
    let Some(folder) = contracts() else { return };
    // A gate that refuses nothing answers what it does not trust.
    let profile = folder.at(".incontext/collections/default/profile.toml");
    let written = fs::read_to_string(&profile).unwrap() + "\n[gate]\nthreshold = 0.0\n";
    fs::write(&profile, written).unwrap();
    let mut unsure = 0;
    for question in ["When does the support contract end?", "Does Hansen keep bees?", "Who painted the pool?"]
    {
        let answer = folder.run(&["ask", question, "--json"]).json();
        let confidence = answer["confidence"].as_f64().unwrap();
        let doubtful = answer["answered"] == true && confidence < 0.7;
        unsure += usize::from(doubtful);
        let note = format!("(not sure: confidence {confidence:.2})\n");
        let expected = if doubtful { &note[..] } else { "" };
        assert_eq!(folder.run(&["ask", question]).err, expected, "{question}");
        assert_eq!(chat(&folder, &[], &[question]).err, expected, "{question}");
        assert_eq!(chat(&folder, &["--json"], &[question]).err, "", "{question}");
    }
    assert_eq!(unsure, 2);
}

#[test]
fn a_model_that_is_loaded_is_named_meanwhile() {
    let Some(folder) = contracts() else { return };
    let Some(_) = defaults::generator() else { return };
    let err = chat(&folder, &[], &["/answer generate", "/answer generate"]).err;
    assert_eq!(err.matches("loading smollm2-135m-instruct ...\nanswers: generate;").count(), 1, "{err}");
}

#[test]
fn what_is_not_found_is_no_subject() {
    let Some(folder) = contracts() else { return };
    let questions = [
        "When does the support contract end?",
        "Which chess opening did Kasparov prefer against Karpov?",
        "Who signed it?",
    ];
    let answers = answers(&folder, &[], &questions);
    assert_eq!(answers[1]["answered"], false);
    assert!(!answers[1]["nearest"].as_array().unwrap().is_empty());
    assert_eq!(answers[2]["question"], "Who signed the support contract?");
}

#[test]
fn commands_show_switch_save_and_forget() {
    let Some(folder) = contracts() else { return };
    folder.write("garden/compost.txt", "Compost is ready after nine months.\n");
    folder.ok(&["ingest", "garden", "-c", "garden", "--quiet"]);
    let lines = [
        "/sources",
        "When does the support contract end?",
        "Who signed it?",
        "/sources",
        "/prompt",
        "/save talk.md",
        "/save talk.md",
        "/save! talk.md",
        "/model",
        "/model ./none.gguf",
        "/model",
        "/answer extractive",
        "/answer",
        "/collection",
        "/collection nowhere",
        "/collection garden",
        "/new",
        "When is it ready?",
        "When is compost ready?",
        "/sorces",
        "/help",
        "/quit",
        "never asked",
    ];
    let Ran { code, out, err } = chat(&folder, &[], &lines);
    assert_eq!(code, Some(0), "{out}{err}");
    insta::assert_snapshot!(lines_of(&out, str::trim_end), @r"
    > /sources
    nothing has been answered yet
    > When does the support contract end?
    The support contract with Hansen ends on 31 March 2027. [1]
      [1] work/support.md:3  Support contract

    > Who signed it?
    The support contract with Hansen ends on 31 March 2027. The support contract was signed by Maria Lang in Bergen. [1]
      [1] work/support.md:3  Support contract

    > /sources
    [1] work/support.md:3  Support contract
        | The support contract with Hansen ends on 31 March 2027. The support contract was signed by Maria Lang in Bergen.

    made from:
    work/support.md:1-3  Support contract
        | # Support contract
        |
        | The support contract with Hansen ends on 31 March 2027. The support contract was signed by Maria Lang in Bergen.
    work/lease.md:1-3  Lease
        | # Lease
        |
        | The lease was signed by Peter Olsen. The lease of the office costs 900 euros.
    work/bees.md:1-3  Bees
        | # Bees
        |
        | A honey bee colony survives the winter on twenty kilograms of honey.
    > /prompt
    no model was asked for the last answer; `/answer generate` asks one
    > /save talk.md
    > /save talk.md
    > /save! talk.md
    > /model
    smollm2-135m-instruct (too small to be asked: answers are quoted)
    > /model ./none.gguf
    > /model
    smollm2-135m-instruct (too small to be asked: answers are quoted)
    > /answer extractive
    > /answer
    extractive
    > /collection
    default
    > /collection nowhere
    > /collection garden
    > /new
    > When is it ready?
    Compost is ready after nine months. [1]
      [1] garden/compost.txt:1

    > When is compost ready?
    Compost is ready after nine months. [1]
      [1] garden/compost.txt:1

    > /sorces
    > /help
      = QUESTION        ask it to the letter, whatever was said before
      /sources          the citations of the last answer, and the passages it was made from
      /prompt           what the model read for the last answer, and what did not fit
      /new              forget the conversation
      /save FILE        write the conversation as Markdown; /save! replaces a file
      /model NAME       switch the generator; without NAME, say which
      /adapter NAME     switch the adapter over it, `none` for the model as it is; without NAME, say which
      /collection NAME  ask another collection; without NAME, say which
      /answer HOW       auto, extractive or generate; without HOW, say which
      /help             this list
      /quit             leave, as does Ctrl-D
      Ctrl-C            stop an answer, or clear the line
    > /quit
    ");
    insta::assert_snapshot!(err, @r"
    asked as: Who signed the support contract?
    saved 2 turns to talk.md
    error: `talk.md` is there already
    hint: `/save! talk.md` replaces it
    saved 2 turns to talk.md
    loading ./none.gguf ...
    error: no file or directory `./none.gguf`
    hint: check the path, or name one of `all-minilm-l6-v2`, `smollm2-135m-instruct`
    answers: extractive; model: smollm2-135m-instruct (not asked: answers are quoted)
    error: there is no collection `nowhere`
    hint: collections here: default, garden; or make it with `incontext ingest PATH -c nowhere`
    asking `garden`, from the beginning
    forgotten
    error: there is no command `/sorces`
    hint: did you mean `/sources`? there are: /sources /prompt /new /save /model /adapter /collection /answer /help /quit
    ");
    insta::assert_snapshot!(fs::read_to_string(folder.at("talk.md")).unwrap(), @r"
    # A conversation over `default`

    ## When does the support contract end?

    The support contract with Hansen ends on 31 March 2027. [1]

    \[1\] `work/support.md:3` Support contract

    > The support contract with Hansen ends on 31 March 2027.

    ## Who signed it?

    Asked as: *Who signed the support contract?*

    The support contract with Hansen ends on 31 March 2027. The support contract was signed by Maria Lang in Bergen. [1]

    \[1\] `work/support.md:3` Support contract

    > The support contract with Hansen ends on 31 March 2027. The support contract was signed by Maria Lang in Bergen.
    ");
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(files.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp")));
}

#[test]
fn an_ingest_meanwhile_is_seen_and_a_waiting_session_keeps_no_writer_waiting() {
    let Some(folder) = contracts() else { return };
    let mut session = Session::begin(&folder, &["--json"]);
    assert_eq!(session.ask("When does the support contract end?")["answered"], true);
    folder.write("work/pool.md", "# Pool\n\nThe pool was painted by Ingrid Moen.\n");
    let start = Instant::now();
    folder.ok(&["ingest", "work", "--quiet"]);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(session.ask("Who painted the pool?")["citations"][0]["path"], "work/pool.md");
    assert_eq!(session.end().code(), Some(0));
}

#[test]
fn a_collection_that_is_not_there_ends_the_session_before_it_begins() {
    insta::assert_snapshot!(Folder::new().shown(&["chat"]), @r"
    exit 1
    -- stderr
    error: there is no collection `default`
    hint: make it with `incontext ingest PATH -c default`
    ");
}

/// A session that is still going on.
struct Session {
    child: Child,
    lines: Receiver<String>,
}

impl Session {
    fn begin(folder: &Folder, args: &[&str]) -> Self {
        let mut command = folder.command(&[&["chat"], args].concat());
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line of JSON.
    fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    fn ask(&mut self, question: &str) -> Value {
        self.say(question);
        self.next()
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    /// How it ended, its input still open.
    #[cfg(unix)]
    fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    fn end(mut self) -> std::process::ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

const TEA: &str = "# Tea\n\nGreen tea is steeped for two minutes. Black tea needs four minutes in the pot.\n";
const QUESTION: &str = "How long is green tea steeped?";
const GROUNDED: &str = "Green tea is steeped for two minutes.";

/// A folder about tea whose generator is served at `url`.
fn tea(url: &str, more: &str) -> Option<Folder> {
    defaults::encoder()?;
    let folder = Folder::with(&[("notes/tea.md", TEA)]);
    folder.ok(&["ingest", "notes", "--quiet"]);
    let config = format!("model = \"openai:mock\"\n[openai]\nbase_url = \"{url}\"\n{more}");
    folder.write(".incontext/config.toml", &config);
    Some(folder)
}

/// The last turn of what the model was sent.
fn last_turn(seen: &Seen) -> String {
    let turns = seen.body["messages"].as_array().unwrap();
    turns.last().unwrap()["content"].as_str().unwrap().to_owned()
}

fn is_rewriting(seen: &Seen) -> bool {
    last_turn(seen).ends_with("Rewritten:")
}

/// Answers from the passage, and rewrites every follow-up as `rewritten`.
fn writer(rewritten: &'static str) -> Server {
    Server::start(move |seen, _| Reply::streamed(&[if is_rewriting(seen) { rewritten } else { GROUNDED }]))
}

#[test]
fn a_model_that_is_fit_rewrites_and_reads_what_was_said() {
    let server = writer("How long is black tea steeped?");
    let Some(folder) = tea(&server.url, "") else { return };
    let said =
        answers(&folder, &[], &[QUESTION, "And black one?", "= How long is green tea steeped, is it?"]);
    assert_eq!((&said[0]["rewritten"], &said[0]["mode"]), (&Value::Null, &"generate".into()), "{said:#?}");
    assert_eq!(said[0]["prompt"]["name"], "chat/grounded");
    assert_eq!(said[1]["question"], "How long is black tea steeped?");
    assert_eq!((&said[1]["rewritten"], &said[1]["asked"]), (&"model".into(), &"And black one?".into()));
    assert_eq!(said[2]["question"], "How long is green tea steeped, is it?");
    let seen = server.seen();
    let rewriting: Vec<bool> = seen.iter().map(is_rewriting).collect();
    assert_eq!(rewriting, [false, true, false, false], "no first question and nothing literal is rewritten");
    assert_eq!((&seen[1].body["temperature"], &seen[1].body["max_tokens"]), (&0.0.into(), &64.into()));
    // What was said is quoted, without the numbers of its citations.
    let quoted = format!("Question: {QUESTION}\nAnswer:\n\"\"\"\n{GROUNDED}\n\"\"\"");
    assert!(last_turn(&seen[1]).contains(&quoted), "{}", last_turn(&seen[1]));
    assert!(!last_turn(&seen[0]).contains("conversation"), "{}", last_turn(&seen[0]));
    assert!(last_turn(&seen[2]).starts_with("The conversation so far:"), "{}", last_turn(&seen[2]));
    assert!(last_turn(&seen[2]).contains(&quoted), "{}", last_turn(&seen[2]));
}

#[test]
fn a_rewriting_that_is_none_is_made_by_rule_and_quoting_asks_no_model() {
    let server = writer("Two minutes. It is best at 80 degrees.");
    let Some(folder) = tea(&server.url, "") else { return };
    let questions = ["What is green tea?", "How long is it steeped?"];
    let said = answers(&folder, &[], &questions);
    assert_eq!(
        (&said[1]["question"], &said[1]["rewritten"]),
        (&"How long is green tea steeped?".into(), &"rule".into())
    );
    let asked = server.seen().len();
    let said = answers(&folder, &["--answer", "extractive"], &questions);
    assert_eq!((&said[1]["rewritten"], &said[1]["model"]), (&"rule".into(), &Value::Null));
    assert_eq!(server.seen().len(), asked);
}

#[test]
fn the_oldest_turns_give_way_and_the_prompt_says_so() {
    let server = writer("How long is green tea steeped then?");
    // A token is taken for three characters: the passages, the demonstrations and about two turns.
    let Some(folder) = tea(&server.url, "context = 440\n") else { return };
    let mut lines = vec![QUESTION; 8];
    lines.push("/prompt");
    let ran = chat(&folder, &[], &lines);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let shown = ran.out.matches("Question: How long is green tea steeped then?").count();
    assert!((2..7).contains(&shown), "{shown}: {ran:#?}");
    assert!(ran.err.contains("earlier turns did not fit the window whole"), "{ran:#?}");
    assert!(ran.out.contains("Black tea needs four minutes"), "passages come first: {ran:#?}");
}

#[test]
fn a_turn_that_fails_is_said_and_the_session_goes_on_with_what_it_had() {
    let server = Server::start(|seen, before| match before {
        0 => Reply::streamed(&[GROUNDED]),
        _ if is_rewriting(seen) => Reply::streamed(&["Who invented the tea bag?"]),
        _ => Reply::error("401 Unauthorized", "who are you?"),
    });
    let Some(folder) = tea(&server.url, "") else { return };
    let lines = [QUESTION, "Is it hot?", "?!", "/model openai:", "/model", "/sources"];
    let ran = chat(&folder, &[], &lines);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(
        ran.err.contains("error: `http://127.0.0.1:") && ran.err.contains("401 Unauthorized"),
        "{ran:#?}"
    );
    assert!(ran.err.contains("error: the question is empty\nhint: ask in words"), "{ran:#?}");
    assert!(ran.err.contains("`openai:` names no model"), "{ran:#?}");
    assert!(ran.out.contains("openai:mock (writes answers"), "{ran:#?}");
    assert!(
        ran.out.contains("| Green tea is steeped for two minutes."),
        "the sources of the answer: {ran:#?}"
    );
    // Each question has its line, so that a script knows which failed.
    let said = answers(&folder, &[], &[QUESTION]);
    assert_eq!((&said[0]["asked"], said[0]["error"].is_string(), said.len()), (&QUESTION.into(), true, 1));

    let folder = tea(&nobody(), "").expect("the encoder was here");
    let said = answers(&folder, &[], &[QUESTION]);
    assert!(said[0]["error"].as_str().unwrap().contains("cannot be reached"), "{said:#?}");
    assert!(said[0]["hint"].is_string(), "{said:#?}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_stops_an_answer_and_not_the_session() {
    // In mid-stream, before the first byte, and while a follow-up is rewritten.
    let server = Server::start(|seen, before| match before {
        0 => Reply::events((0..600).map(|_| delta("Green tea "))).pause(Duration::from_millis(100)),
        1 => Reply::raw("text/event-stream", "").pause(Duration::from_secs(60)),
        3 => Reply::raw("text/event-stream", "").pause(Duration::from_secs(60)),
        _ if is_rewriting(seen) => Reply::streamed(&[QUESTION]),
        _ => Reply::streamed(&[GROUNDED]),
    });
    let Some(folder) = tea(&server.url, "") else { return };
    let mut session = Session::begin(&folder, &["--json"]);
    let mut stopped = |requests: usize, line: &str| {
        session.say(line);
        let asked = Instant::now();
        while server.seen().len() < requests {
            assert!(asked.elapsed() < Duration::from_secs(60), "request {requests} does not come");
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(300));
        let pressed = Instant::now();
        session.interrupt();
        let answer = session.next();
        assert!(pressed.elapsed() < Duration::from_secs(1), "{:?}", pressed.elapsed());
        assert!(answer["error"].as_str().unwrap().starts_with("stopped"), "{answer}");
    };
    stopped(1, QUESTION);
    stopped(2, QUESTION);
    // Nothing is kept of them: this is the first turn.
    assert_eq!(session.ask(QUESTION)["mode"], "generate");
    assert!(!last_turn(&server.seen()[2]).contains("conversation"));
    let mut stopped = |requests: usize, line: &str| {
        session.say(line);
        while server.seen().len() < requests {
            thread::sleep(Duration::from_millis(20));
        }
        session.interrupt();
        assert_eq!(session.next()["asked"], line);
    };
    stopped(4, "And why?");
    assert_eq!(session.ask("And then?")["question"], QUESTION);
    // At rest it ends the process as it always does.
    session.interrupt();
    assert_eq!(session.wait().code(), None);
    // The server noticed that nobody reads any more.
    thread::sleep(Duration::from_millis(500));
    let sent = server.sent();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(server.sent(), sent);
}

/// `incontext ARGS` in a pseudo-terminal, which `script` makes.
#[cfg(target_os = "linux")]
struct Terminal {
    child: Child,
    screen: Arc<Mutex<String>>,
}

#[cfg(target_os = "linux")]
impl Terminal {
    /// With 60 columns; `None` where there is no `script`.
    fn begin(folder: &Folder, args: &str) -> Option<Self> {
        let program = env!("CARGO_BIN_EXE_incontext");
        let mut script = Command::new("script");
        // In place of the shell: some (dash) die of a Ctrl-C that the program they wait for has taken, once it ends.
        let command = format!("stty cols 60 rows 24; exec '{program}' {args}");
        script.args(["-qefc", &command, "/dev/null"]).current_dir(folder.path());
        crate::run::SETTINGS.iter().for_each(|name| {
            script.env_remove(name);
        });
        script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = script.spawn() else {
            eprintln!("skipped: there is no `script` to make a terminal with");
            return None;
        };
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut out, screen) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut piece) {
                screen.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..n]));
            }
        });
        Some(Self { child, screen: shown })
    }

    fn shown(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits for the prompt of this number, which begins by asking the terminal to mark what is pasted.
    fn wait(&self, prompt: usize) {
        let start = Instant::now();
        while self.shown().matches("\u{1b}[?2004h").count() < prompt {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.shown());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Edited lines, and keys that are no lines.
#[test]
#[cfg(target_os = "linux")]
fn in_a_terminal_lines_are_edited_and_remembered() {
    let Some(folder) = contracts() else { return };
    let Some(mut terminal) = Terminal::begin(&folder, "chat") else { return };
    // A slip taken back with the backspace key, a line thrown away with Ctrl-C, a command completed with Tab.
    let typed = [
        "When does the support contract ends\u{7f}?\r",
        "never asked\u{3}",
        "Who signed it?\r",
        "/he\t\r",
        "\u{3}",
        "\u{3}",
    ];
    for (before, keys) in typed.iter().enumerate() {
        terminal.wait(before + 1);
        terminal.press(keys);
    }
    assert_eq!(terminal.code(), Some(0));
    let out = terminal.shown();
    for said in [
        "asking `default`",
        "31 March 2027",
        "asked as: Who signed the support contract?",
        "/save FILE",
        "Ctrl-C again",
    ] {
        assert!(out.contains(said), "no {said}: {out}");
    }
    let history = fs::read_to_string(folder.at(".incontext/chat-history")).unwrap();
    let lines: Vec<&str> = history.lines().skip(1).collect();
    assert_eq!(lines, ["When does the support contract end?", "Who signed it?", "/help"]);
}

#[test]
#[cfg(target_os = "linux")]
fn in_a_terminal_answers_break_between_words() {
    let Some(folder) = contracts() else { return };
    let question = "Who signed the support contract?";
    let Some(mut ask) = Terminal::begin(&folder, &format!("ask '{question}'")) else { return };
    assert_eq!(ask.code(), Some(0));
    let Some(mut chat) = Terminal::begin(&folder, "chat") else { return };
    chat.wait(1);
    chat.press(&format!("{question}\r"));
    chat.wait(2);
    chat.press("/quit\r");
    assert_eq!(chat.code(), Some(0));
    for terminal in [ask, chat] {
        let shown = terminal.shown().replace("\r\n", "\n");
        let answer = "The support contract with Hansen ends on 31 March 2027. The\nsupport contract was signed by Maria Lang in Bergen. [1]\n";
        assert!(shown.contains(answer), "{shown}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_typed_ahead_is_kept_when_ctrl_c_stops_an_answer() {
    let server = Server::start(|_, before| match before {
        0 => Reply::raw("text/event-stream", "").pause(Duration::from_secs(60)),
        _ => Reply::streamed(&[GROUNDED]),
    });
    let Some(folder) = tea(&server.url, "") else { return };
    let Some(mut terminal) = Terminal::begin(&folder, "chat") else { return };
    terminal.wait(1);
    terminal.press(&format!("{QUESTION}\r"));
    let asked = Instant::now();
    while server.seen().is_empty() {
        assert!(asked.elapsed() < Duration::from_secs(60), "{}", terminal.shown());
        thread::sleep(Duration::from_millis(20));
    }
    terminal.press("How long is green tea");
    thread::sleep(Duration::from_millis(200));
    terminal.press("\u{3}");
    terminal.wait(2);
    terminal.press(" steeped then?\r");
    terminal.wait(3);
    terminal.press("/quit\r");
    assert_eq!(terminal.code(), Some(0), "{}", terminal.shown());
    let history = fs::read_to_string(folder.at(".incontext/chat-history")).unwrap();
    assert!(history.contains("\nHow long is green tea steeped then?\n"), "{history}");
}
