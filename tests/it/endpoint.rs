//! Models behind an OpenAI-compatible endpoint, held against a server that misbehaves in one way at a time.

use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::process::Command;
use std::time::{Duration, Instant};

use incontext::Error;
use incontext::embed::{Embedder, HttpEncoder, Overflow};
use incontext::generate::{Completion, Finish, Generator, HttpGenerator, Sampling};
use incontext::openai::{Endpoint, Patience};
use incontext::text::layout::Layout;
use incontext::text::tokenizer::{Message, Tokenizer};
use serde_json::json;

use crate::mock::{Reply, Seen, Server, delta, embeddings, nobody};
use crate::run::{Folder, Ran};
use crate::{defaults, tiny};

fn patience() -> Patience {
    Patience {
        silence: Duration::from_secs(10),
        pause: Duration::from_millis(1),
        tries: 3,
        ..Patience::default()
    }
}

fn generator(url: &str, key: Option<&str>, patience: Patience) -> Generator {
    let mut endpoint = Endpoint::new(url, key).unwrap();
    endpoint.patience = patience;
    Generator::Http(HttpGenerator::new("mock", endpoint, 4096))
}

fn turns() -> Layout {
    Layout::Chat(vec![Message::new("system", "Be brief."), Message::new("user", "Why?")])
}

/// What comes of one question, and what was streamed.
fn asked(generator: &Generator, sampling: &Sampling) -> (incontext::Result<Completion>, String) {
    let mut streamed = String::new();
    let completion = generator.generate(&turns(), sampling, &mut |text| {
        streamed.push_str(text);
        ControlFlow::Continue(())
    });
    (completion, streamed)
}

fn ask(server: &Server) -> (incontext::Result<Completion>, String) {
    asked(&generator(&server.url, None, patience()), &Sampling::default())
}

/// The error of a server that always answers with `reply`, and how often it was asked.
fn refused(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Error, usize) {
    let server = Server::start(move |_, _| reply());
    let (completion, _) = ask(&server);
    (completion.unwrap_err(), server.seen().len())
}

#[test]
fn a_streamed_answer_arrives_in_pieces_and_whole() {
    let server = Server::start(|_, _| Reply::streamed(&["Be", "cause", " it is é."]));
    let sampling = Sampling { max_tokens: 50, stop: vec!["\n\n".into()], ..Sampling::default() };
    let generator = generator(&server.url, Some("sk-1"), patience());
    let (completion, streamed) = asked(&generator, &sampling);
    let completion = completion.unwrap();
    assert_eq!((completion.text.as_str(), streamed.as_str()), ("Because it is é.", "Because it is é."));
    assert_eq!(
        (completion.finish, completion.prompt_tokens, completion.completion_tokens),
        (Finish::Stop, 12, 7)
    );
    let [Seen { path, authorization, body }] = &server.seen()[..] else { panic!("one request") };
    assert_eq!((path.as_str(), authorization.as_deref()), ("/v1/chat/completions", Some("Bearer sk-1")));
    let expected = json!({
        "model": "mock", "max_tokens": 50, "temperature": 0.0, "stop": ["\n\n"], "stream": true,
        "stream_options": { "include_usage": true },
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Why?" }],
    });
    assert_eq!(body, &expected);
    assert_eq!((generator.name(), generator.context(), generator.parameters()), ("openai:mock", 4096, None));
}

#[test]
fn a_server_that_does_not_stream_answers_whole() {
    let server = Server::start(|_, _| {
        let choice =
            json!({ "message": { "role": "assistant", "content": "Because." }, "finish_reason": "length" });
        Reply::json("200 OK", &json!({ "id": "x", "error": null, "choices": [choice] }))
    });
    let (completion, streamed) = ask(&server);
    let completion = completion.unwrap();
    assert_eq!((completion.text.as_str(), streamed.as_str()), ("Because.", "Because."));
    assert_eq!((completion.finish, completion.prompt_tokens), (Finish::Length, 0));
    assert_eq!(server.seen()[0].authorization, None);
}

