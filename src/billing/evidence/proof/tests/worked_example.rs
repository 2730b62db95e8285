//! The worked example of `docs/evidence.md`: the page must show exactly what is computed here.

use super::*;
use crate::evidence::merkle::leaf_hash;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/evidence.md"));

#[track_caller]
fn on_the_page(text: &str) {
    assert!(PAGE.contains(text), "docs/evidence.md does not show this:\n\n{text}");
}

fn three_receipts() -> Book {
    let mut book = Book::default();
    book.open("2026-09-21", 1, terms(vec![per_unit("CERT_VALID", "0.03")]), "19");
    book.count("2026-09-21", "CERT_VALID", 3);
    book.bill(Some("2026-09-21"), "2026-10-04");
    book
}

#[test]
fn the_page_shows_the_document_and_its_hash() {
    let document = &three_receipts().documents[0];
    let bytes = document.to_bytes().unwrap();
    on_the_page(&format!("\n{}\n", String::from_utf8(bytes).unwrap()));
    on_the_page(&format!("`{}`", document.hash().unwrap()));
}

#[test]
fn the_page_shows_the_leaves_their_hashes_and_the_root() {
    let book = three_receipts();
    let document = &book.documents[0];
    let leaves: Vec<_> = book.accounts[&day("2026-09-21")].leaves(0, 3).cloned().collect();
    for (name, leaf) in ["L0", "L1", "L2"].iter().zip(&leaves) {
        on_the_page(&format!("\n{}\n", std::str::from_utf8(leaf).unwrap()));
        on_the_page(&format!("| {name} | `{}` |", leaf_hash(leaf)));
    }
    let mut two = Tree::new();
    two.push(&leaves[0]);
    two.push(&leaves[1]);
    on_the_page(&format!("| N01 | `{}` |", two.root()));
    on_the_page(&format!("| root | `{}` |", document.periods[0].root));
}

#[test]
fn the_page_shows_the_proof() {
    let book = three_receipts();
    let proof = prove(&book, 0, "2026-09-21", 1);
    on_the_page(&format!("```json\n{}```", proof.to_text().unwrap()));
    assert_eq!(checked(&proof, &book.documents[0]), Ok(2));
}
