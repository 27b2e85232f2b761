//! What makes the program pleasant to live with: `doctor`, `config`, help, completions, manual pages, JSON for scripts,
//! and a guide that says what the binary does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::run::{Folder, Ran};
use crate::{golden, tiny};

/// Every command, as it is typed.
const COMMANDS: [&[&str]; 68] = [
    &["quickstart"],
    &["ingest"],
    &["ask"],
    &["chat"],
    &["classify"],
    &["generate"],
    &["search"],
    &["doctor"],
    &["collections", "list"],
    &["collections", "show"],
    &["collections", "rm"],
    &["models", "list"],
    &["models", "pull"],
    &["models", "path"],
    &["prompt", "list"],
    &["prompt", "show"],
    &["prompt", "render"],
    &["prompt", "new"],
    &["prompt", "lint"],
    &["prompt", "diff"],
    &["experiment", "run"],
    &["experiment", "plan"],
    &["experiment", "resume"],
    &["experiment", "view"],
    &["experiment", "compare"],
    &["experiment", "export"],
    &["optimise"],
    &["compare"],
    &["tune", "lora"],
    &["tune", "ia3"],
    &["tune", "prefix"],
    &["tune", "soft-prompt"],
    &["tune", "p-tuning"],
    &["tune", "houlsby"],
    &["tune", "pfeiffer"],
    &["tune", "parallel"],
    &["tune", "llama-adapter"],
    &["tune", "features"],
    &["tune", "head"],
    &["tune", "full"],
    &["tune", "bitfit"],
    &["tune", "resume"],
    &["tune", "repeat"],
    &["rlhf", "sft"],
    &["rlhf", "reward"],
    &["rlhf", "dpo"],
    &["rlhf", "ppo"],
    &["rlhf", "grpo"],
    &["rlhf", "rate"],
    &["use"],
    &["modes"],
    &["adapters", "list"],
    &["adapters", "show"],
    &["adapters", "export"],
    &["adapters", "import"],
    &["adapters", "merge"],
    &["adapters", "rm"],
    &["config", "show"],
    &["config", "path"],
    &["eval", "qa"],
    &["experiment", "import"],
    &["eval", "retrieval"],
    &["eval", "reward"],
    &["tune-fusion"],
    &["calibrate"],
    &["verify"],
    &["completions"],
    &["man"],
];

