//! Turns: how many transactions of bulk events a process has open at once.

use std::num::NonZero;

use sqlx::PgPool;

/// How many transactions of handlers of bulk events a process has open at once, per core. More of
/// them would only queue for the same cores, and an interactive event behind them.
const BULK_PER_CORE: usize = 2;

/// They never take more than half of the connections either.
pub(super) fn of_bulk(pool: &PgPool) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    let connections = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
    (BULK_PER_CORE * cores.max(2)).min(connections / 2).max(1)
}
