//! The matrix as a library: a model by script, whose effects are planted, and an adapter on the adapter axis.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use incontext::error::{Error, Result};
use incontext::experiment::cache::Cache;
use incontext::experiment::folder::Folder;
use incontext::experiment::plan::{Documents, Plan, Resources};
use incontext::experiment::run::Run;
use incontext::experiment::spec::Experiment;
use incontext::experiment::summary::Summary;
use incontext::experiment::write;
use incontext::generate::{Generator, LocalGenerator, Scripted};
use incontext::nn::{Adapter, Linear, Mode, Precision};
use incontext::prompt::Template;

const ITEMS: usize = 300;

/// A model that is right as often as is planted: seven times out of ten under the prompt A, and so much more under B.
struct Planted {
    effect: f64,
    seed: u64,
}

/// A number in `[0, 1)` that a text decides.
fn chance(text: &str) -> f64 {
    let hash = blake3::hash(text.as_bytes());
    let bytes: [u8; 8] = hash.as_bytes()[..8].try_into().unwrap();
    u64::from_le_bytes(bytes) as f64 / 2f64.powi(64)
}

impl Resources for Planted {
    fn model(&self, model: &str) -> String {
        model.to_owned()
    }

    fn fingerprint(&self, model: &str, _: &str) -> Result<String> {
        Ok(format!("{model} {} {}", self.effect, self.seed))
    }

    fn generator(&self, _: &str, _: &str) -> Result<Generator> {
        let Self { effect, seed } = *self;
        Ok(Generator::Scripted(Scripted::function(move |prompt| {
            let (which, item) = prompt.split_once(' ').unwrap();
            let share = if which == "B" { 0.7 + effect } else { 0.7 };
            // Three items of four are as hard under either prompt; of the others each prompt draws for itself.
            let drawn = match chance(&format!("{seed} alike {item}")) < 0.75 {
                true => chance(&format!("{seed} {item}")),
                false => chance(&format!("{seed} {which} {item}")),
            };
            if drawn < share { "yes".into() } else { "no".into() }
        })))
    }

    fn template(&self, name: &str) -> Result<Template> {
        let source = format!(
            "+++\nname = \"{name}\"\ntask = \"t\"\ninputs = [\"input\"]\n+++\n{} {{{{ input }}}}",
            name.to_uppercase()
        );
        Template::parse(name, &source, &|_| Err(Error::not_found("no partial")))
    }

    fn embed(&self, _: &[&str]) -> Result<Vec<Vec<f32>>> {
        Err(Error::invalid("nothing is embedded"))
    }

    fn documents(&self, _: Option<&str>) -> Result<Documents> {
        Err(Error::not_found("no collection"))
    }
}

/// Runs the experiment of `matrix` on rows whose answer is "yes".
fn run(dir: &Path, matrix: &str, resources: &dyn Resources) -> Summary {
    let rows: String = (0..ITEMS).map(|n| format!("{{\"input\": \"{n}\", \"output\": \"yes\"}}\n")).collect();
    std::fs::write(dir.join("rows.jsonl"), rows).unwrap();
    let text = format!(
        "task = \"generate\"\ndata = {{ file = \"{}\" }}\nmetrics = [\"exact match\"]\n[matrix]\n{matrix}\n",
        dir.join("rows.jsonl").display()
    );
    let mut plan = Plan::new(Experiment::parse(&text).unwrap(), resources).unwrap();
    let mut folder = Folder::open(&dir.join("results")).unwrap();
    plan.settle(resources, &folder).unwrap();
    let cache = Cache::none();
    let mut job = Run { plan: &plan, resources, folder: &mut folder, cache: &cache, retry: false };
    assert!(job.run(&|| false, &mut |_| {}).unwrap());
    write::results(&plan, &folder, &text).unwrap()
}

