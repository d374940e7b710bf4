//! The product promises, one file each; see `main.rs`.
