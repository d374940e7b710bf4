//! The engine's promises, tried on a real server. Where a promise is about a race, the naive design
//! is shown failing first.

mod host;
mod log;
mod readers;
mod scene;
mod schedule;
mod shop;
mod ticks;