#[test]
fn a_stop_text_ends_an_answer_of_a_server_that_does_not_heed_it() {
    let server = Server::start(|_, _| Reply::streamed(&["one", " E", "ND", " two"]));
    let sampling = Sampling { stop: vec!["END".into()], ..Sampling::default() };
    let (completion, streamed) = asked(&generator(&server.url, None, patience()), &sampling);
    let completion = completion.unwrap();
    assert_eq!((completion.text.as_str(), streamed.as_str()), ("one ", "one "));
    assert_eq!(completion.finish, Finish::Stop);
}

#[test]
fn whoever_has_enough_hangs_up() {
    let server = Server::start(|_, _| {
        Reply::events((0..5000).map(|_| delta(&"word ".repeat(50)))).pause(Duration::from_millis(2))
    });
    let generator = generator(&server.url, None, patience());
    let mut pieces = 0;
    let completion = generator.generate(&turns(), &Sampling::default(), &mut |_| {
        pieces += 1;
        if pieces == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(completion.unwrap().finish, Finish::Cancelled);
    assert_eq!(pieces, 3);
    std::thread::sleep(Duration::from_millis(300));
    let sent = server.sent();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.sent(), sent, "the server noticed and stopped");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_refusal_is_passed_on_in_the_servers_words_and_not_repeated() {
    let (error, asked) = refused(|| Reply::error("401 Unauthorized", "Incorrect API key provided"));
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.starts_with("`http://127.0.0.1:") && said.contains("/v1/chat/completions`"), "{said}");
    assert!(said.ends_with("answered 401 Unauthorized: Incorrect API key provided"), "{said}");
    assert!(error.advice().unwrap().contains("OPENAI_API_KEY"));
    assert_eq!(asked, 1);

    let (error, asked) = refused(|| Reply::error("404 Not Found", "model \"mock\" not found"));
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    assert!(error.to_string().ends_with("404 Not Found: model \"mock\" not found"), "{error}");
    assert!(error.advice().unwrap().contains("/v1/models"));
    assert_eq!(asked, 1);

    let (error, asked) = refused(|| Reply::error("400 Bad Request", "messages: too few"));
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    assert_eq!(asked, 1);

    let away = || Reply::error("307 Temporary Redirect", "").header("Location: http://127.0.0.1:9/elsewhere");
    let (error, asked) = refused(away);
    assert!(error.to_string().contains("moved to http://127.0.0.1:9/elsewhere"), "{error}");
    assert_eq!(asked, 1);
}

#[test]
fn a_busy_server_is_asked_again_when_it_said() {
    let server = Server::start(|_, before| match before {
        0 => Reply::error("429 Too Many Requests", "slow down").header("Retry-After: 1"),
        _ => Reply::streamed(&["Because."]),
    });
    let start = Instant::now();
    assert_eq!(ask(&server).0.unwrap().text, "Because.");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen().len(), 2);

    let later = || Reply::error("429 Too Many Requests", "slow down").header("Retry-After: 86400");
    let (error, asked) = refused(later);
    assert!(matches!(error, Error::Transient(_)), "{error:?}");
    assert!(
        error.to_string().starts_with("given up after 1 attempt, being told to wait 86400s: "),
        "{error}"
    );
    assert_eq!(asked, 1);
}

#[test]
fn a_server_that_keeps_failing_is_given_up() {
    let (error, asked) = refused(|| Reply::error("500 Internal Server Error", "out of memory"));
    assert!(matches!(error, Error::Transient(_)), "{error:?}");
    assert!(error.to_string().starts_with("given up after 3 attempts: "), "{error}");
    assert!(error.to_string().ends_with("500 Internal Server Error: out of memory"), "{error}");
    assert_eq!(asked, 3);
}

#[test]
fn a_connection_that_breaks_before_the_first_word_is_made_again() {
    let server = Server::start(|_, before| match before {
        0 => Reply::hang_up(),
        1 => Reply::events(Vec::<String>::new()),
        _ => Reply::streamed(&["Because."]),
    });
    assert_eq!(ask(&server).0.unwrap().text, "Because.");
    assert_eq!(server.seen().len(), 3);
    let server = Server::start(|_, before| match before {
        0 => Reply::events(["[DONE]"]),
        _ => Reply::streamed(&["Because."]),
    });
    assert_eq!(ask(&server).0.unwrap().text, "Because.");
}

