//! Importers of usage.
