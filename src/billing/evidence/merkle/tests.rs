#![allow(clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::*;

/// The eight leaves of the Certificate Transparency test vectors.
const CT_LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// Their published roots, for the first 1 to 8 leaves.
const CT_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn tree(leaves: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    for leaf in leaves {
        tree.push(leaf);
    }
    tree
}

fn numbered(size: usize) -> Vec<Vec<u8>> {
    (0..size).map(|number| format!("leaf {number}").into_bytes()).collect()
}

fn prove(leaves: &[Vec<u8>], index: usize) -> (Hash, Option<Inclusion>) {
    let mut tree = Tree::proving(index as u64);
    for leaf in leaves {
        tree.push(leaf);
    }
    tree.finish()
}

/// The definition of RFC 9162, 2.1.1, word for word.
fn naive_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [leaf] => Hash::of(&[&[0], leaf]),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            let (left, right) = (naive_root(left), naive_root(right));
            Hash::of(&[&[1], left.as_bytes(), right.as_bytes()])
        }
    }
}

/// The same of 2.1.3.1.
fn naive_path(index: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (mut path, beside) = if index < middle {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - middle, right), naive_root(left))
    };
    path.push(beside);
    path
}

/// The greatest power of two below `size`.
fn split(size: usize) -> usize {
    let mut power = 1;
    while power * 2 < size {
        power *= 2;
    }
    power
}

#[test]
fn the_roots_of_certificate_transparency() {
    let mut tree = Tree::new();
    assert_eq!(tree.root(), Hash::of(&[]));
    assert_eq!(tree.root(), empty_root());
    for (leaf, expected) in CT_LEAVES.iter().zip(CT_ROOTS) {
        tree.push(leaf);
        assert_eq!(tree.root().to_string(), expected);
        assert_eq!(tree.clone().finish().0, tree.root());
    }
    assert_eq!(tree.size(), 8);
}

/// Published inclusion proofs over the same leaves: (leaf from 1, size, path).
#[test]
fn the_proofs_of_certificate_transparency() {
    let leaves: Vec<Vec<u8>> = CT_LEAVES.iter().map(|leaf| leaf.to_vec()).collect();
    let proofs: [(usize, usize, &[&str]); 4] = [
        (1, 1, &[]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (3, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    ];
    for (number, size, expected) in proofs {
        let (root, inclusion) = prove(&leaves[..size], number - 1);
        let inclusion = inclusion.unwrap();
        let path: Vec<String> = inclusion.path.iter().map(Hash::to_string).collect();
        assert_eq!(path, expected);
        assert_eq!(inclusion.root_of(&leaves[number - 1]), Some(root));
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proved() {
    for size in 0..=65 {
        let leaves = numbered(size);
        assert_eq!(tree(&leaves).root(), naive_root(&leaves));
        for index in 0..size {
            let (root, inclusion) = prove(&leaves, index);
            let inclusion = inclusion.unwrap();
            assert_eq!(root, naive_root(&leaves));
            assert_eq!(inclusion.path, naive_path(index, &leaves), "{index} of {size}");
            assert_eq!((inclusion.index, inclusion.size), (index as u64, size as u64));
            assert_eq!(inclusion.root_of(&leaves[index]), Some(root));
        }
        assert_eq!(prove(&leaves, size).1, None, "a leaf that was not appended has no proof");
    }
}

#[test]
fn a_proof_is_of_one_leaf_at_one_place() {
    for size in 1..=33_u64 {
        let leaves = numbered(size as usize);
        for index in 0..size {
            let (root, inclusion) = prove(&leaves, index as usize);
            let good = inclusion.unwrap();
            let leaf = &leaves[index as usize];
            assert_ne!(good.root_of(b"leaf x"), Some(root));
            for other in (0..=size).filter(|&other| other != index) {
                let moved = Inclusion { index: other, ..good.clone() };
                assert_ne!(moved.root_of(leaf), Some(root), "{index} as {other} of {size}");
            }
            let longer =
                Inclusion { path: [good.path.clone(), vec![root]].concat(), ..good.clone() };
            assert_eq!(longer.root_of(leaf), None);
            if let Some((_, shorter)) = good.path.split_last() {
                assert_eq!(
                    Inclusion { path: shorter.to_vec(), ..good.clone() }.root_of(leaf),
                    None
                );
            }
            for place in 0..good.path.len() {
                let mut path = good.path.clone();
                path[place] = root;
                assert_ne!(Inclusion { path, ..good.clone() }.root_of(leaf), Some(root));
            }
        }
    }
    let nothing = Inclusion { index: 0, size: 0, path: Vec::new() };
    assert_eq!(nothing.root_of(b""), None);
}

/// A node's bytes given out as a leaf must not prove anything: that is what the prefixes are for.
#[test]
fn a_node_is_not_a_leaf() {
    let leaves = numbered(4);
    let root = tree(&leaves).root();
    let node = |pair: &[Vec<u8>]| {
        [*leaf_hash(&pair[0]).as_bytes(), *leaf_hash(&pair[1]).as_bytes()].concat()
    };
    let forged = vec![node(&leaves[..2]), node(&leaves[2..])];
    assert_ne!(tree(&forged).root(), root);
}

#[test]
fn memory_is_one_hash_for_each_bit_of_the_size() {
    let mut tree = Tree::proving(3_777);
    for number in 0..5_000_u32 {
        tree.push(&number.to_be_bytes());
        assert_eq!(tree.subtrees.len() as u32, (number + 1).count_ones());
        assert!(tree.path.len() <= 13);
    }
}

proptest! {
    #[test]
    fn larger_trees_are_as_the_definition_says(size in 66_usize..600, part in 0_usize..600) {
        let (leaves, index) = (numbered(size), part % size);
        let (root, inclusion) = prove(&leaves, index);
        let inclusion = inclusion.unwrap();
        prop_assert_eq!(root, naive_root(&leaves));
        prop_assert_eq!(&inclusion.path, &naive_path(index, &leaves));
        prop_assert_eq!(inclusion.root_of(&leaves[index]), Some(root));
    }
}
