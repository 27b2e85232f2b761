//! From a pool to the demonstrations of one prompt: chosen by `retrieve::demos`, as templates see them.

use serde_json::Value;

use super::given::passages_of;
use super::{Demo, Order, Template};
use crate::error::Result;
use crate::retrieve::demos::Demonstrations;
use crate::text::example::Example;

impl Demo {
    /// The row at `place` of its pool. Its `passages` may be texts alone.
    ///
    /// # Errors
    /// `Invalid`, naming the row, when its `passages` are no passages.
    pub fn of(example: &Example, place: usize) -> Result<Self> {
        let mut values = example.shown();
        if values.contains_key("passages") {
            let passages = passages_of(&mut values)
                .map_err(|error| error.within(format!("the demonstration `{}`", example.id)))?;
            values.insert("passages".to_owned(), serde_json::to_value(passages).unwrap_or(Value::Null));
        }
        Ok(Self { id: example.id.clone(), place, values })
    }
}

/// The demonstrations for `input`, nearest first, and the order in which `template` has them stand. `vector` is that of
/// `input`, for selections by nearness.
///
/// # Errors
/// As [`Demo::of`].
pub fn shots(
    pool: &Demonstrations,
    template: &Template,
    input: &str,
    vector: &[f32],
) -> Result<(Vec<Demo>, Order)> {
    let chosen = pool.choose(input, vector).into_iter();
    let demos = chosen.map(|place| Demo::of(&pool.pool()[place], place)).collect::<Result<_>>()?;
    let order = match pool.select().is_by_nearness() {
        true => template.front().fewshot.as_ref().map_or(Order::default(), |fewshot| fewshot.order),
        // They stand as they were chosen: for every question alike.
        false => Order::NearestFirst,
    };
    Ok((demos, order))
}

/// `demos`, nearest first, in the order in which a prompt shows them.
pub fn standing(demos: &[Demo], order: Order) -> Vec<&Demo> {
    let mut demos: Vec<&Demo> = demos.iter().collect();
    match order {
        Order::NearestLast => demos.reverse(),
        Order::NearestFirst => {}
        Order::Pool => demos.sort_by_key(|demo| demo.place),
    }
    demos
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prompt::Library;
    use crate::retrieve::demos::Select;
    use crate::text::example::Columns;

    fn pool(rows: &[Value], select: Select, k: usize) -> Demonstrations {
        let example =
            |(line, row): (usize, &Value)| Example::of(row.clone(), line, &Columns::default()).unwrap();
        let vectors: Vec<_> = (0..rows.len()).map(|n| vec![(n as f32).cos(), (n as f32).sin()]).collect();
        Demonstrations::new(rows.iter().enumerate().map(example).collect::<Vec<_>>(), vectors, select, k, 0)
    }

    #[test]
    fn the_nearest_stands_last_and_a_fixed_choice_as_it_was_made() {
        let rows: Vec<Value> = (0..3).map(|n| json!({"input": format!("i{n}"), "output": "o"})).collect();
        let template = Library::default().load("classify/plain").unwrap();
        let ids = |select| {
            let (demos, order) = shots(&pool(&rows, select, 3), &template, "x", &[1.0, 0.0]).unwrap();
            standing(&demos, order).into_iter().map(|demo| demo.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(Select::Knn), ["2", "1", "0"]);
        assert_eq!(ids(Select::First), ["0", "1", "2"]);
    }

    #[test]
    fn passages_of_a_demonstration_may_be_texts_alone() {
        let row =
            json!({"question": "q", "answer": "a", "passages": ["one", {"path": "p.md", "text": "two"}]});
        let demo = Demo::of(&Example::of(row, 1, &Columns::default()).unwrap(), 0).unwrap();
        assert_eq!(demo.values["passages"][0]["text"], "one");
        assert_eq!(demo.values["passages"][1]["title"], "p.md");
        let row = json!({"question": "q", "id": "x", "passages": "one"});
        let error = Demo::of(&Example::of(row, 1, &Columns::default()).unwrap(), 0).unwrap_err();
        assert!(error.to_string().starts_with("the demonstration `x`: `passages`"), "{error}");
    }
}
