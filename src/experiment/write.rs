//! What is made of a run's rows: the summary, the page, and files for other programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::folder::{self, Folder, REPORT, SUMMARY};
use super::plan::Plan;
use super::rows::Row;
use super::summary::Summary;
use super::task::Task;
use super::{junit, report};
use crate::error::{Error, IoContext, Result};

pub const JUNIT: &str = "junit.xml";
pub const TREC: &str = "retrieval.trec";

/// Sums up what is in `folder` and writes everything that is made of it. `file` is the experiment as it is kept.
///
/// # Errors
/// `Corrupt` for a line that is no row, `Io` when a file cannot be written.
pub fn results(plan: &Plan, folder: &Folder, file: &str) -> Result<Summary> {
    results_with(plan, folder, file, REPORT)
}

/// As [`results`], with the page that shows the rows under the name `page`.
///
/// # Errors
/// As [`results`].
pub fn results_with(plan: &Plan, folder: &Folder, file: &str, page: &str) -> Result<Summary> {
    let dir = folder.dir();
    let started = match dir.join(SUMMARY).exists() {
        true => summary(dir)?.started,
        false => utc(SystemTime::now()),
    };
    let summary = plan.summarise(dir, &started, plan.provenance(file))?;
    let json = serde_json::to_vec_pretty(&summary)
        .map_err(|error| Error::invalid(format!("the summary cannot be written: {error}")))?;
    folder.put(SUMMARY, &json)?;
    report::write(&dir.join(page), &summary, rows(plan, dir)?)?;
    junit::write(&dir.join(JUNIT), &summary, rows(plan, dir)?)?;
    if plan.experiment.task == Task::Qa {
        folder.put(TREC, trec(plan, dir)?.as_bytes())?;
    }
    Ok(summary)
}

/// The summary of an earlier run.
///
/// # Errors
/// `NotFound` when there is none, `Corrupt` when it cannot be read.
pub fn summary(dir: &Path) -> Result<Summary> {
    let path = dir.join(SUMMARY);
    if !path.exists() {
        return Err(Error::not_found(format!("`{}` holds no summary of a run", dir.display()))
            .hint("incontext experiment run FILE.toml makes one"));
    }
    serde_json::from_slice(&std::fs::read(&path).at("read", &path)?).map_err(|error| {
        Error::corrupt(format!("`{}`: {error}", path.display()))
            .hint("remove it; `incontext experiment resume` makes it again from the rows")
    })
}

/// The rows of the plan's cells and items, as they stand.
fn rows<'p>(plan: &'p Plan, dir: &Path) -> Result<impl Iterator<Item = Result<Row>> + use<'p>> {
    let cells: BTreeSet<&str> = plan.cells.iter().map(|cell| cell.id.as_str()).collect();
    let items: BTreeSet<&str> = plan.items.iter().map(|item| item.id.as_str()).collect();
    Ok(folder::current(dir)?.filter(move |row| match row {
        Ok(row) => cells.contains(row.cell.as_str()) && items.contains(row.item.as_str()),
        Err(_) => true,
    }))
}

/// What each way of looking found, as trec_eval reads it: once for all cells that look the same way.
fn trec(plan: &Plan, dir: &Path) -> Result<String> {
    let mut ways: BTreeMap<(&str, usize), &str> = BTreeMap::new();
    for cell in &plan.cells {
        ways.entry((cell.retrieval.name(), cell.k)).or_insert(&cell.id);
    }
    let first: BTreeSet<&str> = ways.into_values().collect();
    let mut text = String::new();
    for row in rows(plan, dir)? {
        let row = row?;
        if !first.contains(row.cell.as_str()) || row.repeat > 0 {
            continue;
        }
        let plain = |id: &str| id.split_whitespace().collect::<Vec<_>>().join("%20");
        for (rank, passage) in (1..).zip(&row.passages) {
            // trec_eval orders by score: the order in which passages are read is what counts here.
            let score = 1.0 / f64::from(rank);
            let _ = writeln!(
                text,
                "{} Q0 {} {rank} {score:.6} {}",
                plain(&row.item),
                plain(&passage.place),
                row.cell
            );
        }
    }
    Ok(text)
}

/// As RFC 3339 has it, to the second: `2026-01-31T08:05:09Z`. Days become dates as in Howard Hinnant's `civil_from_days`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153; // months from March
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seconds_become_dates() {
        let of = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(of(0), "1970-01-01T00:00:00Z");
        assert_eq!(of(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(of(1_769_846_709), "2026-01-31T08:05:09Z");
    }
}
