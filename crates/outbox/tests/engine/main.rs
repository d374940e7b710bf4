//! The engine's promises, tried on a real server. Where a promise is about a race, the naive design
//! is shown failing first.

mod announce;
mod fence;
mod guards;
mod host;
mod log;
mod parked;
mod proxy;
mod races;
mod readers;
mod scene;
mod schedule;
mod shop;
mod ticks;
mod transactional;
mod unit_of_work;
