use proptest::prelude::*;
use serde_json::json;

use super::*;

fn text(value: &Value) -> String {
    String::from_utf8(write(value).unwrap()).unwrap()
}

/// The strings and literals of RFC 8785, 3.2.2, without its floats.
#[test]
fn the_example_of_the_standard() {
    let value: Value = serde_json::from_str(
        r#"{
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#,
    )
    .unwrap();
    let expected = r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(text(&value), expected);
}

/// RFC 8785, 3.2.3: U+1F600 is D83D DE00 in UTF-16 and so comes before U+FB33, though it is the
/// greater character and its UTF-8 bytes are greater too.
#[test]
fn names_are_sorted_by_utf_16_code_units() {
    let value = json!({
        "\u{20ac}": "Euro Sign",
        "\r": "Carriage Return",
        "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\u{1f600}": "Emoji: Grinning Face",
        "\u{80}": "Control",
        "\u{f6}": "Latin Small Letter O With Diaeresis",
    });
    let text = text(&value);
    let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
    let places: Vec<_> = order.iter().map(|word| text.find(word).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn only_whole_numbers_that_every_reader_takes_are_written() {
    let most = i64::try_from(INTEGER_MAX).unwrap();
    assert_eq!(text(&json!([0, -1, most, -most])), format!("[0,-1,{most},-{most}]"));
    for number in [json!(most + 1), json!(-most - 1), json!(u64::MAX), json!(0.5), json!(1e3)] {
        assert!(matches!(write(&number), Err(Error::Number(_))), "{number}");
    }
}

#[test]
fn what_is_not_canonical_is_not_read() {
    type Numbers = std::collections::BTreeMap<String, u8>;
    assert_eq!(read::<Numbers>(br#"{"a":1,"b":2}"#).unwrap().len(), 2);
    for (not_canonical, from) in [
        (r#"{"b":2,"a":1}"#, 2),
        (r#"{"a":1, "b":2}"#, 7),
        ("{\"a\":1,\"b\":2}\n", 13),
        (r#"{"a":1,"\u0062":2}"#, 8),
        (r#"{"a":1,"b":2,"b":2}"#, 12),
    ] {
        let error = read::<Numbers>(not_canonical.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::NotCanonical { at } if at == from), "{error}");
    }
    for wrong in ["", "[]", r#"{"a":1"#, r#"{"a":1}{}"#, r#"{"a":"1"}"#] {
        assert!(matches!(read::<Numbers>(wrong.as_bytes()), Err(Error::Json(_))), "{wrong}");
    }
}

#[test]
fn a_difference_has_a_place() {
    let table = [
        (json!(1), json!(1), None),
        (json!(1), json!("1"), Some("")),
        (json!({"a": [1, 2]}), json!({"a": [1, 3], "b": 1}), Some("/a/1")),
        (json!({"a": [1, 2]}), json!({"a": [1]}), Some("/a/1")),
        (json!({"a": null}), json!({}), Some("/a")),
        (json!({"a": 1}), json!({"a": 1, "b/c~d": 1}), Some("/b~1c~0d")),
        (json!([]), json!({}), Some("")),
    ];
    for (one, other, place) in table {
        assert_eq!(difference(&one, &other).as_deref(), place, "{one} {other}");
        assert_eq!(difference(&other, &one).as_deref(), place, "{other} {one}");
    }
}

proptest! {
    /// serde_json happens to escape exactly what the standard wants, and its map of ASCII names is
    /// in the same order: a second implementation.
    #[test]
    fn the_text_is_what_a_second_implementation_writes(
        members in proptest::collection::btree_map("[a-zA-Z0-9_\"\\\\]{0,6}", any::<String>(), 0..5),
        numbers in proptest::collection::vec(any::<i32>(), 0..5),
    ) {
        let value = json!({ "members": members, "numbers": numbers, "none": null });
        let bytes = write(&value).unwrap();
        prop_assert_eq!(&bytes, &serde_json::to_vec(&value).unwrap());
        prop_assert_eq!(read::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn control_characters_are_escaped_as_the_second_implementation_does(
        value in "[\u{0}-\u{80}]{0,40}",
    ) {
        prop_assert_eq!(text(&json!(value)), serde_json::to_string(&value).unwrap());
    }
}
