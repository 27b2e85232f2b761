//! What is printed on every page and belongs to none: running heads, feet and page numbers are left out.

use std::collections::BTreeMap;

use super::lines::Line;

/// Lines at the top and at the bottom of a page that may be such.
const EDGE: usize = 4;

/// Removes from `pages` the lines at their edges that say the same, but for numbers, on at least half of them.
pub(super) fn remove(pages: &mut [Vec<Line>]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for page in pages.iter() {
        let mut said: Vec<String> = edges(page).into_iter().map(|at| pattern(&page[at].text)).collect();
        said.sort();
        said.dedup();
        for pattern in said {
            *seen.entry(pattern).or_default() += 1;
        }
    }
    let often = (pages.len() / 2).max(2);
    for page in pages.iter_mut() {
        let mut running: Vec<usize> = edges(page)
            .into_iter()
            .filter(|&at| seen.get(&pattern(&page[at].text)).is_some_and(|&times| times >= often))
            .collect();
        running.sort_unstable();
        running.iter().rev().for_each(|&at| drop(page.remove(at)));
    }
}

/// The first and the last few lines of a page, as they stand on it.
fn edges(page: &[Line]) -> Vec<usize> {
    let mut upright: Vec<usize> = (0..page.len()).filter(|&at| page[at].turn == 0).collect();
    upright.sort_by(|&a, &b| page[a].base.total_cmp(&page[b].base));
    let last = upright.len().saturating_sub(EDGE).max(EDGE.min(upright.len()));
    let mut edges = upright[..EDGE.min(upright.len())].to_vec();
    edges.extend(&upright[last..]);
    edges
}

/// The same for lines that differ in their numbers only.
fn pattern(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars().filter(|letter| !letter.is_whitespace()) {
        match letter.is_numeric() {
            true if pattern.ends_with('#') => {}
            true => pattern.push('#'),
            false => pattern.push(letter),
        }
    }
    // Pages of a preface are counted in letters.
    if !pattern.is_empty() && pattern.chars().all(|letter| "ivxlcIVXLC".contains(letter)) {
        pattern = "#".into();
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lines: &[&str]) -> Vec<Line> {
        let line = |(at, text): (usize, &&str)| Line {
            text: (*text).to_owned(),
            left: 0.0,
            right: 9.0,
            base: at as f32 * 12.0,
            size: 10.0,
            turn: 0,
        };
        lines.iter().enumerate().map(line).collect()
    }

    #[test]
    fn heads_feet_and_numbers_go_and_what_is_said_once_stays() {
        let mut pages = vec![
            page(&["Journal, 2 (5)", "One", "a", "b", "1"]),
            page(&["Journal, 2 (5)", "Two", "d", "e", "ii"]),
            page(&["Three", "f", "g", "h", "j", "k", "3"]),
        ];
        remove(&mut pages);
        let left: Vec<String> =
            pages.iter().map(|page| page.iter().map(|l| l.text.as_str()).collect()).collect();
        assert_eq!(left, ["Oneab", "Twode", "Threefghjk"]);
    }

    #[test]
    fn a_single_page_keeps_everything() {
        let mut pages = vec![page(&["1", "1"])];
        remove(&mut pages);
        assert_eq!(pages[0].len(), 2);
    }
}
