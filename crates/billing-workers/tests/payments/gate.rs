//! A gate before the gateway: it counts who passes, and stops or loses the next one.

use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use billing::gateway::{
    CallError, Cancelled, Capabilities, Charge, Gateway, Movement, Refund, RefundVerdict, Verdict,
    Webhook, WebhookError,
};
use billing::ids::{PaymentId, RefundId};
use billing_workers::gateways::House;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::sync::Notify;

/// What is done to the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// A call never leaves, and never ends.
    StopBefore,
    /// A charge is made, and nobody learns of it.
    StopAfterCharge,
    /// A charge gets lost on its way.
    Lose,
    /// Nobody is there: no charge can be sent.
    Unreachable,
}

pub(crate) struct Gate {
    pub(crate) house: House,
    trick: Mutex<Option<Trick>>,
    /// Told when a call was stopped.
    pub(crate) stopped: Notify,
    /// Charges under way.
    pub(crate) charging: AtomicUsize,
    /// The most charges under way at once.
    pub(crate) most: AtomicUsize,
}

impl Gate {
    pub(crate) fn new(house: House) -> Self {
        Self {
            house,
            trick: Mutex::default(),
            stopped: Notify::new(),
            charging: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    pub(crate) fn play(&self, trick: Trick) {
        *self.trick.lock().unwrap() = Some(trick);
    }

    pub(crate) fn play_no_more(&self) {
        *self.trick.lock().unwrap() = None;
    }

    fn is_up(&self, tricks: &[Trick]) -> Option<Trick> {
        let mut next = self.trick.lock().unwrap();
        next.take_if(|next| tricks.contains(next))
    }

    async fn stop(&self) -> ! {
        self.stopped.notify_one();
        pending().await
    }

    async fn pass(&self) {
        if self.is_up(&[Trick::StopBefore]).is_some() {
            self.stop().await;
        }
    }

    async fn pass_charge(&self, charge: &Charge) -> Result<Verdict, CallError> {
        self.pass().await;
        match self.is_up(&[Trick::Lose, Trick::Unreachable]) {
            Some(Trick::Lose) => return Err(CallError::Unknown("lost".to_owned())),
            Some(_) => return Err(CallError::NotSent("nobody is there".to_owned())),
            None => {}
        }
        let charging = self.charging.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(charging, Ordering::SeqCst);
        let charged = self.house.charge(charge).await;
        self.charging.fetch_sub(1, Ordering::SeqCst);
        if self.is_up(&[Trick::StopAfterCharge]).is_some() {
            self.stop().await;
        }
        charged
    }
}

impl Gateway for Gate {
    fn capabilities(&self) -> Capabilities {
        self.house.capabilities()
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Verdict, CallError>> {
        Box::pin(self.pass_charge(charge))
    }

    fn look_up(&self, payment: PaymentId) -> BoxFuture<'_, Result<Option<Verdict>, CallError>> {
        Box::pin(async move {
            self.pass().await;
            self.house.look_up(payment).await
        })
    }

    fn cancel(&self, payment: PaymentId) -> BoxFuture<'_, Result<Cancelled, CallError>> {
        Box::pin(async move {
            self.pass().await;
            self.house.cancel(payment).await
        })
    }

    fn refund<'a>(&'a self, refund: &'a Refund) -> BoxFuture<'a, Result<RefundVerdict, CallError>> {
        self.house.refund(refund)
    }

    fn look_up_refund(
        &self,
        refund: RefundId,
    ) -> BoxFuture<'_, Result<Option<RefundVerdict>, CallError>> {
        self.house.look_up_refund(refund)
    }

    fn statement(&self, after: i64) -> BoxFuture<'_, Result<Vec<Movement>, CallError>> {
        self.house.statement(after)
    }

    fn webhook(
        &self,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Webhook, WebhookError> {
        self.house.webhook(header, body, now)
    }
}
