//! Dates as ISO 8601 writes them: each is the stretch of time it names, `2024` a year, `2024-06-01` a day.
//!
//! A stretch and not a point, so that `date<=2024` has all of 2024 in it and `date=2024-06` every day of June.

/// Half open, in seconds since the Unix epoch; a time without a zone is taken for UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub start: i64,
    pub end: i64,
}

const DAY: i64 = 86_400;

impl Period {
    /// `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, or a day with a time behind a `T` or a blank; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (day, time) = match text.split_once(['T', 't', ' ']) {
            Some((day, time)) => (day, Some(time.trim())),
            None => (text, None),
        };
        let mut parts = day.split('-');
        let year = digits(parts.next()?, 4)?;
        let month = parts.next().map(|part| digits(part, 2).filter(|month| (1..=12).contains(month)));
        let date = parts.next().map(|part| digits(part, 2));
        if parts.next().is_some() {
            return None;
        }
        let (first, end) = match (month, date) {
            (None, _) => (days(year, 1, 1), days(year + 1, 1, 1)),
            (Some(month), None) => (days(year, month?, 1), month_after(year, month?)),
            (Some(month), Some(date)) => {
                let (first, last) = (days(year, month?, 1), month_after(year, month?));
                let day = first + date?.checked_sub(1).filter(|before| *before >= 0)?;
                ((day < last).then_some(day)?, day + 1)
            }
        };
        let whole = Self { start: first * DAY, end: end * DAY };
        match time {
            None => Some(whole),
            Some(time) => date.and_then(|_| clock(time)).map(|(after, length)| {
                let start = whole.start + after;
                Self { start, end: start + length }
            }),
        }
    }

    /// Whether `self` begins within `other`.
    pub fn begins_in(self, other: Self) -> bool {
        (other.start..other.end).contains(&self.start)
    }
}

/// Seconds after midnight UTC, and how long what was named lasts: `10:30`, `10:30:15.25`, `10:30Z`, `10:30+02:00`.
fn clock(text: &str) -> Option<(i64, i64)> {
    let (time, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text[..at].trim_end(), zone(&text[at..])?),
        None => (text, 0),
    };
    let mut parts = time.split(':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let second = match parts.next() {
        None => None,
        Some(second) => {
            let (whole, fraction) = second.split_once('.').unwrap_or((second, "0"));
            digits(fraction, fraction.len())?;
            // 60 is a leap second.
            Some(digits(whole, 2).filter(|second| *second <= 60)?)
        }
    };
    if parts.next().is_some() {
        return None;
    }
    let length = if second.is_some() { 1 } else { 60 };
    Some((hour * 3600 + minute * 60 + second.unwrap_or(0) - offset, length))
}

/// Seconds that a zone is ahead of UTC.
fn zone(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, ahead) = match text.split_at_checked(1)? {
        ("+", ahead) => (1, ahead),
        (_, behind) => (-1, behind),
    };
    let (hours, minutes) = match ahead.split_once(':') {
        Some(parts) => parts,
        None if ahead.len() == 4 => ahead.split_at_checked(2)?,
        None => (ahead, "00"),
    };
    Some(sign * (digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60))
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && length <= 9 { text.parse().ok() } else { None }
}

fn month_after(year: i64, month: i64) -> i64 {
    if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) }
}

/// Days from 1970-01-01 in the Gregorian calendar (Hinnant's `days_from_civil`: years begin in March, so that the leap day
/// is the last of one).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn period(text: &str) -> Period {
        Period::parse(text).unwrap_or_else(|| panic!("no date: {text}"))
    }

    #[test]
    fn a_date_is_as_long_as_it_is_written() {
        assert_eq!(period("1970"), Period { start: 0, end: 365 * DAY });
        assert_eq!(period("1970-02"), Period { start: 31 * DAY, end: 59 * DAY });
        assert_eq!(period("2000-02-29").start, 951_782_400);
        assert_eq!(
            period("2024-12"),
            Period { start: period("2024-12-01").start, end: period("2025").start }
        );
        assert_eq!(period("1970-01-02T01:30"), Period { start: DAY + 5400, end: DAY + 5460 });
        assert_eq!(period("1970-01-02 01:30:07.25 +01:00"), Period { start: DAY + 1807, end: DAY + 1808 });
        assert_eq!(period("1969-12-31T23:00:00-0100").start, 0);
        assert!(period("2024-06-01").begins_in(period("2024-06")));
        assert!(!period("2024-07-01").begins_in(period("2024-06")));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "24",
            "2024-",
            "2024-13",
            "2024-00",
            "2023-02-29",
            "2024-06-31",
            "2024-06-00",
            "2024-6-1",
            "2024-06-01-02",
            "2024T10:00",
            "2024-06-01T25:00",
            "2024-06-01T10",
            "2024-06-01T10:00+x",
            "soon",
            "é024",
            "2024-06-01T10:00:00:00",
            "2024-06-01T",
            "2024-06-01T10:00é",
        ] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn days_follow_one_another_without_a_gap(year in 0i64..9999, month in 1i64..=12) {
            let first = period(&format!("{year:04}-{month:02}"));
            let length = (first.end - first.start) / DAY;
            prop_assert!((28..=31).contains(&length));
            for day in 1..=length {
                let day = period(&format!("{year:04}-{month:02}-{day:02}"));
                prop_assert!(day.begins_in(first) && day.end <= first.end && day.end - day.start == DAY);
            }
            let past_the_end = format!("{year:04}-{month:02}-{:02}", length + 1);
            prop_assert_eq!(Period::parse(&past_the_end), None);
        }

        #[test]
        fn anything_may_be_asked(text in r"[-0-9TZ:+. é]{0,25}") {
            let _ = Period::parse(&text);
        }
    }
}
