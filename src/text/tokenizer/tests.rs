use super::*;

/// A BERT tokenizer of a few hundred pieces: every letter alone, as a beginning and as a continuation, and some
/// syllables, so that words cost one to many tokens, as with the real one. Most CJK characters and emoji are unknown.
pub(crate) fn tiny_bert() -> Tokenizer {
    let mut pieces = vec!["[UNK]".to_owned()];
    pieces.extend((b'!'..=b'~').map(|byte| (byte as char).to_string()));
    pieces.extend((b'a'..=b'z').chain(b'0'..=b'9').map(|byte| format!("##{}", byte as char)));
    pieces.extend(
        ["the", "owner", "##ship", "##ing", "al", "##pha", "be", "##ta", "所", "有"].map(str::to_owned),
    );
    let vocab: serde_json::Map<_, _> = pieces.into_iter().zip((0..).map(|id: u32| id.into())).collect();
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true,
            "strip_accents": null,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    });
    let inner = tokenizers::Tokenizer::from_bytes(json.to_string()).expect("a complete tokenizer.json");
    Tokenizer::new(inner, None, Vec::new(), None, false, None)
}

#[test]
fn a_model_with_several_ends_stops_at_each_and_its_layout_has_the_one_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/llama/tokenizer.json");
    fs::copy(golden, folder.path().join("tokenizer.json")).unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    write("generation_config.json", r#"{"eos_token_id": [1, 2]}"#);
    write("config.json", r#"{"eos_token_id": 0, "bos_token_id": 0}"#);
    write("tokenizer_config.json", r#"{"eos_token": {"content": "[SEP]"}}"#);
    write("chat_template.jinja", "{{ messages[0].content }}{{ eos_token }}");
    let tokenizer = Tokenizer::from_dir(folder.path()).unwrap();
    assert_eq!(tokenizer.eos(), [1, 2, 3]);
    assert_eq!(tokenizer.render_chat(&[Message::new("user", "Tea?")]).unwrap(), "Tea?[SEP]");
}

/// What the layouts of Qwen 3 and Gemma 3 ask of the language they are written in.
#[test]
fn the_layouts_of_qwen_and_gemma_are_understood() {
    let mut tokenizer = tiny_bert();
    let mut render = |template: &str| {
        tokenizer.chat_template = Some(template.to_owned());
        let turns = [Message::new("system", " Be brief. "), Message::new("user", "Tea?")];
        tokenizer.render_chat(&turns).unwrap()
    };
    let qwen = "{%- set ns = namespace(last=0) %}{%- for message in messages[::-1] %}\
        {%- set index = (messages|length - 1) - loop.index0 %}{%- set ns.last = index %}{%- endfor %}\
        {%- for message in messages %}{%- if message.content is string %}{{- message.role + ns.last|string }}{%- endif %}\
        {%- endfor %}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think></think>' }}{%- endif %}";
    assert_eq!(render(qwen), "system0user0<think></think>");
    let gemma = "{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + ' ' -%}\
        {%- set rest = messages[1:] -%}{%- endif -%}{%- for message in rest -%}\
        {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('order') }}{%- endif -%}\
        {{ '<start_of_turn>' + message['role'] + ' ' + (first if loop.first else '') }}{{ message['content'] | trim }}\
        {%- endfor -%}";
    assert_eq!(render(gemma), "<start_of_turn>user  Be brief.  Tea?");
}
