//! Nothing: the package holds the tests of the product's promises, see `main.rs`.
