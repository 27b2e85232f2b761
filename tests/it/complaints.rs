//! What goes wrong, and what people are told to do about it. Exit code 1, nothing on stdout, a hint where there is one.

use crate::run::Folder;
use crate::tiny;

fn folder() -> Folder {
    let folder = Folder::with(&[("notes/a.md", "# Tea\n\nGreen tea.")]);
    tiny::encoder(&folder.at("tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    folder
}

fn ingested() -> Folder {
    let folder = folder();
    folder.ok(&["ingest", "notes", "--profile", "profile.toml", "--embedder", "./tiny"]);
    folder
}

#[test]
fn a_collection_that_is_not_there() {
    insta::assert_snapshot!(folder().shown(&["ask", "anything?"]), @r#"
    exit 1
    -- stderr
    error: there is no collection `default`
    hint: make it with `incontext ingest PATH -c default`
    "#);
    insta::assert_snapshot!(ingested().shown(&["search", "tea", "-c", "other"]), @r#"
    exit 1
    -- stderr
    error: there is no collection `other`
    hint: collections here: default; or make it with `incontext ingest PATH -c other`
    "#);
    insta::assert_snapshot!(ingested().shown(&["search", "tea", "-c", "defualt"]), @r#"
    exit 1
    -- stderr
    error: there is no collection `defualt`
    hint: did you mean `default`? Or make it with `incontext ingest PATH -c defualt`
    "#);
    insta::assert_snapshot!(folder().shown(&["search", "tea", "-c", "../x"]), @r#"
    exit 1
    -- stderr
    error: `../x` cannot name a collection
    hint: up to 64 of a-z A-Z 0-9 - _ . and a letter or digit first
    "#);
}

#[test]
fn a_model_that_is_not_there() {
    let folder = ingested();
    insta::assert_snapshot!(folder.shown(&["models", "path", "smollm-135m-instruct"]), @r#"
    exit 1
    -- stderr
    error: no model is called `smollm-135m-instruct`; there are `all-minilm-l6-v2`, `smollm2-135m-instruct`
    hint: did you mean `smollm2-135m-instruct`?
    "#);
    insta::assert_snapshot!(folder.shown(&["ask", "tea?", "--model", "smolm2-135m-instruct", "--answer", "generate"]), @r#"
    exit 1
    -- stderr
    error: no model is called `smolm2-135m-instruct`; there are `all-minilm-l6-v2`, `smollm2-135m-instruct`
    hint: did you mean `smollm2-135m-instruct`?
    "#);
    insta::assert_snapshot!(folder.shown(&["ingest", "notes", "--embedder", "./nowhere"]), @r#"
    exit 1
    -- stderr
    error: no file or directory `./nowhere`
    hint: check the path, or name one of `all-minilm-l6-v2`, `smollm2-135m-instruct`
    "#);
    insta::assert_snapshot!(folder.shown(&["ingest", "notes", "--embedder", "notes"]), @r#"
    exit 1
    -- stderr
    error: `notes` has neither config.json nor *.safetensors: not a model directory
    hint: a model directory has config.json, *.safetensors and tokenizer.json
    "#);
}

#[test]
fn a_path_that_is_not_there() {
    let folder = folder();
    insta::assert_snapshot!(folder.shown(&["ingest", "nots", "--profile", "profile.toml", "--embedder", "tiny"]), @r#"
    exit 1
    -- stderr
    error: `nots` does not exist
    hint: give files or folders, relative to the current folder or absolute
    "#);
    assert!(!folder.at(".incontext/collections/default").exists(), "nothing was made");
}

#[test]
fn another_embedder_than_the_collection_was_built_with() {
    let folder = ingested();
    tiny::encoder(&folder.at("other"), 100);
    let shown = folder.shown(&["ingest", "notes", "--embedder", "./other"]);
    insta::assert_snapshot!(without_fingerprints(&shown), @r#"
    exit 1
    -- stderr
    error: the collection was built with embedder `[HERE]/tiny` (48 dimensions, fingerprint #), not with `[HERE]/other` (48 dimensions, fingerprint #)
    hint: build it anew with `incontext ingest PATH --rebuild`, or keep a second collection with `-c NAME`
    "#);
    insta::assert_snapshot!(without_fingerprints(&folder.shown(&["search", "tea", "--embedder", "./other"])), @r#"
    exit 1
    -- stderr
    error: the collection was built with the encoder `[HERE]/tiny` (fingerprint #), not with `[HERE]/other` (fingerprint #)
    hint: give the right one with --embedder, or build anew with `incontext ingest PATH --rebuild`
    "#);
    folder.ok(&["ingest", "notes", "--embedder", "./other", "--rebuild"]);
    folder.ok(&["search", "tea"]);
    std::fs::rename(folder.at("other"), folder.at("moved")).unwrap();
    assert_eq!(folder.run(&["search", "tea"]).code, Some(1));
    folder.ok(&["search", "tea", "--embedder", "./moved"]);
}

/// Weights decide the fingerprint; they are the same bytes everywhere, but the tokenizer's JSON may be written otherwise.
fn without_fingerprints(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        if words[at - 1].ends_with("fingerprint") {
            let kept: String = words[at].chars().skip_while(char::is_ascii_hexdigit).collect();
            words[at] = format!("#{kept}");
        }
    }
    words.join(" ")
}

#[test]
fn another_chunker_than_the_collection_was_built_with() {
    let folder = ingested();
    folder.write("profile.toml", &tiny::PROFILE.replace("body = 40", "body = 30"));
    insta::assert_snapshot!(folder.shown(&["ingest", "notes", "--profile", "profile.toml", "--embedder", "./tiny"]), @r#"
    exit 1
    -- stderr
    error: the collection was built with chunker (body 40, max_body 46, header 12, total 60, min 8, overlap 6), not with (body 30, max_body 46, header 12, total 60, min 8, overlap 6)
    hint: build it anew with `incontext ingest PATH --rebuild`, or keep a second collection with `-c NAME`
    "#);
}

#[test]
fn chunks_that_the_encoder_cannot_read_whole() {
    insta::assert_snapshot!(folder().shown(&["ingest", "notes", "--embedder", "./tiny"]), @r#"
    exit 1
    -- stderr
    error: the profile allows chunks of 254 tokens, the encoder `[HERE]/tiny` reads 64 at most, 2 of them its own
    hint: lower `total`, `max_body` and `body` in the index profile
    "#);
}

#[test]
fn settings_that_cannot_be_read() {
    let folder = ingested();
    folder.write("profile.toml", "[chunker]\nbody = \"long\"\n");
    insta::assert_snapshot!(folder.shown(&["ingest", "notes", "--profile", "profile.toml"]), @r#"
    exit 1
    -- stderr
    error: `profile.toml`: not an index profile: TOML parse error at line 2, column 8
      |
    2 | body = "long"
      |        ^^^^^^
    invalid type: string "long", expected usize
    hint: `index/default.toml` lists every field
    "#);
    insta::assert_snapshot!(folder.shown(&["ingest", "notes", "--profile", "none.toml"]), @r#"
    exit 1
    -- stderr
    error: cannot read `none.toml`: No such file or directory (os error 2)
    "#);
    folder.write(".incontext/config.toml", "embeder = \"x\"\n");
    insta::assert_snapshot!(folder.shown(&["search", "tea"]), @r#"
    exit 1
    -- stderr
    error: `[HERE]/.incontext/config.toml`: TOML parse error at line 1, column 1
      |
    1 | embeder = "x"
      | ^^^^^^^
    unknown field `embeder`, expected one of `collection`, `embedder`, `model`, `adapter`, `prompt`, `rerank`, `device`, `qdrant_url`, `openai`
    hint: keys: collection, embedder, model, adapter, prompt, rerank, device, qdrant_url; under [openai]: base_url, api_key_env, context, window, timeout
    "#);
}

#[test]
fn settings_that_are_no_toml_are_told_where() {
    let folder = ingested();
    folder.write(".incontext/config.toml", "collection = \"default\"\nmodel = big.gguf\n");
    insta::assert_snapshot!(folder.shown(&["search", "tea"]), @r#"
    exit 1
    -- stderr
    error: `[HERE]/.incontext/config.toml`: TOML parse error at line 2, column 9
      |
    2 | model = big.gguf
      |         ^^^^^^^^
    string values must be quoted, expected literal string
    hint: a line is KEY = "VALUE", in quotes; look at line 2, column 9
    "#);
}

#[test]
fn a_prompt_that_cannot_be_read() {
    let folder = ingested();
    let ask = |prompt: &str| folder.shown(&["ask", "tea?", "--prompt", prompt]);
    insta::assert_snapshot!(ask("qa/none"), @r#"
    exit 1
    -- stderr
    error: no template `qa/none`
    hint: there are: chat/grounded, chat/standalone, classify/chat, classify/plain, extract/json, generate/chat, generate/plain, optimise/propose, qa/fewshot, qa/grounded, qa/plain, translate/chat, translate/plain
    "#);
    insta::assert_snapshot!(ask("none.j2"), @r#"
    exit 1
    -- stderr
    error: cannot read `none.j2`: No such file or directory (os error 2)
    "#);
    folder.write(
        "broken.j2",
        "+++\nname = \"broken\"\ntask = \"qa\"\ninputs = [\"question\", \"passages\"]\n+++\n{{ question \n",
    );
    insta::assert_snapshot!(ask("broken.j2"), @r#"
    exit 1
    -- stderr
    error: template `broken.j2` line 6: unexpected end of input, expected end of variable block
    "#);
    folder.write("headless.j2", "{{ question }}\n");
    insta::assert_snapshot!(ask("headless.j2"), @r#"
    exit 1
    -- stderr
    error: template `headless.j2` has no front matter
    hint: begin with TOML between two lines `+++`, at least `name`, `task` and `inputs`
    "#);
}

#[test]
fn a_question_without_words() {
    insta::assert_snapshot!(ingested().shown(&["search", "?!"]), @r#"
    exit 1
    -- stderr
    error: the question is empty
    hint: ask in words
    "#);
}

fn golden(family: &str) -> String {
    format!("{}/tests/golden/tiny/{family}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn verify_exits_with_0_when_numbers_agree_and_with_1_when_not() {
    let folder = Folder::new();
    for family in ["llama", "llama_untied", "bert"] {
        let (model, reference) = (golden(family), format!("{}/io.safetensors", golden(family)));
        let ran = folder.ok(&["verify", "--model", &model, "--reference", &reference]);
        assert!(
            ran.out.lines().all(|line| line.starts_with("ok ")) && ran.out.lines().count() > 25,
            "{ran:#?}"
        );
        assert!(ran.err.starts_with("all ") && ran.err.ends_with(" quantities agree\n"), "{ran:#?}");
    }
    let other = format!("{}/io.safetensors", golden("llama_untied"));
    let ran = folder.run(&["verify", "--model", &golden("llama"), "--reference", &other]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(
        ran.out.lines().any(|line| line.starts_with("FAIL")) && ran.err.contains(" quantities differ"),
        "{ran:#?}"
    );
    let own = format!("{}/io.safetensors", golden("bert"));
    let ran =
        folder.run(&["verify", "--model", &golden("bert"), "--reference", &own, "--tolerance", "1e-30"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
}

#[test]
fn verify_without_a_reference_or_a_model() {
    let folder = Folder::new();
    let ran = folder.shown(&["verify", "--model", &golden("bert"), "--reference", "none.safetensors"]);
    insta::assert_snapshot!(ran, @r#"
    exit 1
    -- stderr
    error: reference `none.safetensors` does not exist
    hint: a safetensors file with input_ids, attention_mask and logits, hidden, loss or grad.* of the reference
    "#);
    folder.write("text.safetensors", "hello");
    let ran = folder.run(&["verify", "--model", &golden("bert"), "--reference", "text.safetensors"]);
    assert!(ran.code == Some(1) && ran.err.starts_with("error: `text.safetensors`: "), "{ran:#?}");
    let reference = format!("{}/io.safetensors", golden("bert"));
    insta::assert_snapshot!(folder.shown(&["verify", "--model", "./none", "--reference", &reference]), @r#"
    exit 1
    -- stderr
    error: no file or directory `./none`
    hint: check the path, or name one of `all-minilm-l6-v2`, `smollm2-135m-instruct`
    "#);
}