/// Of so many experiments, those in which B is said to differ from A.
fn flagged(effect: f64, experiments: u64) -> usize {
    let flags = |seed: u64| {
        let dir = tempfile::tempdir().unwrap();
        let summary = run(dir.path(), "prompt = [\"a\", \"b\"]", &Planted { effect, seed });
        let against = summary.cells[1].against.as_ref().unwrap();
        assert_eq!(against.test, "McNemar");
        against.p_holm < 0.05
    };
    (0..experiments).filter(|&seed| flags(seed)).count()
}

#[test]
fn a_planted_effect_is_found_and_its_absence_is_not() {
    // Nothing planted: 5 in 100, give or take three standard deviations. The exact test errs on the safe side.
    let nothing = flagged(0.0, 100);
    assert!(nothing <= 11, "{nothing} false alarms in 100");
    // Ten points are found nearly always; three are not, most of the time, by 300 rows.
    let ten = flagged(0.10, 50);
    assert!(ten >= 42, "{ten} of 50");
    let three = flagged(0.03, 50);
    assert!((3..=30).contains(&three), "{three} of 50");
}

/// The tiny model, and one adapter that is registered under the name `louder`.
struct Tiny;

/// Every linear of a feed-forward layer is three times as loud.
struct Louder;

impl Adapter for Louder {
    fn identity(&self) -> u64 {
        3
    }

    fn linear(&self, linear: &Linear, x: &Tensor, _: Mode) -> Result<Tensor> {
        Ok((linear.frozen(x)? * 3.0)?)
    }
}

impl Resources for Tiny {
    fn model(&self, model: &str) -> String {
        model.to_owned()
    }

    fn fingerprint(&self, model: &str, adapter: &str) -> Result<String> {
        Ok(format!("{model} {adapter}"))
    }

    fn generator(&self, model: &str, adapter: &str) -> Result<Generator> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny").join(model);
        let generator = LocalGenerator::load(model, &path, &Device::Cpu, Precision::F32)?;
        Ok(Generator::Local(Box::new(match adapter {
            "none" => generator,
            "louder" => generator.with_adapter("louder", Arc::new(Louder))?,
            other => return Err(Error::not_found(format!("no adapter `{other}`"))),
        })))
    }

    fn template(&self, name: &str) -> Result<Template> {
        Planted { effect: 0.0, seed: 0 }.template(name)
    }

    fn embed(&self, _: &[&str]) -> Result<Vec<Vec<f32>>> {
        Err(Error::invalid("nothing is embedded"))
    }

    fn documents(&self, _: Option<&str>) -> Result<Documents> {
        Err(Error::not_found("no collection"))
    }
}

#[test]
fn an_adapter_is_a_value_of_an_axis_and_changes_what_the_model_says() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "{\"input\": \"one\", \"label\": \"a\"}\n{\"input\": \"two\", \"label\": \"b\"}\n";
    std::fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
    let text = format!(
        "task = \"classify\"\ndata = {{ file = \"{}\" }}\n[matrix]\nprompt = [\"a\"]\nmodel = [\"llama\"]\nadapter = [\"none\", \"louder\"]\n",
        dir.path().join("rows.jsonl").display()
    );
    let mut plan = Plan::new(Experiment::parse(&text).unwrap(), &Tiny).unwrap();
    let mut folder = Folder::open(&dir.path().join("results")).unwrap();
    plan.settle(&Tiny, &folder).unwrap();
    let cache = Cache::open(&dir.path().join("answers.sqlite")).unwrap();
    let mut job = Run { plan: &plan, resources: &Tiny, folder: &mut folder, cache: &cache, retry: false };
    assert!(job.run(&|| false, &mut |_| {}).unwrap());
    let rows: Vec<_> =
        incontext::experiment::folder::current(folder.dir()).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    let scores = |cell: &str, item: &str| {
        let row = rows.iter().find(|row| row.cell == cell && row.item == item).unwrap();
        assert_eq!((&row.error, row.cached), (&None, false));
        row.labels.clone()
    };
    assert_ne!(scores("c01", "1"), scores("c02", "1"), "the adapter acts");
}
