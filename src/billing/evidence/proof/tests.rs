#![allow(clippy::arithmetic_side_effects)]

use expect_test::expect;
use serde_json::json;

use super::*;
use crate::document::tests::{Book, day, per_unit, terms, volume};
use crate::evidence::leaf::Source;
use crate::evidence::merkle::Tree;

mod worked_example;

/// An invoice of October with two late receipts of September.
fn book() -> Book {
    let mut book = Book::default();
    book.open("2026-09-01", 1, terms(vec![volume("A")]), "19");
    book.open("2026-10-01", 1, terms(vec![per_unit("A", "0.10")]), "19");
    book.count("2026-09-01", "A", 5);
    book.bill(Some("2026-09-01"), "2026-10-04");
    book.count("2026-10-01", "A", 4);
    book.count("2026-09-01", "A", 2);
    book.count("2026-10-01", "A", 3);
    book.bill(Some("2026-10-01"), "2026-11-04");
    book
}

/// The proof of leaf `index` of the period from `first` on document `number`.
fn prove(book: &Book, number: usize, first: &str, index: u64) -> Proof {
    let document = &book.documents[number];
    let period = document.periods.iter().find(|period| period.start == day(first)).unwrap();
    let mut tree = Tree::proving(index);
    let mut leaf = None;
    let account = &book.accounts[&period.start];
    for (place, bytes) in (0..).zip(account.leaves(period.after, period.cutoff)) {
        tree.push(bytes);
        if place == index {
            leaf = Some(serde_json::from_slice(bytes).unwrap());
        }
    }
    let leaf: Value = leaf.unwrap();
    let leaf = Leaf::from_value(&leaf).unwrap();
    let (root, inclusion) = tree.finish();
    assert_eq!(root, period.root);
    let hash = document.hash().unwrap();
    Proof::new(hash, document.number.clone(), period.start, &leaf, inclusion.unwrap()).unwrap()
}

/// Goes by the file's text, as `proofs check` does.
fn checked(proof: &Proof, document: &Document) -> Result<u64, String> {
    let proof = Proof::read(proof.to_text().unwrap().as_bytes()).unwrap();
    let bytes = document.to_bytes().unwrap();
    let proved = check(&proof, &bytes).map_err(|refusal| refusal.to_string())?;
    assert_eq!(&proved.document, document);
    Ok(proved.leaf.entry)
}

#[test]
fn every_receipt_of_a_document_is_proved_and_no_other() {
    let book = book();
    let document = &book.documents[1];
    let sizes: Vec<_> = document.periods.iter().map(|period| period.size).collect();
    assert_eq!(sizes, [2, 7], "late receipts have a tree of their own");
    for (first, entries) in
        [("2026-09-01", vec![10, 11]), ("2026-10-01", vec![6, 7, 8, 9, 12, 13, 14])]
    {
        for (index, entry) in (0..).zip(entries) {
            let proof = prove(&book, 1, first, index);
            assert_eq!(checked(&proof, document), Ok(entry));
            assert!(checked(&proof, &book.documents[0]).is_err());
        }
    }
}