#[test]
fn half_an_answer_is_no_answer_and_is_not_begun_again() {
    let half = || Reply::events([delta("Half "), delta("an")]);
    let ends: [fn(Reply) -> Reply; 4] = [
        |half| half,
        // What llama-cpp-python does when another request comes in.
        |half| half.and("data: [DONE]\n\n"),
        |half| half.and("data: {\"choices\": [{\"del"),
        |half| half.header("Content-Length: 99999"),
    ];
    for end in ends {
        let server = Server::start(move |_, _| end(half()));
        let (completion, streamed) = ask(&server);
        let error = completion.unwrap_err();
        assert!(matches!(error, Error::Transient(_)), "{error:?}");
        assert!(error.to_string().contains("broke off in the middle of the answer"), "{error}");
        assert_eq!((streamed.as_str(), server.seen().len()), ("Half an", 1));
    }
}

#[test]
fn whatever_is_no_answer_is_an_error_that_says_what_it_is() {
    type Make = fn() -> Reply;
    let cases: [(Make, &str); 13] = [
        (|| Reply::raw("application/json", "{\"choices\": ["), "no JSON: {\"choices\": ["),
        (|| Reply::raw("text/plain", "hello there"), "no JSON: hello there"),
        (|| Reply::raw("text/html", "<!DOCTYPE html><html>"), "a web page"),
        (|| Reply::raw("application/json", ""), "answered with nothing"),
        (|| Reply::raw("application/json", "[1, 2]"), "other JSON than asked"),
        (|| Reply::raw("application/json", "{\"choices\": 7}"), "other JSON than asked"),
        (|| Reply::json("200 OK", &json!({ "choices": [] })), "without a choice"),
        (
            || Reply::json("200 OK", &json!({ "choices": [{ "message": { "content": "" } }] })),
            "wrote nothing",
        ),
        (|| Reply::streamed(&[]), "wrote nothing"),
        (
            || {
                let end = json!({ "choices": [{ "delta": { "content": null }, "finish_reason": "length" }] });
                Reply::events([end.to_string(), "[DONE]".to_owned()])
            },
            "wrote nothing before its tokens ran out",
        ),
        (|| Reply::events(["{\"id\": 3", "[DONE]"]), "no JSON: {\"id\": 3"),
        (|| Reply::events(["{\"error\": {\"message\": \"overloaded\"}}"]), "gave up: overloaded"),
        (|| Reply::raw("application/json", "{\"error\": \"no GPU\"}"), "gave up: no GPU"),
    ];
    for (reply, expected) in cases {
        let (error, asked) = refused(reply);
        assert!(error.to_string().contains(expected), "{error} (expected: {expected})");
        assert!(error.to_string().contains("/v1/chat/completions`"), "{error}");
        assert!(error.advice().is_some(), "{error}");
        assert_eq!(asked, 1, "{error}");
    }
}

