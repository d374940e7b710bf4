//! The engine's promises, tried on a real server. Where a promise is about a race, the naive design
//! is shown failing first.

mod announce;
mod guards;
mod host;
mod log;
mod races;
mod readers;
mod scene;
mod schedule;
mod shop;
mod ticks;
mod unit_of_work;