#[test]
fn each_step_that_fails_has_a_name() {
    let book = book();
    let document = &book.documents[1];
    let good = prove(&book, 1, "2026-10-01", 2);
    let with = |change: &dyn Fn(&mut Proof)| {
        let mut proof = good.clone();
        change(&mut proof);
        checked(&proof, document).unwrap_err()
    };
    let mut text = String::new();
    for (what, refusal) in [
        ("another document", checked(&good, &book.documents[0]).unwrap_err()),
        ("another number", with(&|proof| proof.number = None)),
        ("another period", with(&|proof| proof.period = day("2026-11-01"))),
        ("the other period", with(&|proof| proof.period = day("2026-09-01"))),
        ("another format", with(&|proof| proof.leaf[0] = json!("leaf/2"))),
        ("another brand", with(&|proof| proof.leaf[5] = json!("OTHER"))),
        ("an earlier day", with(&|proof| proof.leaf[13] = json!("2026-09-30"))),
        ("another entry", with(&|proof| proof.leaf[1] = json!(15))),
        (
            "an earlier entry",
            with(&|proof| {
                proof.leaf[1] = json!(5);
                proof.leaf[13] = json!("2026-09-30");
                proof.period = day("2026-09-01");
            }),
        ),
        ("another receipt", with(&|proof| proof.leaf[6] = json!("r-9"))),
        (
            "a time without decimals",
            with(&|proof| {
                proof.leaf[11] = json!("2026-09-21T14:13:20Z");
            }),
        ),
        ("another index", with(&|proof| proof.index = 3)),
        ("another size", with(&|proof| proof.size = 8)),
        ("a shorter path", with(&|proof| proof.path.truncate(1))),
    ] {
        text += &format!("{what}: {refusal}\n");
    }
    expect![[r#"
        another document: the proof is for the document with hash a2c05a6e59c9b4856b34a0bb2aa38dca6cbd1e5efcbc6c21760571e8621675c0, not for this one with 209c25812c08e0e4605b22c1dbd49d54dcc0e22539a859b2f565144ea63e8553
        another number: the proof is for document without a number, but this one is INV-2026-000002
        another period: the document has no period from 2026-11-01
        the other period: usage day 2026-10-01 is not in the period from 2026-09-01 to before 2026-10-01
        another format: the leaf: the leaf is not an array of 15 that begins with "leaf/1"
        another brand: the leaf is of brand OTHER, the document of ACME
        an earlier day: usage day 2026-09-30 is not in the period from 2026-10-01 to before 2026-11-01
        another entry: entry 15 is not above 0 and up to 14, as the document's entries are
        an earlier entry: entry 5 is not above 5 and up to 14, as the document's entries are
        another receipt: the leaf and the path do not lead to the document's root 75f9339fa39a1c7e245ce37558776abbe11b3b126b3658b918f094d7f0f8e273
        a time without decimals: the leaf: its members are not written as the ledger writes them
        another index: the leaf and the path do not lead to the document's root 75f9339fa39a1c7e245ce37558776abbe11b3b126b3658b918f094d7f0f8e273
        another size: the proof is of a tree of 8 leaves, the document's has 7
        a shorter path: the leaf and the path do not lead to the document's root 75f9339fa39a1c7e245ce37558776abbe11b3b126b3658b918f094d7f0f8e273
    "#]].assert_eq(&text);
    let not_canonical = [document.to_bytes().unwrap(), b"\n".to_vec()].concat();
    let mut proof = good;
    proof.document = Hash::of(&[&not_canonical]);
    assert!(matches!(check(&proof, &not_canonical), Err(Refusal::Document(_))));
}

/// Somebody who pads a file or adds a member to it is refused, whatever he says by it.
#[test]
fn a_file_has_the_members_of_a_proof_and_no_others() {
    let book = book();
    let text = prove(&book, 1, "2026-10-01", 2).to_text().unwrap();
    for (from, to) in [
        ("\"index\"", "\"note\": \"paid\", \"index\""),
        ("\"index\": 2,", ""),
        ("\"index\": 2,", "\"index\": 2, \"index\": 3,"),
        ("prooftally.proof/1", "prooftally.proof/2"),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(Proof::read(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
    assert!(Proof::read(text.as_bytes()).is_ok());
    assert!(Proof::read(text.replace('\n', " ").as_bytes()).is_ok());
}

/// A path is one hash for each doubling: at most 20 for a million receipts.
#[test]
fn a_proof_among_many_is_small() {
    let mut book = Book::default();
    book.open("2026-09-01", 1, terms(vec![volume("A")]), "19");
    book.count("2026-09-01", "A", 1000);
    book.bill(Some("2026-09-01"), "2026-10-04");
    let proof = prove(&book, 0, "2026-09-01", 777);
    assert_eq!(proof.path.len(), 10);
    assert!(proof.to_text().unwrap().len() < 1600);
    assert_eq!(checked(&proof, &book.documents[0]), Ok(778));
}

#[test]
fn a_void_is_proved_as_what_it_is() {
    let mut book = book();
    book.count("2026-10-01", "A", -1);
    book.bill(None, "2026-11-05");
    let proof = prove(&book, 2, "2026-10-01", 0);
    let bytes = book.documents[2].to_bytes().unwrap();
    let proved = check(&proof, &bytes).unwrap();
    assert_eq!((proved.leaf.source, proved.leaf.of_entry), (Source::Void, Some(1)));
}
