//! The matrix as a library: a model by script, whose effects are planted, and an adapter on the adapter axis.

use std::path::Path;

use incontext::error::{Error, Result};
use incontext::experiment::cache::Cache;
use incontext::experiment::folder::Folder;
use incontext::experiment::plan::{Documents, Plan, Resources};
use incontext::experiment::run::Run;
use incontext::experiment::spec::Experiment;
use incontext::experiment::summary::Summary;
use incontext::experiment::write;
use incontext::generate::{Generator, Scripted};
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

    fn fingerprint(&self, model: &str) -> Result<String> {
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