/// A folder whose encoder is a tiny one of its own, with no other models and one collection of three notes.
fn folder() -> Folder {
    let folder = Folder::with(&[
        ("notes/tea.md", "# Tea\n\nGreen tea is steeped for two minutes."),
        ("notes/coffee.md", "# Coffee\n\nA cup of filter coffee takes seven grams."),
        ("notes/cocoa.txt", "Cocoa dissolves in warm milk."),
    ]);
    let encoder = tiny::encoder(&folder.at("tiny"), 0);
    folder.write(".incontext/config.toml", &format!("embedder = \"{}\"\n", encoder.display()));
    folder.write("profile.toml", tiny::PROFILE);
    fs::create_dir(folder.at("models")).unwrap();
    let ran = run(&folder, &["ingest", "notes", "--profile", "profile.toml", "--quiet"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    folder
}

/// A run that sees no models of the machine.
fn run(folder: &Folder, args: &[&str]) -> Ran {
    let mut command = folder.command(args);
    command.env("INCONTEXT_MODELS", folder.at("models")).env_remove("INCONTEXT_OFFLINE");
    Ran::of(command.output().unwrap())
}

fn doctor(folder: &Folder) -> (Option<i32>, Vec<Finding>) {
    let ran = run(folder, &["doctor", "--json"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let finding = |value: &Value| Finding {
        level: text(&value["level"]),
        subject: text(&value["subject"]),
        found: text(&value["found"]),
        remedy: value["do"].as_str().map(str::to_owned),
    };
    let findings = ran.json()["findings"].as_array().unwrap().iter().map(finding).collect();
    (ran.code, findings)
}

#[derive(Debug)]
struct Finding {
    level: String,
    subject: String,
    found: String,
    remedy: Option<String>,
}

/// What was found about `subject`, which must be there.
fn about<'a>(findings: &'a [Finding], level: &str, subject: &str) -> &'a Finding {
    let mut matching = findings.iter().filter(|f| f.level == level && f.subject.starts_with(subject));
    matching.next().unwrap_or_else(|| panic!("no {level} about {subject}: {findings:#?}"))
}

/// The arguments of a command a remedy names.
fn arguments(remedy: &str) -> Vec<&str> {
    remedy.strip_prefix("incontext ").unwrap_or_else(|| panic!("no command: {remedy}")).split(' ').collect()
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_healthy_folder() {
    let folder = folder();
    let ran = run(&folder, &["doctor"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(ran.err.trim(), "no problems");
    let here = folder.path().display().to_string();
    // How large and how full the machine is differs.
    let lines = ran.out.lines().filter(|line| !line.contains(" disk of ") && !line.contains(" program:"));
    let lines: Vec<String> = lines.map(|line| line.replace(&here, "[HERE]")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    ok       folder for built data: `[HERE]/.incontext` (found by walking up)
    ok       settings: embedder = [HERE]/tiny ([HERE]/.incontext/config.toml)
    note     model all-minilm-l6-v2: not here, and no setting asks for it
    ok       embedder [HERE]/tiny ([HERE]/.incontext/config.toml): loads; 48 dimensions, reads 64 tokens
    note     generator smollm2-135m-instruct (default): model `smollm2-135m-instruct` is not on this machine; only `ask --answer generate` needs it
             do: incontext models pull smollm2-135m-instruct
    ok       collection default: 3 documents, 3 chunks; vectors and words are complete, files unchanged
    "#);
}

#[test]
fn lost_vectors_are_a_problem_and_what_the_doctor_says_to_do_mends_it() {
    let folder = folder();
    fs::remove_dir_all(folder.at(".incontext/collections/default/vectors/0")).unwrap();
    let (code, findings) = doctor(&folder);
    assert_eq!(code, Some(1), "{findings:#?}");
    let lost = about(&findings, "problem", "collection default");
    assert_eq!(lost.found, "of 3 chunks, 3 lack their vectors and 0 their words");
    assert_eq!(lost.remedy.as_deref(), Some("incontext ingest notes -c default"));
    assert_eq!(run(&folder, &arguments(lost.remedy.as_deref().unwrap())).code, Some(0));
    let (code, findings) = doctor(&folder);
    assert_eq!(code, Some(0), "{findings:#?}");
}

#[test]
fn files_that_changed_or_vanished_are_counted_and_are_no_problem() {
    let folder = folder();
    folder.write("notes/tea.md", "# Tea\n\nBlack tea is steeped for four minutes.");
    folder.remove("notes/cocoa.txt");
    let (code, findings) = doctor(&folder);
    assert_eq!(code, Some(0), "{findings:#?}");
    let changed = about(&findings, "note", "collection default");
    assert!(changed.found.starts_with("1 file changed and 1 vanished"), "{changed:?}");
    assert_eq!(run(&folder, &arguments(changed.remedy.as_deref().unwrap())).code, Some(0));
    let whole = doctor(&folder).1;
    assert!(about(&whole, "ok", "collection default").found.starts_with("2 documents"), "{whole:#?}");
}

#[test]
fn a_collection_without_documents_or_text_is_called_empty() {
    let folder = folder();
    for note in ["tea.md", "coffee.md", "cocoa.txt"] {
        folder.remove(&format!("notes/{note}"));
    }
    assert_eq!(run(&folder, &["ingest", "notes", "--quiet"]).code, Some(0));
    let (code, findings) = doctor(&folder);
    assert_eq!(code, Some(0), "{findings:#?}");
    let empty = about(&findings, "note", "collection default");
    assert_eq!(empty.found, "empty: no documents");
    assert_eq!(empty.remedy.as_deref(), Some("incontext ingest PATH -c default"));
    folder.write("notes/blank.txt", " \n");
    assert_eq!(run(&folder, &["ingest", "notes", "--quiet"]).code, Some(0));
    assert_eq!(
        about(&doctor(&folder).1, "note", "collection default").found,
        "empty: 1 document without text"
    );
}

#[test]
fn one_broken_thing_hides_no_other_and_each_comes_with_what_to_do() {
    let folder = folder();
    folder.write(".incontext/config.toml", "embeder = \"x\"\n");
    folder.write(".incontext/prompts/qa/mine.j2", "{{ nobody_defines_this }}");
    folder.write(".incontext/collections/.removed-1-old/manifest.sqlite", "");
    folder.write(".incontext/collections/begun/write.lock", "");
    folder.write(
        ".incontext/collections/damaged/manifest.sqlite",
        "this is no database, however long it is made",
    );
    folder.write(".incontext/guide/a.part", "");
    tiny::encoder(&folder.at("tiny"), 7);
    let mut command = folder.command(&["doctor", "--json"]);
    command.env("INCONTEXT_MODELS", folder.at("models")).env_remove("INCONTEXT_OFFLINE");
    command.env("INCONTEXT_MODLE", "x").env("INCONTEXT_PROMPT", "qa/nobody");
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let json = ran.json();
    let found: Vec<(&str, &str)> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["level"] != "ok")
        // The machine's own affairs.
        .filter(|finding| {
            let subject = finding["subject"].as_str().unwrap();
            subject != "program" && !subject.starts_with("disk")
        })
        .map(|finding| (finding["level"].as_str().unwrap(), finding["subject"].as_str().unwrap()))
        .collect();
    let here = folder.path().display().to_string();
    let found: Vec<String> = found.iter().map(|(level, subject)| format!("{level} {subject}")).collect();
    insta::assert_snapshot!(found.join("\n").replace(&here, "[HERE]"), @r#"
    problem settings
    note environment
    problem prompt qa/nobody (environment variable INCONTEXT_PROMPT)
    problem prompt qa/mine
    problem embedder all-minilm-l6-v2 (default)
    note generator smollm2-135m-instruct (default)
    problem collection damaged
    problem collection default, embedder [HERE]/tiny
    note leftovers
    note leftovers
    note leftovers
    "#);
    for finding in json["findings"].as_array().unwrap().iter().filter(|f| f["level"] == "problem") {
        assert!(finding["do"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{finding:#}");
    }
    let problems = json["findings"].as_array().unwrap().iter().filter(|f| f["level"] == "problem").count();
    assert_eq!(json["problems"], problems);
}

#[test]
fn the_doctor_holds_the_adapter_in_use_against_the_model_and_names_runs_that_were_broken_off() {
    let folder = folder();
    let golden = |family: &str| golden::tiny(family).to_str().unwrap().to_owned();
    let (model, other) = (golden("llama"), golden("llama_untied"));
    folder.write("data.jsonl", "{\"prompt\": \"balo\", \"completion\": \"bami\"}\n");
    let tune = ["tune", "ia3", "--data", "data.jsonl", "--steps", "1", "--model", &model, "--out"];
    for name in ["scales", "damaged"] {
        folder.ok(&[&tune[..], &[name]].concat());
    }
    folder.ok(&["use", "scales"]);
    let (code, findings) = doctor(&folder);
    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(about(&findings, "ok", "adapter scales").found, format!("fits over `{model}`"));
    let deep = run(&folder, &["doctor", "--deep"]);
    assert!(deep.out.contains(&format!("loads over `{model}`")), "{deep:#?}");

    // Over other weights, with a name that nobody has, unreadable, and half done.
    let config = fs::read_to_string(folder.at(".incontext/config.toml")).unwrap();
    folder.write(".incontext/config.toml", &format!("{config}model = \"{other}\"\n"));
    folder.write(".incontext/adapters/damaged/adapter_config.json", "{");
    fs::write(folder.at(".incontext/runs/scales/checkpoint.safetensors"), "").unwrap();
    let (code, findings) = doctor(&folder);
    assert_eq!(code, Some(1), "{findings:#?}");
    let wrong = about(&findings, "problem", "adapter scales");
    assert!(wrong.found.contains("was made on"), "{wrong:?}");
    assert!(wrong.remedy.as_deref().unwrap().starts_with("incontext use base; "), "{wrong:?}");
    let damaged = about(&findings, "problem", "adapter damaged");
    assert_eq!(run(&folder, &arguments(damaged.remedy.as_deref().unwrap())).code, Some(0));
    let broken_off = about(&findings, "note", "run scales");
    assert!(broken_off.found.starts_with("ia3 on "), "{broken_off:?}");
    assert_eq!(broken_off.remedy.as_deref(), Some("incontext tune resume scales"));
    assert_eq!(run(&folder, &["use", "base"]).code, Some(0));
    assert_eq!(doctor(&folder).0, Some(0));

    let mut command = folder.command(&["doctor"]);
    let ran = Ran::of(command.env("INCONTEXT_ADAPTER", "nobody").output().unwrap());
    assert!(ran.out.contains("no adapter `nobody`"), "{ran:#?}");
    assert!(ran.out.contains("do: unset INCONTEXT_ADAPTER; there are: scales"), "{ran:#?}");
}

#[test]
fn the_doctor_names_a_folder_that_cannot_hold_anything() {
    let folder = Folder::with(&[("file", "")]);
    let ran = Ran::of(folder.command(&["doctor", "--json", "--home", "file"]).output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let findings = ran.json();
    let home =
        findings["findings"].as_array().unwrap().iter().find(|f| f["subject"] == "folder for built data");
    assert!(home.unwrap()["found"].as_str().unwrap().ends_with("is a file"), "{findings:#}");
    // A folder that is not there yet is nothing to worry about, and asking does not make it.
    let ran = Ran::of(folder.command(&["doctor", "--json", "--home", "new"]).output().unwrap());
    let subjects = ran.json();
    let home =
        subjects["findings"].as_array().unwrap().iter().find(|f| f["subject"] == "folder for built data");
    assert_eq!(home.unwrap()["level"], "note");
    assert!(!folder.at("new").exists());
}

#[test]
fn every_setting_says_where_it_comes_from() {
    let folder = folder();
    folder.write(".incontext/config.toml", "collection = \"papers\"\nembedder = \"./tiny\"\n");
    let mut command = folder.command(&["config", "show", "--model", "big.gguf"]);
    command.env("INCONTEXT_MODELS", folder.at("models")).env("INCONTEXT_EMBEDDER", "./other");
    for name in ["HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "INCONTEXT_OFFLINE"] {
        command.env_remove(name);
    }
    command.env("XDG_CACHE_HOME", folder.path());
    let shown = Ran::of(command.output().unwrap());
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    let here = folder.path().display().to_string();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = shown.out.replace(&here, "[HERE]").lines().map(words).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    home [HERE]/.incontext found by walking up
    collection papers [HERE]/.incontext/config.toml
    embedder ./other environment variable INCONTEXT_EMBEDDER
    model big.gguf flag --model
    adapter none default
    prompt qa/grounded default
    rerank none default
    device cpu default
    qdrant_url embedded default
    models [HERE]/models environment variable INCONTEXT_MODELS
    hub cache [HERE]/huggingface/hub environment variable XDG_CACHE_HOME
    hub https://huggingface.co default
    offline false default
    "#);
    let json = folder.ok(&["config", "show", "--json", "--home", ".incontext"]).json();
    assert_eq!(json["exists"], true);
    assert_eq!(json["file"], folder.at(".incontext/config.toml").to_string_lossy().as_ref());
    let settings = json["settings"].as_array().unwrap();
    let source = |name: &str| &settings.iter().find(|setting| setting["name"] == name).unwrap()["source"];
    assert_eq!((&source("home")["kind"], &source("home")["name"]), (&"flag".into(), &"--home".into()));
    assert_eq!(source("collection")["kind"], "file");
    assert_eq!(source("prompt")["kind"], "default");
}

#[test]
fn the_config_file_is_found_even_when_it_cannot_be_read() {
    let folder = folder();
    folder.write(".incontext/config.toml", "nonsense");
    let path = folder.ok(&["config", "path"]).out;
    assert_eq!(path.trim_end(), folder.at(".incontext/config.toml").to_string_lossy());
    assert_eq!(folder.run(&["config", "show"]).code, Some(1));
}

#[test]
fn help_in_short_and_at_length() {
    let folder = Folder::new();
    insta::assert_snapshot!(folder.shown(&["-h"]), @r#"
    exit 0
    -- stdout
    Ask your own documents, on your own machine

    Usage: incontext [OPTIONS] <COMMAND>

    Ask your documents:
      quickstart  Fetch the default models, ingest the user's guide and ask it a first question
      ingest      Bring a collection up to date with files, folders and web pages
      ask         Answer a question from a collection, with citations
      chat        Hold a conversation over a collection
      search      Find passages, by meaning and by words

    Have a model do your task:
      classify  Choose a label for each text, with its probability
      generate  Write what belongs to each text, as an adapter was taught or a prompt asks

    Find the prompt that works:
      prompt      Write prompt templates, look at what a model reads, and check them
      experiment  Measure prompts, demonstrations, retrieval and models beside each other
      optimise    Search for a better prompt: other wordings, other slots, sets of demonstrations

    Tune the model:
      tune      Teach a model of this machine a task, by the method of your choice
      rlhf      Learn from which answers people preferred: a reward model, a policy
      use       Ask with an adapter from now on, or with the model as it is
      modes     Show what is possible with this model: prompts, demonstrations, adapters
      adapters  List, show, bring in, merge and remove adapters

    Measure:
      compare      Climb from a bare prompt to tuned models on your task: what each rung costs and buys
      eval         Measure search and answers on questions whose answers are known
      tune-fusion  Fit the fusion of a collection to judged questions
      calibrate    Fit the gate of a collection to judged questions
      verify       Compare a model's numbers with a reference made elsewhere

    Keep things in order:
      doctor       Check models, adapters, settings, collections and disk, and say what to do
      collections  List, show and remove collections
      models       List, fetch and locate models
      config       Show the settings and where each comes from

    More:
      completions  Print a completion script for a shell
      man          Print the manual page, or write one for every command
      help         Show a command's help

    Options:
          --home <DIR>        Folder for built data [default: `.incontext`, found by walking up as git
                              does]
          --qdrant-url <URL>  Keep vectors and words on this Qdrant server [default: in the folder for
                              built data]
      -q, --quiet             Say nothing but results and errors
      -h, --help              Print help (see more with '--help')
      -V, --version           Print version
    "#);
    insta::assert_snapshot!(folder.shown(&["--help"]), @r#"
    exit 0
    -- stdout
    Ask your own documents, on your own machine

    incontext reads a folder of documents once and then answers questions from it, with citations that
    name the file, the lines and the exact words; where the documents say nothing, so does it.

    Usage: incontext [OPTIONS] <COMMAND>

    Ask your documents:
      quickstart  Fetch the default models, ingest the user's guide and ask it a first question
      ingest      Bring a collection up to date with files, folders and web pages
      ask         Answer a question from a collection, with citations
      chat        Hold a conversation over a collection
      search      Find passages, by meaning and by words

    Have a model do your task:
      classify  Choose a label for each text, with its probability
      generate  Write what belongs to each text, as an adapter was taught or a prompt asks

    Find the prompt that works:
      prompt      Write prompt templates, look at what a model reads, and check them
      experiment  Measure prompts, demonstrations, retrieval and models beside each other
      optimise    Search for a better prompt: other wordings, other slots, sets of demonstrations

    Tune the model:
      tune      Teach a model of this machine a task, by the method of your choice
      rlhf      Learn from which answers people preferred: a reward model, a policy
      use       Ask with an adapter from now on, or with the model as it is
      modes     Show what is possible with this model: prompts, demonstrations, adapters
      adapters  List, show, bring in, merge and remove adapters

    Measure:
      compare      Climb from a bare prompt to tuned models on your task: what each rung costs and buys
      eval         Measure search and answers on questions whose answers are known
      tune-fusion  Fit the fusion of a collection to judged questions
      calibrate    Fit the gate of a collection to judged questions
      verify       Compare a model's numbers with a reference made elsewhere

    Keep things in order:
      doctor       Check models, adapters, settings, collections and disk, and say what to do
      collections  List, show and remove collections
      models       List, fetch and locate models
      config       Show the settings and where each comes from

    More:
      completions  Print a completion script for a shell
      man          Print the manual page, or write one for every command
      help         Show a command's help

    Options:
          --home <DIR>
              Folder for built data [default: `.incontext`, found by walking up as git does]

          --qdrant-url <URL>
              Keep vectors and words on this Qdrant server [default: in the folder for built data]

      -q, --quiet
              Say nothing but results and errors

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Examples:
      # From nothing to a first cited answer
      incontext quickstart

      # A folder of yours
      incontext ingest notes/

      # A question; one the documents do not answer exits with 3
      incontext ask "When does the contract end?"

    Exit codes:
      0    done
      1    an error, a file `ingest` could not read, or what `verify`, `doctor` or `prompt lint` found
      2    the command line could not be read
      3    nothing relevant was found
      4    another process kept using the collection
      100  an assertion of an experiment does not hold
      130  interrupted

    Environment:
      INCONTEXT_HOME             folder for built data, as --home
      INCONTEXT_COLLECTION       collection, as --collection
      INCONTEXT_EMBEDDER         encoder for new collections, as --embedder
      INCONTEXT_MODEL            generator, as --model
      INCONTEXT_ADAPTER          adapter over it, as --adapter
      INCONTEXT_PROMPT           prompt template, as --prompt
      INCONTEXT_RERANK           cross-encoder, as --rerank
      INCONTEXT_DEVICE           where models compute, as --device
      INCONTEXT_QDRANT_URL       Qdrant server, as --qdrant-url
      INCONTEXT_QDRANT_API_KEY   key that goes with it
      INCONTEXT_MODELS           folder for model files
      INCONTEXT_OFFLINE          1: never touch the network
      INCONTEXT_OPENAI_BASE_URL  where openai:NAME is served
      INCONTEXT_OPENAI_API_KEY   key that goes with it
      XDG_CACHE_HOME             models are kept below it, in incontext/models
      HF_ENDPOINT                mirror to fetch models from
      HF_HUB_CACHE, HF_HOME      where other programs may have fetched them already

    `incontext help COMMAND` shows a command's options and examples.
    "#);
    insta::assert_snapshot!(folder.shown(&["ask", "--help"]), @r#"
    exit 0
    -- stdout
    Answer a question from a collection, with citations

    The answer is quoted from the documents or written by a model and held against them sentence by
    sentence. Exit code 3 when nothing relevant is found.

    Usage: incontext ask [OPTIONS] <QUESTION>

    Arguments:
      <QUESTION>
              In quotes, in your own words

    Options:
      -c, --collection <NAME>
              Collection to ask [default: default]

          --where <CONDITION>
              Look only in documents that meet it, such as 'year>=2020'; of several, all must hold

          --answer <ANSWER>
              How the answer comes about

              Possible values:
              - auto:       Generated by a model of a billion parameters or more, or with an adapter
                that `eval qa` found to be better, else extractive
              - extractive: The documents' own sentences
              - generate:   Written by the model and accepted when every sentence is supported, else
                extractive

              [default: auto]

          --model <NAME|PATH>
              Generator: catalogue name, directory, GGUF file, or openai:NAME at an endpoint [default:
              smollm2-135m-instruct]

          --adapter <NAME|DIR>
              Adapter over the model: a name of `incontext adapters list`, or a folder [default: none]

          --base
              The model as it is, whatever adapter the folder uses

          --embedder <NAME|DIR>
              Encoder, if it is not where the collection's was [default: the collection's]

          --prompt <NAME|FILE>
              Prompt template: task/name, or a .j2 file [default: qa/grounded; in chat, chat/grounded]

          --rerank <DIR>
              Cross-encoder that reads the best passages again and orders them [default: none]

          --device <DEVICE>
              Where models of this machine compute [default: cpu]

              Possible values:
              - cpu:   The processor
              - cuda:  A graphics card of NVIDIA's, in a build with `--features cuda`
              - metal: Apple's graphics, in a build with `--features metal`

      -k <K>
              Passages to read [default: 3 for a model below 300M parameters, else 5]

          --pool <FILE>
              Examples to choose demonstrations from: JSON Lines with an input and an answer, gzipped or
              not

          --split <NAME>
              Only rows of --pool whose field `split` says this

          --shots <K>
              Demonstrations to show [default: 4]

          --select <SELECT>
              How they are chosen [default: knn]

              [possible values: none, first, random, balanced, knn, mmr, votek]

          --seed <N>
              What decides a drawn choice [default: 0]

          --json
              Print the answer, its citations and how it came about as JSON

          --show-prompt
              Print the prompt as the model reads it, to stderr

      -h, --help
              Print help (see a summary with '-h')

    With every command:
          --home <DIR>
              Folder for built data [default: `.incontext`, found by walking up as git does]

          --qdrant-url <URL>
              Keep vectors and words on this Qdrant server [default: in the folder for built data]

      -q, --quiet
              Say nothing but results and errors

    Examples:
      # An answer in the documents' own words
      incontext ask "When does the support contract end?"

      # Written by a model of yours, from the collection `papers`
      incontext ask "What is LoRA?" -c papers --model ./models/my-model.gguf --answer generate

      # Written by a model that is shown answered questions like this one
      incontext ask "Who signed it?" --answer generate --pool answered.jsonl --shots 3

      # From what one author wrote
      incontext ask "What do owls eat?" --where author=Lang

      # The files that an answer cites
      incontext ask "Who signed it?" --json | jq -r '.citations[].path'
    "#);
    insta::assert_snapshot!(folder.shown(&["doctor", "-h"]), @r#"
    exit 0
    -- stdout
    Check models, adapters, settings, collections and disk, and say what to do

    Usage: incontext doctor [OPTIONS]

    Options:
          --deep  Also hash every model file again and load the generator, with its adapter
          --json  Print the findings as JSON
      -h, --help  Print help (see more with '--help')

    With every command:
          --home <DIR>        Folder for built data [default: `.incontext`, found by walking up as git
                              does]
          --qdrant-url <URL>  Keep vectors and words on this Qdrant server [default: in the folder for
                              built data]
      -q, --quiet             Say nothing but results and errors
    "#);
}

#[test]
fn help_is_the_same_however_one_asks_for_it() {
    let folder = Folder::new();
    assert_eq!(folder.ok(&["help"]).out, folder.ok(&["--help"]).out);
    for command in COMMANDS {
        let long = folder.ok(&[command, &["--help"]].concat()).out;
        assert_eq!(folder.ok(&[&["help"], command].concat()).out, long, "{command:?}");
        let typed = format!("incontext {}", command.join(" "));
        let (_, examples) = long.split_once("Examples:").unwrap_or_else(|| panic!("{typed}: {long}"));
        assert!(examples.contains(&typed), "{typed}: {long}");
        let short = folder.ok(&[command, &["-h"]].concat()).out;
        assert!(!short.contains("Examples:") && short.lines().count() < long.lines().count(), "{short}");
    }
}

#[test]
fn examples_of_the_help_can_be_typed() {
    // Not run, which would need models and files: read by the same parser, with a flag that ends it early.
    let folder = Folder::new();
    for command in COMMANDS {
        let long = folder.ok(&[command, &["--help"]].concat()).out;
        let (_, examples) = long.split_once("Examples:").unwrap();
        let lines = examples.lines().map(str::trim).filter(|line| line.starts_with("incontext "));
        for line in lines {
            let mut words = shell_words(line);
            words.remove(0);
            words.push("--help".into());
            let ran = folder.run(&words);
            assert_eq!(ran.code, Some(0), "{line}: {ran:#?}");
        }
    }
}

/// The words of the first command as a shell cuts them, for lines without escapes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.trim().chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '|' | '>' | '&') => break,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_shell_gets_its_completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.ok(&["completions", shell]).out;
        for word in ["quickstart", "doctor", "show-prompt"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        // The values of an option are completed where the shell can.
        assert!(script.contains("extractive") || ["elvish", "powershell"].contains(&shell), "{shell}");
    }
    assert_eq!(folder.run(&["completions", "tcsh"]).code, Some(2));
    let script = folder.at("completions.bash");
    fs::write(&script, folder.ok(&["completions", "bash"]).out).unwrap();
    // Where there is a bash, it can read the script.
    if let Ok(read) = std::process::Command::new("bash").arg("-n").arg(&script).output() {
        assert!(read.status.success(), "{read:?}");
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let folder = Folder::new();
    let page = folder.ok(&["man"]).out;
    for part in [".TH incontext 1", ".SH EXAMPLES", ".SH EXIT CODES", ".SH ENVIRONMENT", "INCONTEXT_HOME"] {
        assert!(page.contains(part), "no {part}: {page}");
    }
    folder.ok(&["man", "pages"]);
    let name = |words: &[&str]| format!("incontext-{}.1", words.join("-"));
    let mut expected: BTreeSet<String> = COMMANDS.map(name).into();
    expected.extend(
        ["collections", "models", "prompt", "experiment", "config", "eval", "tune", "rlhf", "adapters"]
            .map(|group| name(&[group])),
    );
    expected.insert("incontext.1".into());
    let entries = fs::read_dir(folder.at("pages")).unwrap();
    let written = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(written.collect::<BTreeSet<_>>(), expected);
    assert_eq!(fs::read_to_string(folder.at("pages/incontext.1")).unwrap(), page);
    assert!(fs::read_to_string(folder.at("pages/incontext-ask.1")).unwrap().contains(".SH EXAMPLES"));
}

#[test]
fn verify_tells_scripts_what_it_tells_people() {
    let folder = Folder::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/bert");
    let (model, reference) = (golden.to_string_lossy(), golden.join("io.safetensors"));
    let reference = reference.to_string_lossy();
    let args = ["verify", "--model", &model, "--reference", &reference];
    let json = folder.ok(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(json["agrees"], true, "{json:#}");
    let checks = json["checks"].as_array().unwrap();
    assert_eq!(checks.len(), folder.ok(&args).out.lines().count());
    assert!(checks.iter().all(|check| check["error"].as_f64() <= check["tolerance"].as_f64()), "{json:#}");
    let strict = folder.run(&[&args[..], &["--json", "--tolerance", "1e-30"]].concat());
    assert_eq!((strict.code, &strict.json()["agrees"]), (Some(1), &Value::Bool(false)));
}

/// The cells of the rows of the table in `page` whose first heading is `first`.
fn table(page: &str, first: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(path).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows = text.lines().skip_while(|line| !line.starts_with(&format!("| {first} |"))).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn the_help_the_guide_and_the_readme_know_the_same_exit_codes() {
    let help = Folder::new().ok(&["--help"]).out;
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let codes: Vec<&str> = codes
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "100", "130"]);
    for page in ["README.md", "docs/getting-started.md"] {
        let rows = table(page, "code");
        assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), codes, "{page}");
    }
}

#[test]
fn the_guide_lists_every_command_that_prints_json_and_every_variable() {
    let folder = Folder::new();
    let documented: BTreeSet<String> = table("docs/configuration.md", "command")
        .iter()
        .flat_map(|row| row[0].split(", "))
        .map(|command| command.trim_matches('`').replace(" --json", ""))
        .collect();
    let has_json =
        |command: &&&[&str]| folder.ok(&[**command, &["--help"][..]].concat()).out.contains("--json");
    let there = COMMANDS.iter().filter(has_json).map(|command| command.join(" ")).collect::<BTreeSet<_>>();
    assert_eq!(there, documented);

    let help = folder.ok(&["--help"]).out;
    let guide =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
    let variables = help.split_whitespace().filter(|word| word.starts_with("INCONTEXT_"));
    for variable in variables {
        assert!(guide.contains(&format!("`{variable}`")), "{variable}");
    }
}
