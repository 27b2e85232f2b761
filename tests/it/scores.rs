//! Labels scored in one pass equal labels scored one by one, whatever is shared.

use std::ops::ControlFlow;

use candle_core::{D, Device, Tensor};
use incontext::Error;
use incontext::adapters::{AdapterConfig, Prefix, SoftPrompt, Start};
use incontext::generate::{Generator, Head, HttpGenerator, LocalGenerator, Sampling, Scored, Scripted};
use incontext::models::{Batch, Model};
use incontext::nn::{Pass, Precision};
use incontext::openai::Endpoint;
use incontext::text::layout::Layout;

use crate::golden::{DECODERS, tiny};
use crate::tiny::word;

fn local(family: &str, precision: Precision) -> LocalGenerator {
    LocalGenerator::load(family, &tiny(family), &Device::Cpu, precision).unwrap()
}

fn generator(family: &str) -> Generator {
    Generator::Local(Box::new(local(family, Precision::Int8)))
}

fn text(words: impl IntoIterator<Item = usize>) -> String {
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

fn layout(words: impl IntoIterator<Item = usize>) -> Layout {
    Layout::Text(text(words))
}

/// Of one token and of more, two that begin alike, one within another.
fn labels() -> Vec<String> {
    [&[3][..], &[4, 5], &[4, 5, 6, 7], &[4, 9, 1], &[200], &[8, 8]]
        .map(|words| text(words.iter().copied()))
        .into()
}

/// One whole forward pass a label, in floats.
fn one_by_one(family: &str, prompt: &str, labels: &[String]) -> Vec<f64> {
    let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
    let encode = |text: &str| model.tokenizer.as_ref().unwrap().encode(text, false).unwrap();
    let context = encode(prompt).len();
    let score = |label: &String| {
        let ids = encode(&format!("{prompt} {label}"));
        let hidden = model.transformer.forward(&Batch::single(&ids[..ids.len() - 1]), Pass::bare()).unwrap();
        let logits = model.transformer.logits(&hidden).unwrap();
        let all = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
        let next = Tensor::new(&ids[1..], &Device::Cpu).unwrap().unsqueeze(1).unwrap();
        let each = all.gather(&next, 1).unwrap().squeeze(1).unwrap().to_vec1::<f32>().unwrap();
        each[context - 1..].iter().map(|&x| f64::from(x)).sum()
    };
    labels.iter().map(score).collect()
}

#[track_caller]
fn assert_scores(ours: &[Scored], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let error = (ours.log_probability - theirs).abs();
        assert!(error <= tolerance, "label {at}: {} instead of {theirs}", ours.log_probability);
    }
}

fn values(scored: &[Scored]) -> Vec<f64> {
    scored.iter().map(|label| label.log_probability).collect()
}

#[test]
fn labels_scored_together_equal_each_alone_in_every_family_though_the_model_writes_in_small_integers() {
    for family in DECODERS {
        let scored = generator(family).score(&layout([20, 30, 40, 50, 60, 21]), &labels()).unwrap();
        let alone = one_by_one(family, &text([20, 30, 40, 50, 60, 21]), &labels());
        assert_scores(&scored, &alone, 2e-5);
        assert_eq!(scored.iter().map(|label| label.tokens).collect::<Vec<_>>(), [1, 2, 4, 3, 1, 2]);
        assert_eq!((scored[1].characters, scored[1].bytes), (9, 9));
    }
}

#[test]
fn greedy_is_what_decoding_would_write() {
    let generator = generator("llama");
    let layout = layout([20, 30, 40]);
    let sampling = Sampling { max_tokens: 3, ..Sampling::default() };
    let exact = Generator::Local(Box::new(local("llama", Precision::F32)));
    let written = exact.generate(&layout, &sampling, &mut |_| ControlFlow::Continue(())).unwrap().text;
    let scored =
        generator.score(&layout, &[written.clone(), format!("{written} {}", word(7)), word(3)]).unwrap();
    assert_eq!(
        scored.iter().map(|label| label.greedy).collect::<Vec<_>>(),
        [true, false, false],
        "{written}"
    );
}

#[test]
fn from_a_head_the_scores_are_the_same_in_any_order_and_from_any_thread() {
    for family in DECODERS {
        let generator = generator(family);
        // Longer than the window of those that have one.
        let items: Vec<Layout> =
            (0..6).map(|item| layout((0..9).chain(100 + item..103 + 2 * item))).collect();
        let head = generator.head(&items).unwrap();
        assert_eq!(head.ids().len(), 9, "{family}");
        let scored = |item: &Layout| values(&generator.score_from(&head, item, &labels()).unwrap());

        let forwards: Vec<_> = items.iter().map(scored).collect();
        let mut backwards: Vec<_> = items.iter().rev().map(scored).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        let threads: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = items.iter().map(|item| scope.spawn(|| scored(item))).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(forwards, threads);

        for (item, from_head) in items.iter().zip(forwards) {
            let whole = generator.score(item, &labels()).unwrap();
            assert_scores(&whole, &from_head, 2e-5);
        }
    }
}

