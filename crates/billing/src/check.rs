//! Checks of the books.