#[test]
fn nobody_there_is_said_at_once() {
    let slow = Patience { pause: Duration::from_secs(60), ..patience() };
    let start = Instant::now();
    let (completion, _) = asked(&generator(&nobody(), None, slow), &Sampling::default());
    let error = completion.unwrap_err();
    assert!(matches!(error, Error::Transient(_)), "{error:?}");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(error.advice().unwrap().contains("OPENAI_BASE_URL"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn silence_is_waited_through_once_and_no_longer_than_told() {
    let stall = Duration::from_secs(3);
    let quick = Patience { silence: Duration::from_millis(300), ..patience() };
    let never_begins: fn() -> Reply = || Reply::raw("application/json", "x").pause(Duration::from_secs(3));
    let stops: fn() -> Reply = || Reply::events([delta("Half")]).stall(Duration::from_secs(3));
    for reply in [never_begins, stops] {
        let server = Server::start(move |_, _| reply());
        let start = Instant::now();
        let (completion, _) = asked(&generator(&server.url, None, quick), &Sampling::default());
        let error = completion.unwrap_err();
        assert!(matches!(error, Error::Transient(_)), "{error:?}");
        assert!(error.to_string().contains("silent for 300ms"), "{error}");
        assert!(start.elapsed() < stall, "{:?}", start.elapsed());
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn keeping_the_line_open_is_not_talking() {
    let server = Server::start(|_, _| {
        let mut reply = Reply::raw("text/event-stream", ": ping\n\n");
        for _ in 0..100 {
            reply = reply.and(": ping\n\n");
        }
        reply.pause(Duration::from_millis(50))
    });
    let quick = Patience { silence: Duration::from_millis(300), ..patience() };
    let start = Instant::now();
    let error = asked(&generator(&server.url, None, quick), &Sampling::default()).0.unwrap_err();
    assert!(error.to_string().contains("silent for 300ms"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_setting_the_server_does_not_know_is_left_out_or_renamed() {
    let server = Server::start(|seen, _| {
        let complaint = |words: &str| Reply::error("400 Bad Request", words);
        match &seen.body {
            body if body.get("stream_options").is_some() => complaint("extra_forbidden: stream_options"),
            body if body.get("max_tokens").is_some() => complaint(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            ),
            body if body.get("temperature").is_some() => {
                complaint("Unsupported value: 'temperature' does not support 0 with this model.")
            }
            _ => Reply::streamed(&["Because."]),
        }
    });
    assert_eq!(ask(&server).0.unwrap().text, "Because.");
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    let last = &seen[3].body;
    assert_eq!(last["max_completion_tokens"], 64);
    assert!(last.get("max_tokens").is_none() && last.get("temperature").is_none());
}

fn encoder(url: &str, dimension: Option<usize>) -> incontext::Result<Embedder> {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::from_dir(&tiny::encoder(folder.path(), 0)).unwrap();
    let mut endpoint = Endpoint::new(url, None).unwrap();
    endpoint.patience = patience();
    Ok(Embedder::Http(Box::new(HttpEncoder::new("mock", endpoint, tokenizer, 64, dimension)?)))
}

#[test]
fn texts_become_unit_vectors_in_their_own_order_over_several_requests() {
    let server = Server::start(|seen, _| embeddings(seen, 24));
    let encoder = encoder(&server.url, None).unwrap();
    assert_eq!((encoder.dimension(), encoder.window(), encoder.name()), (24, 64, "openai:mock"));
    let texts: Vec<String> = (0..150).map(|i| format!("{} {}", tiny::word(i), tiny::word(i * 7))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = encoder.embed(&texts, Overflow::Refuse).unwrap();
    assert_eq!(vectors.len(), 150);
    for (text, vector) in texts.iter().zip(&vectors) {
        assert_eq!(&encoder.embed(&[text], Overflow::Refuse).unwrap()[0], vector);
        assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let sizes: Vec<usize> =
        server.seen()[..4].iter().map(|seen| seen.body["input"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1, 64, 64, 22], "one to learn the length, then batches");
    assert_eq!(server.seen()[0].path, "/v1/embeddings");
    assert!(encoder.embed(&[], Overflow::Refuse).unwrap().is_empty());
}

#[test]
fn vectors_of_another_number_or_length_are_refused() {
    let server = Server::start(|seen, _| embeddings(seen, 24));
    let error = encoder(&server.url, Some(25)).unwrap().embed(&["tea"], Overflow::Refuse).unwrap_err();
    assert!(error.to_string().contains("24 numbers, where others have 25"), "{error}");

    let one = || Reply::json("200 OK", &json!({ "data": [{ "embedding": [1.0, 2.0] }] }));
    let server = Server::start(move |_, _| one());
    let error = encoder(&server.url, Some(2)).unwrap().embed(&["a", "b"], Overflow::Refuse).unwrap_err();
    assert!(error.to_string().contains("1 vectors for 2 texts"), "{error}");

    let server = Server::start(|_, _| Reply::json("200 OK", &json!({ "data": [{ "embedding": [] }] })));
    let error = encoder(&server.url, None).err().expect("no length");
    assert!(error.to_string().contains("empty vectors"), "{error}");

    let error = encoder(&nobody(), None).err().expect("nobody");
    assert!(matches!(error, Error::Transient(_)), "{error:?}");
}

/// What comes of a request for vectors that is always answered with `reply`, and how often it was asked.
fn refused_vectors(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Error, usize) {
    let server = Server::start(move |_, _| reply());
    let error = encoder(&server.url, Some(24)).unwrap().embed(&["tea"], Overflow::Refuse).unwrap_err();
    (error, server.seen().len())
}

#[test]
fn vectors_fail_in_the_same_words_as_answers() {
    type Make = fn() -> Reply;
    let cases: [(Make, &str, usize); 14] = [
        (
            || Reply::raw("application/json", "{\"data\": [{\"embedding\": [[1.0, 2.0], [3.0, 4.0]]}]}"),
            "gives a vector for each token instead of one for the text",
            1,
        ),
        (|| Reply::error("401 Unauthorized", "who are you?"), "answered 401 Unauthorized: who are you?", 1),
        (|| Reply::error("404 Not Found", "no such model"), "answered 404 Not Found: no such model", 1),
        (|| Reply::error("429 Too Many Requests", "slow down"), "given up after 3 attempts: ", 3),
        (
            || Reply::error("429 Too Many Requests", "slow down").header("Retry-After: 86400"),
            "given up after 1 attempt, being told to wait 86400s: ",
            1,
        ),
        (|| Reply::error("500 Internal Server Error", "oh"), "given up after 3 attempts: ", 3),
        (Reply::hang_up, "given up after 3 attempts: ", 3),
        (|| Reply::raw("text/plain", "hello there"), "no JSON: hello there", 1),
        (|| Reply::raw("text/html", "<html>"), "a web page", 1),
        (|| Reply::raw("application/json", ""), "answered with nothing", 1),
        (|| Reply::raw("application/json", "{\"data\": [{\"embed"), "no JSON: ", 1),
        (
            || Reply::raw("application/json", "{\"data\": [").header("Content-Length: 999"),
            "given up after 3",
            3,
        ),
        (
            || Reply::raw("application/json", "{\"data\": [{\"embedding\": [null]}]}"),
            "other JSON than asked",
            1,
        ),
        (|| Reply::raw("application/json", "{\"data\": [{\"embedding\": [1e999]}]}"), "no JSON", 1),
    ];
    for (reply, expected, times) in cases {
        let (error, asked) = refused_vectors(reply);
        assert!(error.to_string().contains(expected), "{error} (expected: {expected})");
        assert!(error.to_string().contains("/v1/embeddings`"), "{error}");
        assert!(error.advice().is_some(), "{error}");
        assert_eq!(asked, times, "{error}");
    }
}

#[test]
fn a_busy_server_of_vectors_is_asked_again_and_a_silent_one_is_not() {
    let server = Server::start(|seen, before| match before {
        0 => Reply::error("429 Too Many Requests", "slow down").header("Retry-After: 1"),
        1 => Reply::error("503 Service Unavailable", "loading"),
        _ => embeddings(seen, 24),
    });
    let start = Instant::now();
    encoder(&server.url, Some(24)).unwrap().embed(&["tea"], Overflow::Refuse).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen().len(), 3);

    let server = Server::start(|_, _| Reply::raw("application/json", "x").pause(Duration::from_secs(3)));
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::from_dir(&tiny::encoder(folder.path(), 0)).unwrap();
    let mut endpoint = Endpoint::new(&server.url, None).unwrap();
    endpoint.patience = Patience { silence: Duration::from_millis(300), ..patience() };
    let error = HttpEncoder::new("mock", endpoint, tokenizer, 64, None).err().expect("no vector");
    assert!(error.to_string().contains("silent for 300ms"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn an_endpoint_that_fails_in_the_middle_of_an_ingest_costs_nothing_that_was_finished() {
    let server = Server::start(|seen, before| match before {
        // Behind the first batch and before the last.
        9 => Reply::error("401 Unauthorized", "expired"),
        _ => embeddings(seen, 96),
    });
    if defaults::encoder().is_none() {
        return;
    }
    let folder = Folder::with(&[("notes/tea.md", TEA)]);
    for document in 0..80 {
        let words: Vec<String> = (0..600).map(|at| tiny::word(document * 7 + at * (1 + at % 5))).collect();
        folder.write(&format!("notes/z{document:02}.txt"), &words.join(" "));
    }
    folder.write(".incontext/config.toml", &format!("[openai]\nbase_url = \"{}\"\n", server.url));
    let ran = folder.run(&["ingest", "notes", "--embedder", "openai:mock"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("/v1/embeddings` answered 401 Unauthorized: expired"), "{ran:#?}");
    let documents =
        || folder.ok(&["collections", "show", "--json"]).json()["stats"]["documents"].as_u64().unwrap();
    assert!((1..81).contains(&documents()), "{}", documents());
    let found = folder.ok(&["search", "How long is green tea steeped?", "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "notes/tea.md");
    folder.ok(&["ingest", "notes"]);
    assert_eq!(documents(), 81);
}

const TEA: &str = "# Tea\n\nGreen tea is steeped for two minutes. Black tea needs four minutes in the pot.\n";
const GLASS: &str = "# Glass\n\nThe furnace runs at 1100 degrees. Cooling takes nine hours.\n";

/// A folder whose collection an endpoint has embedded, if the tokenizer that counts for it can be had.
fn served(server: &Server) -> Option<Folder> {
    defaults::encoder()?;
    let folder = Folder::with(&[("notes/tea.md", TEA), ("notes/glass.md", GLASS)]);
    folder.write(".incontext/config.toml", &format!("[openai]\nbase_url = \"{}\"\n", server.url));
    folder.ok(&["ingest", "notes", "--embedder", "openai:mock"]);
    Some(folder)
}

/// Embeds, and answers every question with `text`.
fn server(text: &'static str) -> Server {
    Server::start(move |seen, _| match seen.path.as_str() {
        "/v1/embeddings" => embeddings(seen, 96),
        _ => Reply::streamed(&[text]),
    })
}

#[test]
fn a_collection_embedded_by_an_endpoint_is_searched_through_it() {
    let server = server("");
    let Some(folder) = served(&server) else { return };
    let before = server.seen().len();
    let found = folder.ok(&["search", "How long is green tea steeped?", "--mode", "dense", "--json"]).json();
    assert_eq!(found["hits"][0]["path"], "notes/tea.md");
    assert_eq!(server.seen().len(), before + 1, "the question, and nothing to learn a length");
    let shown = folder.ok(&["collections", "show", "--json"]).json();
    assert_eq!(shown["profile"]["embedder"]["name"], "openai:mock");
    assert_eq!(shown["profile"]["embedder"]["dimension"], 96);
    assert!(folder.ok(&["ingest", "notes"]).out.starts_with("added 0 updated 0 unchanged 2 "));

    let elsewhere = nobody();
    let ran =
        Ran::of(folder.command(&["search", "tea"]).env("OPENAI_BASE_URL", &elsewhere).output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("the same name at another address is another encoder"), "{ran:#?}");
}

#[test]
fn what_an_endpoint_writes_is_held_against_the_passages() {
    let question = "How long is green tea steeped?";
    let ask = ["ask", question, "--model", "openai:mock", "--answer", "generate", "--json"];
    let grounded = server("Green tea is steeped for two minutes.");
    let Some(folder) = served(&grounded) else { return };
    let answer = folder.ok(&ask).json();
    assert_eq!(answer["answer"], "Green tea is steeped for two minutes. [1]");
    assert_eq!((&answer["mode"], &answer["model"]), (&json!("generate"), &json!("openai:mock")));
    assert_eq!(answer["tokens"], json!({ "prompt": 12, "completion": 7 }));
    assert_eq!(answer["citations"][0]["path"], "notes/tea.md");
    let seen = grounded.seen();
    let turns = seen.last().unwrap().body["messages"].as_array().unwrap().clone();
    assert_eq!(turns[0]["role"], "system");
    assert!(turns.last().unwrap()["content"].as_str().unwrap().contains(question));

    let invented = server("Green tea was brought to Paris by Napoleon in 1804.");
    let Some(folder) = served(&invented) else { return };
    let answer = folder.ok(&ask).json();
    assert_eq!((&answer["mode"], &answer["answered"]), (&json!("extractive"), &json!(true)));
    assert!(answer["fallback"].as_str().unwrap().starts_with("no passage supports"), "{answer}");
    assert!(
        answer["answer"].as_str().unwrap().starts_with("Green tea is steeped for two minutes."),
        "{answer}"
    );
    // Naming a model of an endpoint is asking for it: `auto` has it write as well.
    let auto = folder.ok(&["ask", question, "--model", "openai:mock", "--json"]).json();
    assert_eq!(auto["model"], "openai:mock");
}

#[test]
fn an_endpoint_that_fails_ends_the_command_with_a_reason_and_a_hint() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/v1/embeddings" => embeddings(seen, 96),
        _ if seen.authorization.as_deref() == Some("Bearer open") => {
            Reply::streamed(&["Green tea."]).stall(Duration::from_secs(5)).pause(Duration::from_secs(5))
        }
        _ => Reply::error("401 Unauthorized", "who are you?"),
    });
    let Some(folder) = served(&server) else { return };
    let ask = ["ask", "How long is green tea steeped?", "--model", "openai:mock", "--answer", "generate"];
    let ran = folder.run(&ask);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:#?}");
    assert!(ran.err.contains("answered 401 Unauthorized: who are you?"), "{ran:#?}");
    assert!(ran.err.contains("hint: no key was sent"), "{ran:#?}");

    let config = format!("[openai]\nbase_url = \"{}\"\napi_key_env = \"THE_KEY\"\ntimeout = 1\n", server.url);
    folder.write(".incontext/config.toml", &config);
    let ran = folder.run(&ask);
    assert!(ran.err.contains("`api_key_env` in config.toml names is not set"), "{ran:#?}");
    let ran = Ran::of(folder.command(&ask).env("THE_KEY", "open").output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("silent for 1s"), "{ran:#?}");
    let ran = Ran::of(folder.command(&ask).env("OPENAI_BASE_URL", "ftp://x").output().unwrap());
    assert!(ran.err.contains("no http:// or https:// address"), "{ran:#?}");
    let mut far = folder.command(&ask);
    far.env("OPENAI_BASE_URL", "https://models.example.com/v1").env("INCONTEXT_OFFLINE", "1");
    let ran = Ran::of(far.output().unwrap());
    assert!(ran.err.contains("is not on this machine, and INCONTEXT_OFFLINE is set"), "{ran:#?}");
    let ran = folder.run(&["ask", "x", "--model", "openai:", "--answer", "generate"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
}

/// Ctrl-C seemed to do nothing while a server kept silent.
#[cfg(unix)]
#[test]
fn ctrl_c_while_an_endpoint_is_silent_is_answered_and_obeyed_the_second_time() {
    if defaults::encoder().is_none() {
        return;
    }
    let server = Server::start(|seen, before| match before {
        0 => embeddings(seen, 24),
        _ => Reply::raw("application/json", "x").pause(Duration::from_secs(60)),
    });
    let folder = Folder::with(&[("notes/tea.md", TEA)]);
    folder.write(".incontext/config.toml", &format!("[openai]\nbase_url = \"{}\"\n", server.url));
    let mut child = folder.command(&["ingest", "notes", "--embedder", "openai:mock"]).spawn().unwrap();
    let id = child.id().to_string();
    let press = || assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    while server.seen().len() < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    press();
    let mut said = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "stopping behind what is being embedded; Ctrl-C again stops at once\n");
    press();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
