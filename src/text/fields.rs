//! Values of front matter, as a document keeps them: one string each, a list in brackets.
//!
//! Only the writing: what a value means (a number, a date) is for whoever compares it, because a field's type is what all
//! documents have in it, not what one has.

/// `items` as one value, `[a, "b, c"]`.
pub fn list<S: AsRef<str>>(items: &[S]) -> String {
    let item = |item: &S| {
        let item = item.as_ref();
        let is_plain = !item.is_empty()
            && item.trim() == item
            && !item.contains([',', '[', ']'])
            && !item.starts_with(['"', '\'']);
        if is_plain { item.to_owned() } else { quoted(item) }
    };
    format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
}

/// The items of a list; `None` when the value is none. Empty items are left out.
pub fn items(value: &str) -> Option<Vec<String>> {
    let mut rest = value.trim().strip_prefix('[')?.strip_suffix(']')?.trim_start();
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (item, behind) = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => until_quote(rest, quote).unwrap_or_else(|| until_comma(rest)),
            _ => until_comma(rest),
        };
        items.extend(Some(item).filter(|item| !item.is_empty()));
        rest = behind.trim_start().strip_prefix(',').unwrap_or(behind).trim_start();
    }
    Some(items)
}

fn until_comma(text: &str) -> (String, &str) {
    let end = text.find(',').unwrap_or(text.len());
    (text[..end].trim().to_owned(), &text[end..])
}

/// What stands between the quote `text` begins with and the next that is not escaped, if only a comma can follow.
fn until_quote(text: &str, quote: char) -> Option<(String, &str)> {
    let mut item = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if quote == '"' => item.push(characters.next()?.1),
            _ if character == quote => {
                let behind = text[at + 1..].trim_start();
                return (behind.is_empty() || behind.starts_with(',')).then_some((item, behind));
            }
            _ => item.push(character),
        }
    }
    None
}

fn quoted(item: &str) -> String {
    format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_read_as_yaml_and_toml_write_them() {
        for (value, expected) in [
            ("[rust, async]", vec!["rust", "async"]),
            ("[\"a, b\", 'c']", vec!["a, b", "c"]),
            ("[ it's, 5 ' ]", vec!["it's", "5 '"]),
            ("[\"open, end]", vec!["\"open", "end"]),
            ("[a,, b,]", vec!["a", "b"]),
            ("[]", vec![]),
        ] {
            assert_eq!(items(value).unwrap(), expected, "{value}");
        }
        assert_eq!(items("rust, async"), None);
        assert_eq!(items("[see](a.md)"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(written in proptest::collection::vec(r#"[ a,"'\\\[\]é]{1,6}"#, 0..6)) {
            prop_assert_eq!(items(&list(&written)).unwrap(), written);
        }

        #[test]
        fn anything_can_be_read(value in r#"\[[ a,"'\\\[\]é]{0,12}\]"#) {
            prop_assert!(items(&value).is_some());
        }
    }
}