#[test]
fn a_prompt_that_does_not_go_on_behind_the_head_is_read_whole() {
    let generator = generator("llama");
    let head = generator.head([&layout(0..9), &layout(0..12)]).unwrap();
    assert_eq!(head.ids().len(), 8);
    for prompt in [layout(0..8), layout(0..5), layout(5..30)] {
        let whole = generator.score(&prompt, &labels()).unwrap();
        assert_eq!(generator.score_from(&head, &prompt, &labels()).unwrap(), whole);
    }
}

/// As it is, and with virtual tokens before every text, which stand in the cache before the head.
fn with_and_without_virtual_tokens() -> [Generator; 3] {
    let base = local("llama", Precision::Int8);
    let with = |config: AdapterConfig| {
        let values = config.start(base.network(), &Start { seed: 1, ..Start::default() }).unwrap();
        let adapter = config.attach(base.network(), &values).unwrap();
        base.clone().with_adapter(config.name(), adapter).unwrap()
    };
    let soft = with(AdapterConfig::SoftPrompt(SoftPrompt { num_virtual_tokens: 5, ..SoftPrompt::default() }));
    let prefix = with(AdapterConfig::Prefix(Prefix { num_virtual_tokens: 5, ..Prefix::default() }));
    [base.clone(), soft, prefix].map(|generator| Generator::Local(Box::new(generator)))
}

#[test]
fn text_written_from_a_head_is_the_same() {
    let items = [layout((0..9).chain(30..33)), layout((0..9).chain(40..41))];
    let sampling = Sampling { max_tokens: 12, ..Sampling::default() };
    for generator in with_and_without_virtual_tokens() {
        let head = generator.head(&items).unwrap();
        for item in items.iter().chain(&items) {
            let whole = generator.generate(item, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
            let from_head =
                generator.generate_from(&head, item, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(from_head, whole);
            // In between, in the other arithmetic.
            let scored = generator.score_from(&head, item, &labels()).unwrap();
            assert_scores(&scored, &values(&generator.score(item, &labels()).unwrap()), 2e-5);
        }
    }
}

#[test]
fn a_head_of_another_model_is_refused() {
    let head = generator("llama").head([&layout(0..9)]).unwrap();
    let error = generator("llama").score_from(&head, &layout(0..12), &labels()).unwrap_err();
    assert!(matches!(error, Error::Mismatch(_)), "{error}");
}

#[test]
fn labels_alone_follow_the_first_token() {
    let (generator, model) = (generator("llama"), Model::load(&tiny("llama"), &Device::Cpu).unwrap());
    let alone = generator.unconditional(&layout([20, 30]), &labels()).unwrap();
    let empty = generator.score(&Layout::Text(String::new()), &labels()).unwrap();
    assert_eq!(alone, empty);
    // The model's config names token 1 as its first.
    let hidden = model.transformer.forward(&Batch::single(&[1]), Pass::bare()).unwrap();
    let logits = model.transformer.logits(&hidden).unwrap().get(0).unwrap();
    let id = model.tokenizer.as_ref().unwrap().encode(&labels()[0], false).unwrap()[0];
    let all = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
    let first = all.get(id as usize).unwrap().to_scalar::<f32>().unwrap();
    assert!((alone[0].log_probability - f64::from(first)).abs() < 1e-5);
}

#[test]
fn what_cannot_be_scored_is_said() {
    let generator = generator("llama");
    let error = generator.score(&layout([20]), &[String::new()]).unwrap_err();
    assert!(error.to_string().contains("no tokens"), "{error}");
    // The last token of a continuation is never read, so 127 and two fit 128.
    generator.score(&layout(0..127), &[text([1, 2])]).unwrap();
    let error = generator.score(&layout(0..127), &[text([1, 2, 3])]).unwrap_err();
    assert!(matches!(error, Error::TooLong(_)), "{error}");
    let endpoint = Endpoint::new("http://127.0.0.1:9/v1", None).unwrap();
    let endpoint = Generator::Http(HttpGenerator::new("any", endpoint, 100));
    let error = endpoint.score(&layout([20]), &labels()).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[test]
fn no_continuations_have_no_scores() {
    assert!(generator("llama").score(&layout([20]), &[]).unwrap().is_empty());
}

#[test]
fn a_script_knows_its_answer() {
    let script = Generator::Scripted(Scripted::function(|prompt| {
        if prompt.contains("tea") { "Tea" } else { "?" }.into()
    }));
    let labels = ["Coffee".to_owned(), "Tea".to_owned()];
    let head = script.head([&Layout::Text("tea".into())]).unwrap();
    let scored = script.score_from(&head, &Layout::Text("green tea".into()), &labels).unwrap();
    assert_eq!(values(&scored), [-10.0, 0.0]);
    assert!(Head::none().ids().is_empty());
}
