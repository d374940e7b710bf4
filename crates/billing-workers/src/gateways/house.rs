//! House: a gateway reached over HTTP, by the protocol that the simulator speaks too.
//!
//! The id of a payment or refund is both the reference by which we find it and its idempotency key,
//! so that nothing else has to be kept to ask again.

use std::time::Duration;

use billing::gateway::{
    CallError, Cancelled, Capabilities, Charge, Gateway, Movement, Refund, RefundVerdict, Verdict,
    Webhook, WebhookError,
};
use billing::ids::{PaymentId, RefundId};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use gateway_sim::{Address, Profile};
use serde_json::json;
use uuid::Uuid;

mod answer;
mod capabilities;
mod client;
mod webhook;
mod wire;

use super::{GatewayConfig, Secret, TIMEOUT};
pub use client::UrlError;
use client::{Base, Client, Sent};

/// As many as the gateway shows at once.
const MOVEMENTS_MAX: usize = 1000;

/// A gateway over HTTP.
#[derive(Debug)]
pub struct House {
    client: Client,
    secret: Option<Secret>,
    capabilities: Capabilities,
}

impl House {
    /// The gateway at an address such as `https://gateway.example`.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn at(url: &str) -> Result<Self, UrlError> {
        Ok(Self::with(Base::fixed(url)?))
    }

    /// The simulator, wherever it is by the time of a call.
    #[must_use]
    pub fn of_simulator(address: Address) -> Self {
        Self::with(Base::Simulator(address))
    }

    fn with(base: Base) -> Self {
        Self {
            client: Client::new(base, TIMEOUT),
            secret: None,
            capabilities: capabilities::of(Profile::DEFAULT),
        }
    }

    /// The same gateway, whose calls wait so long for their answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client = self.client.with_timeout(timeout);
        self
    }

    /// The same gateway, which is of this kind.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.capabilities = capabilities::of(profile);
        self.client = self.client.with_keys(profile.key_lifetime.is_some());
        self
    }

    /// The same gateway, whose webhooks are signed with this secret; without one it believes none.
    #[must_use]
    pub fn secret(mut self, secret: Option<Secret>) -> Self {
        self.secret = secret;
        self
    }

    pub(super) fn configured(self, config: &GatewayConfig) -> Self {
        self.timeout(config.timeout)
            .profile(config.profile)
            .secret(config.secret.clone())
    }

    async fn make_charge(&self, charge: &Charge) -> Result<Verdict, CallError> {
        let reference = reference(charge.payment);
        let body = json!({
            "reference": reference,
            "token": charge.token,
            "amount_minor": charge.money.minor(),
            "currency": charge.money.currency().code(),
            "description": charge.description,
        });
        let sent = Sent::post("/v1/charges", &body).with_key(&reference);
        answer::charge(&self.client.send(sent).await?, &reference)
    }

    async fn find(&self, payment: PaymentId) -> Result<Option<Verdict>, CallError> {
        let reference = reference(payment);
        let sent = Sent::get(format!("/v1/charges?reference={reference}"));
        answer::look_up(&self.client.send(sent).await?, &reference)
    }

    async fn burn(&self, payment: PaymentId) -> Result<Cancelled, CallError> {
        let reference = reference(payment);
        let body = json!({ "idempotency_key": reference });
        let sent = Sent::post("/v1/charges/cancel", &body);
        answer::cancel(&self.client.send(sent).await?, &reference)
    }

    async fn give_back(&self, refund: &Refund) -> Result<RefundVerdict, CallError> {
        let reference = reference(refund.refund);
        let body = json!({
            "charge_id": refund.charge_ref,
            "amount_minor": refund.money.minor(),
            "reference": reference,
        });
        let sent = Sent::post("/v1/refunds", &body).with_key(&reference);
        answer::refund::refund(&self.client.send(sent).await?, &reference)
    }

    async fn find_refund(&self, refund: RefundId) -> Result<Option<RefundVerdict>, CallError> {
        let reference = reference(refund);
        let sent = Sent::get(format!("/v1/refunds?reference={reference}"));
        answer::refund::look_up(&self.client.send(sent).await?, &reference)
    }

    async fn movements(&self, after: i64) -> Result<Vec<Movement>, CallError> {
        let sent = Sent::get(format!("/v1/statement?after={after}&limit={MOVEMENTS_MAX}"));
        answer::statement(&self.client.send(sent).await?)
    }
}

/// The bare id: it fits into a header, an address and the other side's logs.
fn reference(id: impl Into<Uuid>) -> String {
    let id: Uuid = id.into();
    id.to_string()
}

/// The payment of a reference, if it is written as ours are.
fn payment_of(text: &str) -> Option<PaymentId> {
    let payment = PaymentId::from(Uuid::try_parse(text).ok()?);
    (reference(payment) == text).then_some(payment)
}

impl Gateway for House {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Verdict, CallError>> {
        Box::pin(self.make_charge(charge))
    }

    fn look_up(&self, payment: PaymentId) -> BoxFuture<'_, Result<Option<Verdict>, CallError>> {
        Box::pin(self.find(payment))
    }

    fn cancel(&self, payment: PaymentId) -> BoxFuture<'_, Result<Cancelled, CallError>> {
        Box::pin(self.burn(payment))
    }

    fn refund<'a>(&'a self, refund: &'a Refund) -> BoxFuture<'a, Result<RefundVerdict, CallError>> {
        Box::pin(self.give_back(refund))
    }

    fn look_up_refund(
        &self,
        refund: RefundId,
    ) -> BoxFuture<'_, Result<Option<RefundVerdict>, CallError>> {
        Box::pin(self.find_refund(refund))
    }

    fn statement(&self, after: i64) -> BoxFuture<'_, Result<Vec<Movement>, CallError>> {
        Box::pin(self.movements(after))
    }

    fn webhook(
        &self,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Webhook, WebhookError> {
        webhook::read(self.secret.as_ref(), header, body, now)
    }
}
