//! Numbers of bytes as a person reads them: decimal units, everywhere the same.

/// Bytes of a megabyte, as sizes are printed and as they are typed.
pub(crate) const MEGABYTE: u64 = 1_000_000;

/// `bytes` in the unit in which they are a small number, rounded.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..999_500 => format!("{} kB", bytes.div_ceil(1000)),
        999_500..999_500_000 => format!("{} MB", (bytes + MEGABYTE / 2) / MEGABYTE),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_round_numbers_of_decimal_units() {
        let of = [0, 999, 999_499, 999_500, 90_868_376, 999_499_999, 999_500_000, 2_500_000_000];
        assert_eq!(of.map(size), ["0 kB", "1 kB", "1000 kB", "1 MB", "91 MB", "999 MB", "1.0 GB", "2.5 GB"]);
    }
}
