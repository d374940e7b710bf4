//! The threads that a program with workers runs on.

use std::io;
use std::num::NonZero;

use tokio::runtime::{Builder, Runtime};

/// Per core. One per core would do for tasks that only wait; ours also lay out documents and mails,
/// ten milliseconds at a time, and an interactive event would wait behind them for a thread. With
/// more threads than cores the operating system shares the time out.
const THREADS_PER_CORE: usize = 4;

/// A runtime for a program that runs workers.
///
/// # Errors
/// The system's, when it refuses the threads.
pub fn runtime() -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(THREADS_PER_CORE * cores)
        .enable_all()
        .build()
}
