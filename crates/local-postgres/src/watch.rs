//! Somebody kills the server: whoever holds it brings it up again.
//!
//! The socket's folder is named after the data directory and the password stays, so the URL that
//! was handed out goes on being right. What was committed is there; connections have to be opened
//! anew, as after a restart of any server.

use std::error::Error;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tracing::{error, warn};

use crate::error::StartError;
use crate::lock::Gate;
use crate::pidfile;
use crate::place::Place;

const LOOK: Duration = Duration::from_secs(1);
/// What does not come up now may do so once somebody has made room on the disk.
const AFTER_ERROR: Duration = Duration::from_secs(10);

/// A thread that looks, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn over(place: Place) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = Builder::new().name("postgres-watch".to_owned());
        let thread = thread.spawn(move || {
            let mut pause = LOOK;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = match look(&place) {
                    Ok(()) => LOOK,
                    Err(err) => {
                        let err = &err as &dyn Error;
                        error!(error = err, "Postgres in {place} is gone and stays so");
                        AFTER_ERROR
                    }
                };
            }
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("The watch over Postgres panicked");
        }
    }
}

fn look(place: &Place) -> Result<(), StartError> {
    // It may be about to start or to stop: then somebody has it in hand.
    if pidfile::running(place)?.is_some() {
        return Ok(());
    }
    let gate = Gate::enter(place)?;
    // A neighbour that watches, too, may have been quicker.
    if pidfile::settled(place)?.is_none() {
        warn!("Postgres in {place} was killed; starting it again");
        crate::launch(place, &gate)?;
    }
    Ok(())
}
