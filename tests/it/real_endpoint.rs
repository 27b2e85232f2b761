//! Models behind a server that is not ours.
//!
//! `INCONTEXT_TEST_BASE_URL` names the server, `INCONTEXT_TEST_MODEL` a generator it serves and `INCONTEXT_TEST_EMBEDDER` an
//! encoder. What is not named is skipped, and says so.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use incontext::generate::{Finish, Generator, HttpGenerator, Sampling};
use incontext::openai::Endpoint;
use incontext::text::layout::Layout;
use incontext::text::tokenizer::Message;

use crate::defaults;
use crate::run::Folder;

/// Some servers drop an answer when the next question comes in.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const QUESTION: &str = "How long is green tea steeped?";

/// The server, and the model that `variable` names.
fn served(variable: &str) -> Option<(String, String)> {
    let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let found = named("INCONTEXT_TEST_BASE_URL").zip(named(variable));
    if found.is_none() {
        eprintln!("skipped: INCONTEXT_TEST_BASE_URL and {variable} name no server and model");
    }
    found
}

fn folder(base_url: &str) -> Folder {
    let folder = Folder::with(&[
        ("notes/tea.md", "# Tea\n\nGreen tea is steeped for two minutes. Black tea needs four minutes.\n"),
        ("notes/glass.md", "# Glass\n\nThe furnace runs at 1100 degrees. Cooling takes nine hours.\n"),
    ]);
    folder.write(".incontext/config.toml", &format!("[openai]\nbase_url = \"{base_url}\"\n"));
    folder
}

#[test]
fn a_real_server_streams_and_stops_when_told() {
    let Some((base_url, model)) = served("INCONTEXT_TEST_MODEL") else { return };
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let generator =
        Generator::Http(HttpGenerator::new(&model, Endpoint::new(&base_url, None).unwrap(), 4096));
    let layout = Layout::Chat(vec![Message::new("user", "Count from one to ten, in words.")]);
    let sampling = Sampling { max_tokens: 30, ..Sampling::default() };
    let mut pieces: Vec<String> = Vec::new();
    let whole = generator
        .generate(&layout, &sampling, &mut |piece| {
            pieces.push(piece.to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(pieces.len() > 1, "it came in one piece: {pieces:?}");
    assert_eq!(pieces.concat(), whole.text);
    let cut = generator.generate(&layout, &sampling, &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(cut.finish, Finish::Cancelled);
    assert!(whole.text.starts_with(&cut.text) && cut.text.len() < whole.text.len(), "{cut:?} of {whole:?}");
    // And it can be asked again at once.
    generator.generate(&layout, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
}

#[test]
fn what_a_real_server_writes_is_held_against_the_passages() {
    let Some((base_url, model)) = served("INCONTEXT_TEST_MODEL") else { return };
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if defaults::encoder().is_none() {
        return;
    }
    let folder = folder(&base_url);
    folder.ok(&["ingest", "notes"]);
    let model = format!("openai:{model}");
    let answer = folder.ok(&["ask", QUESTION, "--model", &model, "--answer", "generate", "--json"]).json();
    assert_eq!((&answer["answered"], &answer["model"]), (&true.into(), &model.into()));
    assert!(answer["mode"] == "generate" || answer["fallback"].is_string(), "{answer:#}");
    assert_eq!(answer["citations"][0]["path"], "notes/tea.md");
}

#[test]
fn a_real_server_embeds_a_collection_that_is_then_searched() {
    let Some((base_url, model)) = served("INCONTEXT_TEST_EMBEDDER") else { return };
    if defaults::encoder().is_none() {
        return;
    }
    let folder = folder(&base_url);
    let start = std::time::Instant::now();
    folder.ok(&["ingest", "notes", "--embedder", &format!("openai:{model}")]);
    let found = folder.ok(&["search", QUESTION, "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "notes/tea.md");
    assert!(start.elapsed() < Duration::from_secs(60), "two pages took {:?}", start.elapsed());
}
