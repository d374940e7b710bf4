//! A gateway whose answers to refunds get lost, before or after it gave money back.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use billing::gateway::{
    CallError, Cancelled, Capabilities, Charge, Gateway, Movement, Refund, RefundVerdict, Verdict,
    Webhook, WebhookError,
};
use billing::ids::{PaymentId, RefundId};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use crate::gate::Gate;

/// What becomes of a refund's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is made and answered.
    Clear,
    /// It never arrives.
    Lost,
    /// It is made, and the answer gets lost.
    Unheard,
}

pub(crate) struct Silent {
    gate: Arc<Gate>,
    line: Mutex<Line>,
    /// Requests for refunds that left.
    pub(crate) sent: AtomicUsize,
}

impl Silent {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self {
            gate,
            line: Mutex::new(Line::Clear),
            sent: AtomicUsize::new(0),
        }
    }

    pub(crate) fn becomes(&self, line: Line) {
        *self.line.lock().unwrap() = line;
    }

    async fn pass(&self, refund: &Refund) -> Result<RefundVerdict, CallError> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let line = *self.line.lock().unwrap();
        let silence = || Err(CallError::Unknown("no answer".to_owned()));
        match line {
            Line::Clear => self.gate.refund(refund).await,
            Line::Lost => silence(),
            Line::Unheard => {
                self.gate.refund(refund).await.unwrap();
                silence()
            }
        }
    }
}

impl Gateway for Silent {
    fn capabilities(&self) -> Capabilities {
        self.gate.capabilities()
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Verdict, CallError>> {
        self.gate.charge(charge)
    }

    fn look_up(&self, payment: PaymentId) -> BoxFuture<'_, Result<Option<Verdict>, CallError>> {
        self.gate.look_up(payment)
    }

    fn cancel(&self, payment: PaymentId) -> BoxFuture<'_, Result<Cancelled, CallError>> {
        self.gate.cancel(payment)
    }

    fn refund<'a>(&'a self, refund: &'a Refund) -> BoxFuture<'a, Result<RefundVerdict, CallError>> {
        Box::pin(self.pass(refund))
    }

    fn look_up_refund(
        &self,
        refund: RefundId,
    ) -> BoxFuture<'_, Result<Option<RefundVerdict>, CallError>> {
        self.gate.look_up_refund(refund)
    }

    fn statement(&self, after: i64) -> BoxFuture<'_, Result<Vec<Movement>, CallError>> {
        self.gate.statement(after)
    }

    fn webhook(
        &self,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Webhook, WebhookError> {
        self.gate.webhook(header, body, now)
    }
}
