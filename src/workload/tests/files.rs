//! Lines and truths are read back as they were written.

use super::*;

#[test]
fn lines_keep_every_byte() {
    let mut generator = Generator::new(&rough()).unwrap();
    while let Some(event) = generator.next_event() {
        let mut out = Vec::new();
        line::write(&event, &mut out).unwrap();
        let text = std::str::from_utf8(&out).unwrap().strip_suffix('\n').unwrap();
        assert!(!text.contains('\n'));
        let (subject, payload) = line::read(text).unwrap();
        assert_eq!((&*subject, &*payload), (event.subject, event.payload));
    }
}

#[test]
fn lines_that_are_no_events_are_refused() {
    for text in ["", "{}", r#"{"subject":"s"}"#, r#"{"subject":"s","event":{},"hex":""}"#] {
        assert!(line::read(text).is_err(), "{text}");
    }
    for hex in ["0", "0g", "é"] {
        let text = format!(r#"{{"subject":"s","hex":"{hex}"}}"#);
        assert!(matches!(line::read(&text), Err(line::Error::Hex)), "{text}");
    }
}

#[test]
fn a_truth_is_read_back_and_compared() {
    let (_, truth) = generate(&rough());
    let mut other: Truth = serde_json::from_str(&serde_json::to_string(&truth).unwrap()).unwrap();
    assert_eq!(truth, other);
    other.usage.reverse();
    assert_eq!(truth.compare(&other), Vec::<String>::new());
    assert!(truth.usage.is_sorted());
    let lost = other.usage.pop().unwrap();
    other.usage[3].duplicates += 1;
    other.totals.counted -= lost.receipts;
    *other.rejected.get_mut("utf8").unwrap() += 1;
    let differences = truth.compare(&other);
    assert_eq!(differences.len(), 4, "{differences:?}");
    assert_eq!(truth.compare_usage(&other.usage).len(), 2);
    assert_eq!(truth.compare_usage(&[]).len(), 101);
}
