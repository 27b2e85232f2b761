use proptest::prelude::*;

use super::*;

/// A PDF of pages, each the operators of its content stream, in Helvetica as `/F`.
fn pdf(pages: &[String], info: &str, trailer: &str) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 10 + 2 * page)).collect();
    let mut objects = vec![
        (1, "<</Type/Catalog/Pages 2 0 R>>".to_owned()),
        (2, format!("<</Type/Pages/Count {}/Kids[{}]>>", pages.len(), kids.join(" "))),
        (3, "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_owned()),
        (4, info.to_owned()),
    ];
    for (page, content) in pages.iter().enumerate() {
        let id = 10 + 2 * page;
        let of = format!("/Contents {} 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>", id + 1);
        objects.push((id, format!("<</Type/Page/Parent 2 0 R{of}>>")));
        objects.push((id + 1, format!("<</Length {}>>stream\n{content}\nendstream", content.len())));
    }
    let mut file = "%PDF-1.4\n".to_owned();
    let mut table = String::new();
    for (id, object) in &objects {
        table += &format!("{id} 1\n{:010} 00000 n \n", file.len());
        file += &format!("{id} 0 obj\n{object}\nendobj\n");
    }
    let at = file.len();
    let size = 11 + 2 * pages.len();
    file += &format!(
        "xref\n0 1\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R/Info 4 0 R{trailer}>>\n"
    );
    (file + &format!("startxref\n{at}\n%%EOF\n")).into_bytes()
}

/// Lines at their places, as operators.
fn page(lines: &[(f32, f32, f32, &str)]) -> String {
    let shown =
        |(x, y, size, text): &(f32, f32, f32, &str)| format!("BT /F {size} Tf {x} {y} Td ({text}) Tj ET\n");
    lines.iter().map(shown).collect()
}

fn plain(pages: &[String]) -> Vec<u8> {
    pdf(pages, "<<>>", "")
}

#[test]
fn a_page_is_read_with_its_headings_sentences_and_page_numbers() {
    let first = page(&[
        (50.0, 780.0, 9.0, "A Journal, 2"),
        (50.0, 740.0, 20.0, "On Owls"),
        (50.0, 700.0, 10.0, "Owls hunt at night. They eat mate-"),
        (50.0, 688.0, 10.0, "rials of many kinds, and"),
        (300.0, 30.0, 9.0, "1"),
    ]);
    let second = page(&[
        (50.0, 780.0, 9.0, "A Journal, 2"),
        (50.0, 740.0, 10.0, "sleep by day."),
        (50.0, 700.0, 10.0, "The end."),
        (300.0, 30.0, 9.0, "2"),
    ]);
    let found = read(plain(&[first, second])).unwrap();
    assert_eq!(
        found.text,
        "On Owls\n\nOwls hunt at night. They eat materials of many kinds, and sleep by day.\n\nThe end."
    );
    assert_eq!(found.title.as_deref(), Some("On Owls"));
    assert_eq!(found.blocks[0].kind, BlockKind::Heading(1));
    let pages: Vec<_> = found.pages.iter().map(|page| (page.number, &found.text[page.text..][..5])).collect();
    assert_eq!(pages, [(1, "On Ow"), (2, "sleep")]);
}

#[test]
fn a_title_that_somebody_gave_goes_before_the_largest_heading() {
    let pages = [page(&[(50.0, 700.0, 20.0, "Big"), (50.0, 600.0, 10.0, "a longer line of small text")])];
    let title = |info: &str| read(pdf(&pages, info, "")).unwrap().title;
    assert_eq!(title("<</Title(The Owls)>>").as_deref(), Some("The Owls"));
    assert_eq!(title("<</Title<FEFF00D60077006C>>>").as_deref(), Some("Öwl"));
    for nothing in
        ["<</Title()>>", "<</Title(paper.tex)>>", "<</Title(Microsoft Word - a)>>", "<</Title(untitled)>>"]
    {
        assert_eq!(title(nothing).as_deref(), Some("Big"), "{nothing}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let whole = plain(&[page(&[(50.0, 700.0, 10.0, "some words")])]);
    let zeros = "0".repeat(64);
    let locked = format!("/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{zeros}>/U<{zeros}>>>");
    for (bytes, why) in [
        (b"no pdf at all".to_vec(), "not a PDF"),
        (Vec::new(), "not a PDF"),
        (whole[..whole.len() / 2].to_vec(), "cut off"),
        (b"%PDF-1.4\nnothing\n%%EOF".to_vec(), "damaged"),
        (pdf(&[page(&[])], "<<>>", &locked), "password"),
        (plain(&["0 0 600 800 re f".to_owned()]), "1 pages without text"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.to_string().contains(why) && error.advice().is_some(), "{why}: {error}");
    }
    assert!(read(whole).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_make_it_panic(
        start in 0..600usize, garbage in proptest::collection::vec(any::<u8>(), 0..40), cut in any::<bool>(),
    ) {
        let mut bytes = plain(&[page(&[(50.0, 700.0, 10.0, "some words"), (50.0, 680.0, 10.0, "and more")])]);
        let start = start.min(bytes.len());
        let end = if cut { bytes.len() } else { (start + garbage.len()).min(bytes.len()) };
        bytes.splice(start..end, garbage);
        // Past the guard in `read`: here the library itself is held to it.
        if let Ok(found) = extract(bytes) {
            prop_assert!(found.document("a.pdf", crate::text::document::Format::Pdf, String::new()).is_ok());
        }
    }
}
